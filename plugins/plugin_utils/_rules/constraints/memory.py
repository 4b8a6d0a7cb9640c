# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Memory: a move may not bring a host above its limit, counted by the maximum of every domain on it."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import (
    ROUNDING,
    ProjectedDomain,
    ProjectedHost,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import MEMORY
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


@constraint("memory", scope="fleet")
def memory(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """Committed memory stays below limit x overcommit; memory in use stays below the limit."""
    policy, total = fleet.policy, host.facts.memory_total_mib or 0.0
    if domain.huge_mib:
        if domain.huge_mib > host.huge_mib:
            return Reason(
                "memory",
                f"needs {domain.huge_mib:.0f} MiB of huge pages, {host.name} has {max(0.0, host.huge_mib):.0f} free",
            )
        return None
    limit = total * policy.memory_limit * policy.memory_overcommit
    if host.committed_mib + domain.committed_mib > limit + ROUNDING:
        room = max(0.0, limit - host.committed_mib)
        return Reason(
            "memory", f"may grow to {domain.committed_mib:.0f} MiB of memory, and {host.name} has {room:.0f} MiB left"
        )
    use = host.use[MEMORY] + domain.demand[MEMORY] * host.scale[MEMORY]
    if use > policy.memory_limit + ROUNDING:
        return Reason(
            "memory",
            f"{host.name} would be at {use * 100:.0f} % of its memory, the limit is {policy.memory_limit * 100:.0f} %",
        )
    return None
