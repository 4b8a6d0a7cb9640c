# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Storage: the destination has the storage pools with the shared disks of the domain.

Only pools can be compared between hosts. A disk that is in no pool of its own host is not checked here: the blockers
say whether it is shared, and domain_migrate looks for the file on the destination. What is not known is left to the
hosts as well: they are asked before the domain is moved.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Pool


@constraint("storage", scope="pair")
def storage(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """For each shared disk in a pool of the source, the host has an active shared pool at the same path."""
    if host.facts.pools is None:
        return None
    for disk in domain.facts.disks or ():
        if disk.source is None or disk.shared is not True:
            continue
        pool = _pool(disk.source, domain.home.facts.pools)
        if pool is None:
            continue
        if not any(other.path == pool.path and other.active and other.shared for other in host.facts.pools):
            return Reason("storage", f"{host.name} has no active shared pool at {pool.path}")
    return None


def _pool(source: str, pools: tuple[Pool, ...] | None) -> Pool | None:
    """The pool that a file is in: the one with the longest path."""
    holding = [pool for pool in pools or () if pool.path and source.startswith(pool.path.rstrip("/") + "/")]
    return max(holding, key=lambda pool: len(pool.path or ""), default=None)
