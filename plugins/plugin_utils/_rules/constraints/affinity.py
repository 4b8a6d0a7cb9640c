# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Affinity: domains that belong on the same host, as a rule or as a wish.

Domains that have to share a host move together (see _rules/bundles.py). Between the first and the last of these moves
they are apart, because a migration moves one domain; therefore the scope of the rule is "end".
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint, preference, remark

_KIND = "affinity"
_PRICE = 1.0


@constraint(_KIND, scope="end", repair="repairs affinity", when=lambda fleet: fleet.policy.must_keep(_KIND))
def affinity(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """All other domains of the group are on the host."""
    for group in domain.groups:
        if group.kind == _KIND and group.must and group.elsewhere(domain, host):
            away = group.absent(domain, host)
            return Reason(_KIND, f"has to be with {away.name} of the group {group.name}, which is on {away.host.name}")
    return None


@preference(_KIND, when=lambda fleet: fleet.policy.wishes(_KIND))
def affinity_wished(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> float:
    """Each domain of the group on another host costs as much as one host that is completely out of balance."""
    return _PRICE * sum(
        group.elsewhere(domain, host) for group in domain.groups if group.kind == _KIND and not group.must
    )


@remark(_KIND)
def affinity_told(fleet: Fleet, hosts: list[ProjectedHost], unrepaired: list[ProjectedDomain]) -> list[str]:
    """Notes about groups that are not together."""
    return [
        f"Affinity {group.name!r} is not kept: its {len(group.members)} domains are on {len(group.taken())} hosts."
        for group in fleet.groups
        if group.kind == _KIND and group.must and group.parted()
    ]
