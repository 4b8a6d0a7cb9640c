# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Overloaded hosts: no domain comes to a host that the detector of the policy would then call overloaded.

It would have to leave again, and so on, to and fro for ever. The strategy says up to where a host may be filled
(``ceiling``) once it has repaired what violates a rule, because that comes first.
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
    """The host stays below what its detector calls overloaded."""
    use = host.use[CPU] + domain.demand[CPU] * host.scale[CPU]
    if use <= host.ceiling + ROUNDING:
        return None
    most = percent(max(0.0, host.ceiling))
    return Reason(
        "overloaded_host", f"{host.name} would be at {percent(use)} CPU, and above {most} it counts as overloaded"
    )
