# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Storage room: the pools have room for the disks of a new domain.

A running domain needs no room: only domains on storage that both hosts share are moved, and no disk is copied.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Pool


@constraint("storage_room", scope="fleet", when=lambda fleet: fleet.arriving)
def storage_room(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """Each pool that a disk names (by name or path) is active and has room for all new disks in it."""
    for disk in domain.facts.disks or ():
        if not disk.new_mib:
            continue
        pool = _pool(disk.source, host)
        if pool is None:
            return Reason("storage_room", f"{host.name} has no active pool {disk.source}")
        if pool.available_mib is None:
            return Reason("storage_room", f"cannot tell how much room is left in the pool {disk.source} of {host.name}")
        room = pool.available_mib - sum(
            _needed(other, pool, other.host)
            for other in fleet.arriving
            if other is not domain and other.moved and (other.host is host or pool.shared)
        )
        needed = _needed(domain, pool, host)
        if needed > room:
            return Reason(
                "storage_room",
                f"needs {needed:.0f} MiB in the pool {disk.source}, {host.name} has {max(0.0, room):.0f} left in it",
            )
    return None


def _needed(domain: ProjectedDomain, pool: Pool, host: ProjectedHost) -> float:
    """The room in the pool that the new disks of the domain would take if it were on the host."""
    found = ((disk.new_mib, _pool(disk.source, host)) for disk in domain.facts.disks or () if disk.new_mib)
    return sum(mib for mib, other in found if other is not None and _place(other) == _place(pool))


def _place(pool: Pool) -> str | None:
    return pool.path or pool.name


def _pool(name: str | None, host: ProjectedHost) -> Pool | None:
    return next((pool for pool in host.facts.pools or () if pool.active and name in (pool.name, pool.path)), None)
