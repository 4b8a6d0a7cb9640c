# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Repairing rules that must hold and do not: domains on a drained host, away from their pin, beside what they avoid.

Each such domain goes to the host where the score is best among those that no constraint refuses. What cannot be
repaired is said once and left alone.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet import Fleet, ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._registry import Placement
from ansible_collections.virtops.balance.plugins.plugin_utils._rules import Rules


def repair(fleet: Fleet, rules: Rules) -> Placement:
    """Move domains that violate a rule, at most max_moves of them, in the projected fleet."""
    result = Placement()
    violating = [domain for domain in fleet.domains if rules.violations(domain)]
    if not violating:
        return result
    left = len(violating) if fleet.policy.max_moves is None else fleet.policy.max_moves
    hosts = fleet.counted()
    # Large domains first where all must leave: they fit in fewest places. Where one of several must go, the cheapest.
    together = {
        domain.index for domain in violating if all(r.constraint == "anti_affinity" for r in rules.violations(domain))
    }
    violating.sort(
        key=lambda d: (d.index in together, d.copy_mib if d.index in together else -d.committed_mib, d.facts.uuid)
    )
    for _again in range(2):  # what moved in the first pass may have made room
        for domain in violating:
            broken = rules.violations(domain)
            if broken and not domain.moved and len(result.repairs) < left and rules.fixed(domain) is None:
                host = _best_host(fleet, rules, domain, hosts)
                if host is not None:
                    fleet.move(domain, host)
                    result.repairs[domain.facts.uuid] = broken[0].constraint
    for domain in violating:
        broken = rules.violations(domain)
        if broken:
            result.unrepaired[domain.facts.uuid] = broken[0].message
    result.notes += _impossible(fleet, rules, hosts, result)
    return result


def _best_host(fleet: Fleet, rules: Rules, domain: ProjectedDomain, hosts: list[ProjectedHost]) -> ProjectedHost | None:
    scale = 1.0 / max(1, len(hosts))
    best: tuple[float, ProjectedHost] | None = None
    for host in hosts:
        if host is domain.host:
            continue
        cost = fleet.score.after(domain.demand, domain.host, host) + scale * rules.penalty(domain, host)
        if (best is None or cost < best[0]) and rules.refuses(domain, host) is None:
            best = (cost, host)
    return None if best is None else best[1]


def _impossible(fleet: Fleet, rules: Rules, hosts: list[ProjectedHost], result: Placement) -> list[str]:
    notes = []
    if result.unrepaired and fleet.policy.max_moves is not None and len(result.repairs) >= fleet.policy.max_moves:
        notes.append(
            f"{len(result.unrepaired)} domains still violate a rule: max_moves ({fleet.policy.max_moves}) is reached."
        )
    for index, group in enumerate(fleet.groups):
        if group.must and group.size > len(hosts):
            notes.append(
                f"Anti-affinity {group.name!r} cannot be kept: "
                f"{group.size} domains, {len(hosts)} hosts that can take them."
            )
        elif group.must and any(index in fleet[uuid].groups for uuid in result.unrepaired):
            notes.append(f"Anti-affinity {group.name!r} is violated and could not be repaired.")
    return notes
