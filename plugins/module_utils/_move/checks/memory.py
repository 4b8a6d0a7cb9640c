# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: does the destination have the memory that the domain may use, in pages of its sizes?"""

from __future__ import annotations

import xml.etree.ElementTree as ET

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import xml as domain_xml
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Check
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts

# The size of a page that stands for ordinary memory.
_ORDINARY = 0
_KIB_PER_UNIT = {"KiB": 1, "KB": 1, "MiB": 1024, "M": 1024, "GiB": 1024**2, "G": 1024**2}


def check_memory(
    domain: domain_xml.DomainXml,
    root: ET.Element,
    destination: Connection,
    *,
    host: str,
    reserve_mib: int,
    zfs_cache_mib: int | None = None,
) -> Check:
    """Compare the domain's maximum, not its balloon: the guest may take all of it at any time.

    RV(root) is the definition of the same domain, parsed.
    """
    if domain.memory_kib is None:
        return Check("memory", False, "its maximum memory is not known")
    needed = -(-domain.memory_kib // 1024)
    if domain.hugepages:
        wanted = _huge_pages(root, domain.memory_kib)
        cells = host_facts.read_capabilities(destination).cells
        pages = host_facts.read_hugepages(destination, cells)
        if pages is None:
            return Check("memory", False, f"{host} does not say how many huge pages it has")
        needed = -(-wanted.pop(_ORDINARY, 0) // 1024)
        for size, kib in wanted.items():
            # Without a size in the definition the domain gets the default size, usually the smallest of the huge ones.
            sizes = [entry for entry in pages if size is None or entry["size_kib"] == size]
            if not sizes:
                there = ", ".join(f"{entry['size_kib']} KiB" for entry in pages)
                return Check(
                    "memory",
                    False,
                    f"{host} has no huge pages{'' if size is None else f' of {size} KiB'}"
                    + (f", only of {there}" if there else ""),
                )
            if sizes[0]["free"] is None:
                return Check("memory", False, f"{host} does not say how many of its huge pages are free")
            free_mib = sizes[0]["free"] * sizes[0]["size_kib"] // 1024
            if free_mib < -(-kib // 1024):
                return Check(
                    "memory",
                    False,
                    f"{host} has {free_mib} MiB of free huge pages{'' if size is None else f' of {size} KiB'} and the "
                    f"domain may use {-(-kib // 1024)} MiB",
                    stale=True,
                )
    memory = host_facts.read_memory(destination)
    available = memory["available_mib"]
    if available is not None and memory["zfs_cache_mib"] is None and zfs_cache_mib:
        available = min(available + zfs_cache_mib, memory["total_mib"] or available)
    if available is None:
        return Check("memory", False, f"{host} does not say how much memory it has available")
    if available < needed + reserve_mib:
        return Check(
            "memory",
            False,
            f"{host} has {available} MiB available; the domain may use {needed} MiB and {reserve_mib} MiB must remain",
            stale=True,
        )
    return Check("memory", True, f"{host} has {available} MiB available for its {needed} MiB")


def _huge_pages(root: ET.Element, memory_kib: int) -> dict[int | None, int]:
    """Return how much memory in KiB a domain takes in pages of each size in KiB, None = of the default size.

    Each cell of the guest may have another size, and ordinary pages where none is meant for it.
    """
    pages = root.findall("memoryBacking/hugepages/page")
    sizes = {id(page): int(page.get("size", "0")) * _KIB_PER_UNIT.get(page.get("unit", "KiB"), 1) for page in pages}
    everywhere = next(
        (sizes[id(page)] for page in pages if page.get("nodeset") is None), None if not pages else _ORDINARY
    )
    found: dict[int | None, int] = {}
    for cell in root.findall("cpu/numa/cell"):
        number, kib = cell.get("id", ""), int(cell.get("memory", "0")) * _KIB_PER_UNIT.get(cell.get("unit", "KiB"), 1)
        own = (sizes[id(page)] for page in pages if number in map(str, domain_xml.parse_cpuset(page.get("nodeset"))))
        size = next(own, everywhere)
        found[size] = found.get(size, 0) + kib
    if not found:
        return {next(iter(sizes.values()), None): memory_kib}
    # What was plugged in besides is of no cell that is listed.
    rest = memory_kib - sum(found.values())
    if rest > 0:
        found[everywhere] = found.get(everywhere, 0) + rest
    return found
