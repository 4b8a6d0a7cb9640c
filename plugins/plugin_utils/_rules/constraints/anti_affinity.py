# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Anti-affinity: domains of which no two belong on the same host, as a rule or as a wish."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint, preference, remark

_KIND = "anti_affinity"


@constraint(
    _KIND,
    scope="fleet",
    repair="repairs anti-affinity",
    one_of_several=True,
    when=lambda fleet: fleet.policy.must_keep(_KIND),
)
def anti_affinity(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """No other domain of the group is on the host; a domain in flight is on both its hosts."""
    for group in domain.groups:
        if group.kind == _KIND and group.must:
            other = group.neighbour(domain, host)
            if other is not None:
                return Reason(_KIND, f"{host.name} already has {other.name} of the group {group.name}")
    return None


@preference(_KIND, when=lambda fleet: fleet.policy.wishes(_KIND))
def anti_affinity_wished(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> int:
    """One for each other domain of the group on the host."""
    return sum(group.others(domain, host) for group in domain.groups if group.kind == _KIND and not group.must)


@remark(_KIND)
def anti_affinity_told(fleet: Fleet, hosts: list[ProjectedHost], unrepaired: list[ProjectedDomain]) -> list[str]:
    """Notes about groups with two domains on one host, and groups that prevent the repair of another rule."""
    told = []
    for group in fleet.groups:
        if group.kind == _KIND and group.must and (group.crowded() or group.concerns(unrepaired)):
            if len(group.members) > len(hosts):
                told.append(
                    f"Anti-affinity {group.name!r} cannot be kept: "
                    f"{len(group.members)} domains, {len(hosts)} hosts that can take them."
                )
            elif group.crowded():
                told.append(f"Anti-affinity {group.name!r} is violated and could not be repaired.")
    return told
