# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what virConnectGetCapabilities says about a host, as plain values.

Source: https://libvirt.org/formatcaps.html
"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from ansible_collections.virtops.balance.plugins.module_utils._domain.xml import parse_cpuset


@dataclass(frozen=True)
class Cell:
    """One NUMA cell."""

    id: int
    memory_kib: int | None
    cpus: tuple[int, ...]
    # Size of a page in KiB -> number of such pages
    pages: dict[int, int]
    # CPU -> all threads of its core, itself included
    siblings: dict[int, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Capabilities:
    """A host's capabilities; what they do not say is None."""

    uuid: str | None = None
    arch: str | None = None
    cpu_model: str | None = None
    cpu_vendor: str | None = None
    cpu_features: tuple[str, ...] | None = None
    cells: tuple[Cell, ...] | None = None
    machine_types: dict[str, list[str]] = field(default_factory=dict)
    domain_types: tuple[str, ...] = ()


def parse(text: str) -> Capabilities:
    """Parse the capabilities' XML. Raises ValueError where it is no XML."""
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise ValueError(str(error)) from error
    cpu = root.find("host/cpu")
    model = None if cpu is None else cpu.findtext("model")
    cells = root.findall("host/topology/cells/cell")
    return Capabilities(
        uuid=root.findtext("host/uuid"),
        arch=None if cpu is None else cpu.findtext("arch"),
        cpu_model=model,
        cpu_vendor=None if cpu is None else cpu.findtext("vendor"),
        cpu_features=None
        if cpu is None or model is None
        else tuple(sorted(feature.get("name", "") for feature in cpu.findall("feature"))),
        cells=tuple(filter(None, (_cell(cell) for cell in cells))) or None,
        machine_types=_machine_types(root),
        domain_types=tuple(sorted({str(found.get("type")) for found in root.findall("guest/arch/domain")})),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdigit() else None


def _cell(cell: ET.Element) -> Cell | None:
    number = _number(cell.get("id"))
    if number is None:
        return None
    cpus = (_number(cpu.get("id")) for cpu in cell.findall("cpus/cpu"))
    pages = ((_number(page.get("size")), _number(page.text)) for page in cell.findall("pages"))
    siblings = {_number(cpu.get("id")): tuple(parse_cpuset(cpu.get("siblings"))) for cpu in cell.findall("cpus/cpu")}
    return Cell(
        id=number,
        memory_kib=_number(cell.findtext("memory")),
        cpus=tuple(cpu for cpu in cpus if cpu is not None),
        pages={size: count for size, count in pages if size is not None and count is not None},
        siblings={cpu: found for cpu, found in siblings.items() if cpu is not None and found},
    )


def _machine_types(root: ET.Element) -> dict[str, list[str]]:
    """Return the machine types per architecture, by the names that a running domain has: an alias is left out."""
    found: dict[str, set[str]] = {}
    for arch in root.findall("guest/arch"):
        machines: t.Iterable[ET.Element] = arch.iter("machine")
        names = {machine.text for machine in machines if machine.text and machine.get("canonical") is None}
        if names:
            found.setdefault(str(arch.get("name")), set()).update(names)
    return {name: sorted(machines) for name, machines in sorted(found.items())}
