# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Failure domains: at most so many domains of a group in one rack, room or the like, as a rule or as a wish.

The failure domain of a host is the one tag or group that it has with the prefix that the rule names. Nothing goes to a
host where that is not known; a domain that runs on one is left there, because nothing says that it violates the rule.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint, preference, remark

_KIND = "failure_domains"
_PRICE = 1.0


@constraint(
    _KIND, scope="fleet", repair="spreads", one_of_several=True, when=lambda fleet: fleet.policy.must_keep(_KIND)
)
def failure_domains(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """Less than the most are in the host's failure domain; one in flight is in those of both ends."""
    for group in domain.groups:
        if group.kind == _KIND and group.must:
            place = group.places[host.index]
            if place is None and host is not domain.host:
                return Reason(_KIND, f"cannot tell which failure domain of the rule {group.name} has {host.name}")
            others = group.others(domain, host)
            if place is not None and others >= group.most:
                return Reason(
                    _KIND, f"{place} already has {others} of the group {group.name}, the most is {group.most}"
                )
    return None


@preference(_KIND, when=lambda fleet: fleet.policy.wishes(_KIND))
def failure_domains_wished(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> float:
    """Each domain that is one too many, or nobody knows where, costs as much as a whole host out of balance."""
    return _PRICE * sum(
        group.places[host.index] is None or group.others(domain, host) >= group.most
        for group in domain.groups
        if group.kind == _KIND and not group.must
    )


@remark(_KIND)
def failure_domains_told(fleet: Fleet, hosts: list[ProjectedHost], unrepaired: list[ProjectedDomain]) -> list[str]:
    """Groups of which too many share a failure domain, or that keep a domain where it must not be."""
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
