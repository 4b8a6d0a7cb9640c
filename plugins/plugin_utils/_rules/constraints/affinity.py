# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Affinity: domains that belong on the same host, as a rule or as a wish.

Domains that have to share a host move together (see _rules/bundles.py). Between the first and the last of these moves
they are apart, because a migration moves one domain; therefore the scope of the rule is "end". A member that is on its
way to another host draws no other to the host that it is leaving.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import (
    Group,
    ProjectedDomain,
    ProjectedHost,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint, preference, remark

_KIND = "affinity"


@constraint(_KIND, scope="end", repair="repairs affinity", when=lambda fleet: fleet.policy.must_keep(_KIND))
def affinity(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """All other domains of the group are on the host, and stay there."""
    if domain.leaving and host is domain.host:
        return None  # where it will be counts
    for group in domain.groups:
        if group.kind != _KIND or not group.must:
            continue
        if group.elsewhere(domain, host):
            away = group.absent(domain, host)
            return Reason(_KIND, f"has to be with {away.name} of the group {group.name}, which is on {away.host.name}")
        going = _leaving(group, domain, host)
        if going and host is not domain.host:
            return Reason(_KIND, f"{going[0].name} of the group {group.name} is just leaving {host.name}")
    return None


def _leaving(group: Group, domain: ProjectedDomain, host: ProjectedHost) -> list[ProjectedDomain]:
    """The other members that are on the host, and on their way to another one."""
    return [
        member
        for member in group.leaving
        if member is not domain and member.host is host and member.facts.destination != host.name
    ]


@preference(_KIND, when=lambda fleet: fleet.policy.wishes(_KIND))
def affinity_wished(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> int:
    """One for each domain of the group that is on another host, or on its way to one."""
    return sum(
        group.elsewhere(domain, host) + len(_leaving(group, domain, host))
        for group in domain.groups
        if group.kind == _KIND and not group.must
    )


@remark(_KIND)
def affinity_told(fleet: Fleet, hosts: list[ProjectedHost], unrepaired: list[ProjectedDomain]) -> list[str]:
    """Notes about groups that are not together."""
    return [
        f"Affinity {group.name!r} is not kept: its {len(group.members)} domains are on {len(group.taken())} hosts."
        for group in fleet.groups
        if group.kind == _KIND and group.must and group.parted()
    ]
