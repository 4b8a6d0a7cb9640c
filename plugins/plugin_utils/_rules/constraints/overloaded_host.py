# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Overloaded hosts: no domain comes to a host that the detector would then find overloaded.

It would have to leave again in the next run, and so on. The strategy sets the limit (``ceiling``). It gives way where a
domain has to leave its host, because repairs come first.
"""

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


def _consolidating(fleet: Fleet) -> bool:
    return fleet.policy.strategy == "consolidate"


@constraint("overloaded_host", scope="end", when=_consolidating)
def overloaded_host(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The CPU use of the host stays within its ceiling."""
    use = host.use[CPU] + domain.demand[CPU] * host.scale[CPU]
    if use <= host.ceiling + ROUNDING:
        return None
    most = percent(max(0.0, host.ceiling))
    message = f"{host.name} would be at {percent(use)} CPU, and is overloaded above {most}"
    return Reason("overloaded_host", message, (use - host.ceiling) / fleet.policy.cpu_limit)
