# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: does the destination have the memory that the domain may use, in pages of its sizes?"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import required
from ansible_collections.virtops.balance.plugins.module_utils._domain import xml as domain_xml
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import (
    FREE_HUGE_PAGES,
    HUGE_PAGES,
    Check,
    Known,
)
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts


def check_memory(
    domain: domain_xml.DomainXml,
    root: ET.Element,
    destination: Connection,
    known: Known,
    *,
    host: str,
    used_mib: int | None = None,
) -> Check:
    """Compare the domain's maximum, not its balloon: the guest may take all of it at any time.

    Where memory may be promised several times, the figures are those of the planner: what the domain holds now has to
    be available, and what all domains may grow to has to stay below what may be promised.

    RV(root) is the definition of the same domain, parsed.
    """
    if domain.memory_kib is None:
        return Check("memory", False, "its maximum memory is not known")
    needed = -(-domain.memory_kib // 1024)
    if domain.hugepages:
        wanted = required.huge_pages(root, domain.memory_kib)
        needed = -(-wanted.pop(required.ORDINARY, 0) // 1024)
        problem = _check_huge_pages(wanted, destination, host)
        if problem is not None:
            return problem
    memory = host_facts.read_memory(destination, zfs_cache_mib=known.zfs_cache_mib, shared_mib=known.shared_memory_mib)
    available = memory["available_mib"]
    if available is None:
        return Check("memory", False, f"{host} does not say how much memory it has available")
    may_use = f"the domain may use {needed} MiB"
    # For the planner, which counts itself what other moves bring and take away. It holds for all domains that come.
    about: int | None = None
    if known.memory_overcommit <= 1 and not domain.hugepages:
        about = available - known.memory_reserve_mib
    room = known.room_mib
    if known.memory_overcommit > 1 and used_mib is not None and not domain.hugepages and not destination.xen:
        promised = _promised_mib(destination, memory)
        if promised is not None:
            limit = int(memory["total_mib"] * known.memory_overcommit)
            about = limit - promised
            if promised + needed > limit + room:
                message = (
                    f"{host} has promised {promised} of the {limit} MiB that it may promise (memory_overcommit "
                    f"{known.memory_overcommit:g}), and {may_use}"
                )
                return Check("memory", False, message, stale=True, about=about)
            # What comes counts with all that it may grow to, and holds less.
            needed, room = min(needed, used_mib), max(0, room)
            may_use = f"the domain holds {needed} MiB"
    available += room
    if available < needed + known.memory_reserve_mib:
        message = f"{host} has {available} MiB available; {may_use} and {known.memory_reserve_mib} MiB must remain"
        return Check("memory", False, message, stale=True, about=about)
    return Check("memory", True, f"{host} has {available} MiB available for its {needed} MiB", about=about)


def _promised_mib(destination: Connection, memory: t.Mapping[str, t.Any]) -> int | None:
    """Return what the domains of a host may grow to and what the host uses itself. None = not known.

    Of a host with huge pages it is not known, because libvirt's statistics do not tell which domains live in them.
    """
    api, handle = destination.api, destination.handle
    pages = host_facts.read_hugepages(destination, host_facts.read_capabilities(destination).cells)
    if pages or not memory["total_mib"]:
        return None
    flags = api.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | api.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    rows = host_facts.ask(destination, handle.getAllDomainStats, api.VIR_DOMAIN_STATS_BALLOON, flags)
    if rows is None:
        return None
    held = sum(stats.get("balloon.rss", 0) for _domain, stats in rows) // 1024
    maximum = sum(stats.get("balloon.maximum", 0) for _domain, stats in rows) // 1024
    return int(max(0, memory["total_mib"] - memory["available_mib"] - held) + maximum)


def _check_huge_pages(wanted: t.Mapping[int | None, int], destination: Connection, host: str) -> Check | None:
    """Return what is in the way of so many KiB in pages of each size, None where nothing is."""
    pages = host_facts.read_hugepages(destination, host_facts.read_capabilities(destination).cells)
    if pages is None:
        return Check("memory", False, f"{host} does not say how many huge pages it has")
    for size, kib in wanted.items():
        # Without a size in the definition the domain gets the default size, usually the smallest of the huge ones.
        sizes = [entry for entry in pages if size is None or entry["size_kib"] == size]
        of_size = "" if size is None else f" of {size} KiB"
        if not sizes:
            there = ", ".join(f"{entry['size_kib']} KiB" for entry in pages)
            message = f"{host} has no huge pages{of_size}" + (f", only of {there}" if there else "")
            return Check("memory", False, message, kind=HUGE_PAGES, about=size)
        if sizes[0]["free"] is None:
            return Check("memory", False, f"{host} does not say how many of its huge pages are free")
        needed_mib, free_mib = -(-kib // 1024), sizes[0]["free"] * sizes[0]["size_kib"] // 1024
        if free_mib < needed_mib:
            message = f"{host} has {free_mib} MiB of free huge pages{of_size} and the domain may use {needed_mib} MiB"
            return Check("memory", False, message, stale=True, kind=FREE_HUGE_PAGES, about=size)
    return None
