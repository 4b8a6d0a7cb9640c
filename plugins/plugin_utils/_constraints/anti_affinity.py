# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Anti-affinity: domains of which no two belong on the same host, as a rule or as a wish."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet import Fleet, ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._registry import Reason, constraint, preference

_PRICE = 1.0


@constraint("anti_affinity", scope="fleet", repair=True)
def anti_affinity(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """No other domain of the group is on the host; one in flight is on both ends."""
    for group in domain.groups:
        if fleet.groups[group].must and _others(domain, host, group):
            name = next(d.name for d in host.domains.values() if d is not domain and group in d.groups)
            return Reason("anti_affinity", f"{host.name} already has {name} of the group {fleet.groups[group].name}")
    return None


@preference("anti_affinity")
def anti_affinity_wished(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> float:
    """Each neighbour of the same group costs as much as a whole host out of balance."""
    return _PRICE * sum(_others(domain, host, group) for group in domain.groups if not fleet.groups[group].must)


def _others(domain: ProjectedDomain, host: ProjectedHost, group: int) -> int:
    return host.members.get(group, 0) - (domain.index in host.domains)
