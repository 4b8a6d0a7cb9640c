# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the small state that follows a domain, in the domain's own libvirt metadata.

In the domain's XML it looks like this::

    <metadata>
      <balance:state xmlns:balance="urn:virtops:balance:1" last_moved_at="2026-01-31T12:00:00Z">
        <balance:tag>web</balance:tag>
        <balance:allocation cpu_min="0.5" cpu_max="2" share="3"/>
        <balance:move source="kvm1" destination="kvm2" started_at="2026-01-31T12:00:00Z" cap="150"
          persistent="true" autostart="true" destination_had="none"/>
        <balance:before balloon_kib="524288"><balance:pin vcpu="0" cpus="0-3"/></balance:before>
      </balance:state>
    </metadata>

What C(before) is about is in the module utils C(original_settings.py).

Libvirt adds and strips the namespace itself (virDomainSetMetadata, virDomainGetMetadata), so the text that goes to
and comes from these calls has none. Whatever else is in the element is kept when it is written anew.
"""

from __future__ import annotations

import datetime
import math
import typing as t
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils import _errors

NAMESPACE = "urn:virtops:balance:1"
PREFIX = "balance"
_QUALIFIED = "{" + NAMESPACE + "}"
# Of a move.
_FLAGS = ("persistent", "autostart", "restart")
# No host has as many CPUs; it only keeps a garbled number from being set.
_MOST_CAP = 1_000_000


@dataclass(frozen=True)
class MoveNote:
    """A move that was started and whose end nobody has written down yet, and what the domain had on the source."""

    source: str
    destination: str
    started_at: str
    cap: float | None = None
    persistent: bool = False
    autostart: bool = False
    # It is shut down on the source and started on the destination, so that it may be left shut off on both.
    restart: bool = False
    # What the destination had defined of it before: a hash, or "none"; None where that would prove nothing.
    destination_had: str | None = None

    def to_result(self) -> dict[str, t.Any]:
        return {
            "source": self.source,
            "destination": self.destination,
            "started_at": self.started_at,
            "cap": self.cap,
            "autostart": self.autostart,
            "destination_had": self.destination_had,
        }


@dataclass(frozen=True)
class DomainState:
    """What the collection remembers about a domain. An empty one is the same as none."""

    tags: tuple[str, ...] = ()
    last_moved_at: str | None = None
    unfinished_move: MoveNote | None = None
    # What an administrator wants of allocations: any of cpu_min, cpu_max and share. Only domain_tag writes it.
    allocation: dict[str, float] | None = None


def find(domain_root: ET.Element) -> ET.Element | None:
    """Return the collection's element of a domain's parsed XML."""
    return domain_root.find(f"metadata/{_QUALIFIED}state")


def parse(element: ET.Element | None) -> DomainState:
    """Read the element. What is malformed counts as absent: metadata is free text that anybody may have edited."""
    if element is None:
        return DomainState()
    root = _without_namespace(element)
    tags = tuple(dict.fromkeys(text for text in ((tag.text or "").strip() for tag in root.findall("tag")) if text))
    return DomainState(
        tags=tags,
        last_moved_at=_time(root.get("last_moved_at")),
        unfinished_move=_move(root.find("move")),
        allocation=_allocation(root.find("allocation")),
    )


def parse_text(text: str | None) -> DomainState:
    """Read what virDomainGetMetadata returned."""
    return parse(element_of(text))


def render(state: DomainState, *, previous: str | None = None) -> str:
    """Return the text for virDomainSetMetadata.

    RV(previous) is what virDomainGetMetadata returned before: its unknown attributes and children stay.
    """
    root = state_element(previous)
    for name in ("tag", "move"):
        for child in root.findall(name):
            root.remove(child)
    root.attrib.pop("last_moved_at", None)
    if state.last_moved_at is not None:
        root.set("last_moved_at", state.last_moved_at)
    for tag in state.tags:
        ET.SubElement(root, "tag").text = tag
    if state.unfinished_move is not None:
        move = state.unfinished_move
        attributes = {"source": move.source, "destination": move.destination, "started_at": move.started_at}
        if move.cap is not None:
            attributes["cap"] = f"{move.cap:g}"
        attributes.update({name: "true" for name in _FLAGS if getattr(move, name)})
        if move.destination_had is not None:
            attributes["destination_had"] = move.destination_had
        ET.SubElement(root, "move", attributes)
    return ET.tostring(root, encoding="unicode")


def read_text(api: t.Any, domain: t.Any, *, flags: int = 0) -> str | None:
    """Return the raw element of a domain, None where it has none.

    RV(flags) are virDomainModificationImpact; 0 = the running domain, or the definition of one that does not run.
    Raises libvirtError for anything but the absence of the element.
    """
    try:
        text: str = domain.metadata(api.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE, flags)
    except api.libvirtError as error:
        if error.get_error_code() == _errors.NO_DOMAIN_METADATA:
            return None
        raise
    return text


def write_text(api: t.Any, domain: t.Any, text: str, *, flags: int) -> None:
    """Replace the element. Raises libvirtError.

    While a job runs on the domain libvirt makes this wait 30 seconds and then fails.
    """
    domain.setMetadata(api.VIR_DOMAIN_METADATA_ELEMENT, text, PREFIX, NAMESPACE, flags)


def write(api: t.Any, domain: t.Any, state: DomainState) -> None:
    """Write the state into the domain if it runs, and into its definition where it has one; see write_text().

    What else is in the two elements need not be the same, and stays as it is.
    """
    live, config = api.VIR_DOMAIN_AFFECT_LIVE, api.VIR_DOMAIN_AFFECT_CONFIG
    if not domain.isActive():
        write_text(api, domain, render(state, previous=read_text(api, domain, flags=config)), flags=config)
        return
    text = render(state, previous=read_text(api, domain, flags=live))
    if not domain.isPersistent():
        write_text(api, domain, text, flags=live)
        return
    defined = render(state, previous=read_text(api, domain, flags=config))
    if defined == text:
        write_text(api, domain, text, flags=live | config)
    else:
        write_text(api, domain, text, flags=live)
        write_text(api, domain, defined, flags=config)


def state_element(previous: str | None) -> ET.Element:
    """Return the element of what virDomainGetMetadata returned, an empty one where it is none."""
    root = element_of(previous)
    if root is None:
        root = ET.Element("state")
    root.tag = "state"
    root.tail = None
    return root


def element_of(text: str | None) -> ET.Element | None:
    """Parse what virDomainGetMetadata returned, without the namespace. None where it is malformed."""
    if not text:
        return None
    try:
        return _without_namespace(ET.fromstring(text))
    except ET.ParseError:
        return None


def _without_namespace(element: ET.Element) -> ET.Element:
    copy = ET.Element(element.tag, dict(element.attrib))
    if copy.tag.startswith(_QUALIFIED):
        copy.tag = copy.tag[len(_QUALIFIED) :]
    copy.text, copy.tail = element.text, element.tail
    copy.extend([_without_namespace(child) for child in element])
    return copy


def _time(text: str | None) -> str | None:
    try:
        datetime.datetime.strptime(text or "", "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        return None
    return text


def _move(element: ET.Element | None) -> MoveNote | None:
    if element is None:
        return None
    source, destination = element.get("source"), element.get("destination")
    started_at = _time(element.get("started_at"))
    if not source or not destination or started_at is None:
        return None
    flags = {name: element.get(name) == "true" for name in _FLAGS}
    return MoveNote(
        source,
        destination,
        started_at,
        _cap(element.get("cap")),
        destination_had=element.get("destination_had") or None,
        **flags,
    )


def _cap(text: str | None) -> float | None:
    try:
        cap = float(text or "")
    except ValueError:
        return None
    if not 0 <= cap <= _MOST_CAP:
        return None
    return int(cap) if cap.is_integer() else cap


def _allocation(element: ET.Element | None) -> dict[str, float] | None:
    found = {}
    for name in ("cpu_min", "cpu_max", "share"):
        try:
            value = float((element.attrib if element is not None else {})[name])
        except (KeyError, ValueError):
            continue
        if math.isfinite(value) and value >= 0:
            found[name] = value
    return found or None
