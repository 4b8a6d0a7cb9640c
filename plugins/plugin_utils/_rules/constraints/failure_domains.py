# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Failure domains: a limit on the domains of a group in one rack, room or the like, as a rule or as a wish.

The failure domain of a host is its one tag or group with the prefix that the rule names. If that is not known, no
domain of the group moves to the host; a domain that already runs there stays, because it may not violate the rule.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint, preference, remark

_KIND = "failure_domains"


@constraint(
    _KIND,
    scope="fleet",
    repair="repairs failure domains",
    one_of_several=True,
    when=lambda fleet: fleet.policy.must_keep(_KIND),
)
def failure_domains(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The failure domain of the host has room for one more; a domain in flight is in those of both its hosts."""
    for group in domain.groups:
        if group.kind == _KIND and group.must:
            place = group.places[host.index]
            if place is None and host is not domain.host:
                return Reason(_KIND, f"cannot tell in which failure domain of the rule {group.name} {host.name} is")
            others = group.others(domain, host)
            if place is not None and others >= group.most:
                return Reason(
                    _KIND, f"{place} already has {others} of the group {group.name}, the most is {group.most}"
                )
    return None


@preference(_KIND, when=lambda fleet: fleet.policy.wishes(_KIND))
def failure_domains_wished(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> int:
    """One for each group of which the failure domain has enough, or is not known."""
    return sum(
        group.places[host.index] is None or group.others(domain, host) >= group.most
        for group in domain.groups
        if group.kind == _KIND and not group.must
    )


@remark(_KIND)
def failure_domains_told(fleet: Fleet, hosts: list[ProjectedHost], unrepaired: list[ProjectedDomain]) -> list[str]:
    """Notes about groups with too many domains in one failure domain, and groups that prevent another repair."""
    told = []
    for group in fleet.groups:
        if group.kind == _KIND and group.must and (group.crowded() or group.concerns(unrepaired)):
            places = {group.places[host.index] for host in hosts} - {None}
            if len(group.members) > group.most * len(places):
                told.append(
                    f"Failure domains {group.name!r} cannot be kept: {len(group.members)} domains, "
                    f"at most {group.most} in each of {len(places)} that have hosts that can take them."
                )
            elif group.crowded():
                told.append(f"Failure domains {group.name!r} is violated and could not be repaired.")
    return told
