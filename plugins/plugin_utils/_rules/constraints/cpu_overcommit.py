# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""CPU overcommit: a limit on the vCPUs per thread of a host. It gives way where a domain has to leave its host."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import (
    ROUNDING,
    ProjectedDomain,
    ProjectedHost,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import VCPUS
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


@constraint("cpu_overcommit", scope="fleet", when=lambda fleet: fleet.policy.cpu_overcommit is not None)
def cpu_overcommit(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The vCPUs on each thread that the host does not keep for itself stay below cpu_overcommit."""
    allowed = fleet.policy.cpu_overcommit or 0.0
    ratio = host.use[VCPUS] + domain.demand[VCPUS] * host.scale[VCPUS]
    limit = allowed * max(0.0, 1.0 - host.reserved_cores * host.scale[VCPUS])
    if ratio <= limit + ROUNDING:
        return None
    return Reason(
        "cpu_overcommit",
        f"{host.name} would have {ratio:.1f} vCPUs per thread, the limit is {limit:g}",
        (ratio - limit) / allowed,
    )
