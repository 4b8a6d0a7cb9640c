# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Peaks: all that is on a host must not want more than cpu_limit together, by what it wanted at the same times before.

Hosts above that may be levelled among each other, and the limit gives way where a domain has to leave its host, both as
with the constraint ``cpu``.
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


@constraint("peaks", scope="fleet", when=lambda fleet: fleet.demand.sums)
def peaks(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The peak of the host stays below cpu_limit, or at least below that of the source.

    A host that is asked for more than it has at this very moment takes nothing, whatever it was like before.
    """
    policy, scale = fleet.policy, host.scale[CPU]
    now = (host.now + domain.now) * scale
    full = now > max(1.0, policy.cpu_limit)
    if not full and fleet.peak(host) + domain.rise * scale <= policy.cpu_limit + ROUNDING:
        return None
    peak = fleet.peak_if(host, domain)
    most = max(peak, now) if full else peak
    if most <= policy.cpu_limit + ROUNDING:
        return None
    relieves = domain.host.counted and domain.home.counted and most < fleet.peak(domain.host) - ROUNDING
    if policy.cpu_limit_strict or not relieves:
        when = "now" if most > peak else fleet.demand.host_by.words
        return Reason(
            "peaks",
            f"{host.name} would come to {percent(most)} CPU {when} with it, the limit is {percent(policy.cpu_limit)}",
            None if policy.cpu_limit_strict else most / policy.cpu_limit - 1.0,
        )
    return None
