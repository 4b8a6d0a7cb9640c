# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what a definition requires of the host that the domain is to run on.

The checks of a move ask the destination for it, and an observation says who else needs the same.

Source: https://libvirt.org/formatdomain.html
"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils._domain import portable
from ansible_collections.virtops.balance.plugins.module_utils._domain.vcpu_affinity import Affinity
from ansible_collections.virtops.balance.plugins.module_utils._domain.xml import integer, parse_cpuset

# The size of a page that stands for ordinary memory.
ORDINARY = 0
_KIB_PER_UNIT = {"KiB": 1, "KB": 1, "MiB": 1024, "M": 1024, "GiB": 1024**2, "G": 1024**2}


class Secret(t.NamedTuple):
    """How a definition names a secret: RV(key) is uuid or usage, RV(type) what kind of secret it is."""

    key: str
    value: str
    type: str

    @property
    def text(self) -> str:
        """Name it in one word: its UUID, or its usage and type."""
        return self.value if self.key == "uuid" else f"{self.value} ({self.type})"


@dataclass(frozen=True)
class Required:
    """RV(secrets) are their names; RV(pages) the memory in KiB by the size of huge pages in KiB, None = of the default
    size; RV(cpus) and RV(cells) are the CPUs and NUMA cells of the host that a person bound the domain to."""

    secrets: tuple[str, ...]
    pages: t.Mapping[int | None, int]
    cpus: Affinity
    cells: Affinity


def read(root: ET.Element, memory_kib: int | None, all_cpus: t.Collection[int] | None) -> Required:
    """Read a live definition, parsed, of a domain with so much memory on a host with RV(all_cpus) online, None = not
    known. What this collection pinned is taken out of the definition, as on the way to another host."""
    huge = root.find("memoryBacking/hugepages") is not None and memory_kib is not None
    pages = huge_pages(root, memory_kib or 0) if huge else {}
    portable.release_pins(root, all_cpus)
    return Required(
        secrets=tuple(sorted({secret.text for secret in secrets(root)})),
        pages={size: kib for size, kib in pages.items() if size != ORDINARY and kib},
        cpus=frozenset().union(*bound_threads(root).values()),
        cells=bound_cells(root),
    )


def secrets(root: ET.Element) -> set[Secret]:
    """Return the secrets of disks and of the TPM."""
    found = set()
    for secret in root.iter("secret"):
        for key in ("uuid", "usage"):
            if secret.get(key):
                found.add(Secret(key, secret.get(key, ""), secret.get("type", "")))
    for encryption in root.findall("devices/tpm/backend/encryption"):
        if encryption.get("secret"):
            found.add(Secret("uuid", encryption.get("secret", ""), ""))
    return found


def huge_pages(root: ET.Element, memory_kib: int) -> dict[int | None, int]:
    """Return how much memory in KiB a domain takes in pages of each size in KiB, None = of the default size.

    Each cell of the guest may have another size, and ordinary pages where none is meant for it.
    """
    pages = root.findall("memoryBacking/hugepages/page")
    sizes = {id(page): _kib(page, "size") for page in pages}
    everywhere = next(
        (sizes[id(page)] for page in pages if page.get("nodeset") is None), None if not pages else ORDINARY
    )
    found: dict[int | None, int] = {}
    for cell in root.findall("cpu/numa/cell"):
        number = cell.get("id", "")
        own = (sizes[id(page)] for page in pages if number in map(str, parse_cpuset(page.get("nodeset"))))
        size = next(own, everywhere)
        found[size] = found.get(size, 0) + _kib(cell, "memory")
    if not found:
        return {next(iter(sizes.values()), None): memory_kib}
    # What was plugged in besides is of no cell that is listed.
    rest = memory_kib - sum(found.values())
    if rest > 0:
        found[everywhere] = found.get(everywhere, 0) + rest
    return found


def bound_threads(root: ET.Element) -> dict[str, Affinity]:
    """Return where each thread of the domain may run, by its name; what may run anywhere is not in it."""
    found = {}
    for element, name in (
        *((pin, f"vCPU {pin.get('vcpu')}") for pin in root.findall("cputune/vcpupin")),
        *((pin, "the emulator") for pin in root.findall("cputune/emulatorpin")),
        *((pin, f"I/O thread {pin.get('iothread')}") for pin in root.findall("cputune/iothreadpin")),
        *((vcpu, "every vCPU without a pin of its own") for vcpu in root.findall("vcpu")),
    ):
        cpus = parse_cpuset(element.get("cpuset"))
        if cpus:
            found[name] = frozenset(cpus)
    return found


def bound_cells(root: ET.Element) -> Affinity:
    """Return the cells of the host that the memory is bound to, strictly or not: libvirt wants all of them to be there
    (virNumaNodesetIsAvailable)."""
    elements = [*root.findall("numatune/memory"), *root.findall("numatune/memnode")]
    return frozenset(cell for element in elements for cell in parse_cpuset(element.get("nodeset")))


def _kib(element: ET.Element, name: str) -> int:
    return (integer(element.get(name)) or 0) * _KIB_PER_UNIT.get(element.get("unit", "KiB"), 1)
