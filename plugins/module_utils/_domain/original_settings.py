# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what a domain had before the collection first changed it, in the domain's own metadata.

    <balance:before balloon_kib="524288"><balance:pin vcpu="0" cpus="0-3"/></balance:before>
    <balance:balloon problem="no_driver" since="2026-01-31T12:00:00Z"/>

The element of the running domain tells of the running domain, that of the definition of the definition. So a domain
that was started anew, which has what its definition says, has forgotten what was changed while it ran before.
"""

from __future__ import annotations

import re
import typing as t
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from ansible_collections.virtops.balance.plugins.module_utils._domain import metadata as domain_metadata

_NUMBER = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True)
class Remembered:
    """RV(pins) are cpusets by vCPU, C(all) for a free one. RV(balloon_problem) was reported at RV(balloon_since)."""

    pins: t.Mapping[int, str] = field(default_factory=dict)
    balloon_kib: int | None = None
    balloon_problem: str | None = None
    balloon_since: str | None = None


def parse_text(text: str | None) -> Remembered:
    """Read what virDomainGetMetadata returned. What is malformed counts as absent."""
    root = domain_metadata.element_of(text)
    if root is None:
        return Remembered()
    before, balloon = root.find("before"), root.find("balloon")
    pins: dict[int, str] = {}
    for pin in [] if before is None else before.findall("pin"):
        number, cpus = _number(pin.get("vcpu")), pin.get("cpus")
        if number is not None and cpus:
            pins[number] = cpus
    return Remembered(
        pins=pins,
        balloon_kib=None if before is None else _number(before.get("balloon_kib")),
        balloon_problem=None if balloon is None else balloon.get("problem"),
        balloon_since=None if balloon is None else balloon.get("since"),
    )


def render(remembered: Remembered, *, previous: str | None) -> str:
    """Return the text for virDomainSetMetadata; whatever else RV(previous) has stays."""
    root = domain_metadata.state_element(previous)
    for name in ("before", "balloon"):
        for child in root.findall(name):
            root.remove(child)
    if remembered.pins or remembered.balloon_kib is not None:
        before = ET.SubElement(root, "before")
        if remembered.balloon_kib is not None:
            before.set("balloon_kib", str(remembered.balloon_kib))
        for number, cpus in sorted(remembered.pins.items()):
            ET.SubElement(before, "pin", {"vcpu": str(number), "cpus": cpus})
    if remembered.balloon_problem is not None:
        balloon = ET.SubElement(root, "balloon", {"problem": remembered.balloon_problem})
        if remembered.balloon_since is not None:
            balloon.set("since", remembered.balloon_since)
    return ET.tostring(root, encoding="unicode")


def forget_pins(state: ET.Element) -> None:
    """Take the remembered pins out of the element of a definition, which has its namespace."""
    for before in state.findall(f"{{{domain_metadata.NAMESPACE}}}before"):
        for pin in list(before):
            before.remove(pin)
        if not before.attrib:
            state.remove(before)


def read(api: t.Any, domain: t.Any, *, flags: int) -> Remembered:
    """Read what is remembered of the running domain or of its definition (virDomainModificationImpact).

    Raises libvirtError.
    """
    return parse_text(domain_metadata.read_text(api, domain, flags=flags))


def write(api: t.Any, domain: t.Any, remembered: Remembered, *, flags: int) -> None:
    """Write it where read() finds it. Raises libvirtError."""
    previous = domain_metadata.read_text(api, domain, flags=flags)
    domain_metadata.write_text(api, domain, render(remembered, previous=previous), flags=flags)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _NUMBER.fullmatch(text) else None
