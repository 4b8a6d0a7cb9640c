# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""CPU: a move must not overload a host. Overloaded hosts may be levelled among each other, unlike with memory, and the
limit gives way where a domain has to leave its host."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import (
    ROUNDING,
    ProjectedDomain,
    ProjectedHost,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint
from ansible_collections.virtops.balance.plugins.plugin_utils._text import percent


@constraint("cpu", scope="fleet")
def cpu(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The host stays below cpu_limit, or at least below the present use of the source.

    What has to leave a host that takes no part relieves nobody, wherever it has been put for now.
    """
    policy = fleet.policy
    use = host.use[CPU] + domain.demand[CPU] * host.scale[CPU]
    if use <= policy.cpu_limit + ROUNDING:
        return None
    relieves = domain.host.counted and domain.home.counted and use < domain.host.use[CPU] - ROUNDING
    if policy.cpu_limit_strict or not relieves:
        return Reason(
            "cpu",
            f"{host.name} would be at {percent(use)} CPU, the limit is {percent(policy.cpu_limit)}",
            None if policy.cpu_limit_strict else use / policy.cpu_limit - 1.0,
        )
    return None
