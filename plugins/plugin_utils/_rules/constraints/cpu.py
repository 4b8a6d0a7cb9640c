# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""CPU: a move must not overload a host. Overloaded hosts may be levelled among each other, unlike with memory."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import (
    ROUNDING,
    ProjectedDomain,
    ProjectedHost,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU, VCPUS
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


@constraint("cpu", scope="fleet")
def cpu(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The host stays below cpu_limit, or at least below the present use of the source."""
    policy = fleet.policy
    if policy.cpu_overcommit is not None:
        ratio = host.use[VCPUS] + domain.demand[VCPUS] * host.scale[VCPUS]
        limit = policy.cpu_overcommit * (1.0 - host.reserved_cores * host.scale[CPU])
        if ratio > limit + ROUNDING:
            return Reason("cpu", f"{host.name} would have {ratio:.1f} vCPUs per thread, the limit is {limit:g}")
    use = host.use[CPU] + domain.demand[CPU] * host.scale[CPU]
    if use <= policy.cpu_limit + ROUNDING:
        return None
    if policy.cpu_limit_strict or use >= domain.host.use[CPU] - ROUNDING or not domain.host.counted:
        return Reason(
            "cpu", f"{host.name} would be at {use * 100:.0f} % CPU, the limit is {policy.cpu_limit * 100:.0f} %"
        )
    return None
