# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Draining hosts: where their domains go, what prevents it, and which domains are left afterwards."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import (
    Group,
    ProjectedDomain,
    ProjectedHost,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.registry import Placement
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.repair import differ, put_back, repair_some
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot, check

Json = t.Mapping[str, t.Any]

# So many orders are tried where domains find no room, those without room first.
_TRIES = 4
# Of a large fleet, so many of the hosts with the least load are looked at first.
_NEAR = 64
# What ties a domain to the CPU of a host ends with the domain; a new start needs no equal CPU, and no live move.
_OVER_WITH_A_RESTART = frozenset({"host_cpu", "shadow_paging", "transient_disk"})
_CPU_OF_THE_HOST = ("host-passthrough", "host-model", "maximum")


def empty(
    fleet: Fleet, rules: Rules, leaving: Sequence[ProjectedDomain], *, tries: int = _TRIES, force: bool = True
) -> Placement:
    """Move the domains of drained hosts in the projected fleet; those without room are ``unrepaired``, with reasons.

    ``force``: limits give way for domains that find no room in any of the tries."""
    places = {member: member.host for domain in leaving for member in domain.bundle or (domain,)}
    found: list[tuple[int, bool, frozenset[str]]] = []
    # That all leave counts more than who gets room first.
    for priorities in (True, False) if differ(places) else (True,):
        first: frozenset[str] = frozenset()
        for _try in range(tries):
            put_back(fleet, places)
            result = _attempt(fleet, rules, leaving, first, priorities)
            if not result.unrepaired:
                return result
            found.append((len(result.unrepaired), priorities, first))
            more = {uuid for uuid in result.unrepaired if rules.fixed(fleet[uuid], repair=True) is None} - first
            if not more:
                break
            first |= more
    put_back(fleet, places)
    priorities, first = min(found, key=lambda one: one[0])[1:]
    return _attempt(fleet, rules, leaving, first, priorities, force=force)


def _attempt(
    fleet: Fleet,
    rules: Rules,
    leaving: Sequence[ProjectedDomain],
    first: frozenset[str],
    priorities: bool,
    *,
    force: bool = False,
) -> Placement:
    return repair_some(
        fleet, rules, leaving, most=None, first=first, near=_NEAR, force=lambda _bundle: force, priorities=priorities
    )


def restart(
    fleet: Fleet, rules: Rules, stuck: Iterable[ProjectedDomain], *, force: bool = True
) -> list[dict[str, t.Any]]:
    """Restart domains that cannot be moved live on another host of the projected fleet, if the policy lets them be shut
    down. Returns the restarts as the plan lists them. ``force``: limits give way where nothing else helps."""
    found: list[dict[str, t.Any]] = []
    for domain in sorted(stuck, key=lambda one: (-one.priority, -one.committed_mib, one.facts.uuid)):
        reason = _restartable(rules, domain)
        host = None if reason is None else _restarts_on(fleet, rules, domain, force=force)
        if reason is not None and host is not None:
            passed = [one for one in rules.reasons(domain, host) if one.excess is not None]
            found.append(
                {
                    "number": len(found) + 1,
                    "domain": domain.facts.uuid,
                    "name": domain.name,
                    "source": domain.host.name,
                    "destination": host.name,
                    "why": reason.message,
                    "gives_way": [one.passed() for one in passed],
                }
            )
            fleet.move(domain, host)
    return found


def _restartable(rules: Rules, domain: ProjectedDomain) -> Reason | None:
    """Why the domain cannot be moved live, if a restart would solve that and the policy permits one; else None."""
    if not domain.may_restart or domain.bundle:
        return None
    reasons = rules.immovable(domain)
    if not reasons:
        return Reason("cpu_model", "no host with room has the CPU model that it needs") if _follows(domain) else None
    codes = {code for code, _message in domain.facts.blockers}
    only_blockers = all(reason.constraint == "blockers" for reason in reasons)
    return reasons[0] if only_blockers and codes <= _OVER_WITH_A_RESTART else None


def _follows(domain: ProjectedDomain) -> bool:
    """Does it get the CPU model of the host on which it is started?"""
    return domain.facts.cpu_mode in _CPU_OF_THE_HOST


def _restarts_on(fleet: Fleet, rules: Rules, domain: ProjectedDomain, *, force: bool) -> ProjectedHost | None:
    """The host on which limits are passed least, and then with the best score, of those that no rule refuses except for
    a CPU model that it need not keep."""
    beside = {"cpu_model", "agreement_about_cpu"} if _follows(domain) else set()
    costs = []
    for host in fleet.counted():
        reasons = [reason for reason in rules.reasons(domain, host) if reason.constraint not in beside]
        if all(force and reason.excess is not None for reason in reasons):
            excess = sum(reason.excess or 0.0 for reason in reasons)
            costs.append((excess, fleet.score.after(domain.demand, domain.host, host), host.index, host))
    return min(costs)[3] if costs else None


def objections(snapshot: t.Any, hosts: t.Any, policy: t.Any = None) -> list[str]:
    """Sentences about what prevents draining these hosts too; none = nothing does. A name may be that of a group.

    Domains without room are not among them: the plan reports those. Raises SnapshotError, PolicyError or FleetError.
    """
    facts = Snapshot.from_mapping(snapshot)
    check(facts)
    fleet = Fleet(facts, Policy.from_mapping(policy))
    known = {host.name: host for host in fleet.hosts}
    hosts, told = facts.named(hosts)
    for name in hosts:
        if not known[name].facts.answers:
            problem = f" ({known[name].facts.problem})" if known[name].facts.problem else ""
            told.append(f"{name} is {known[name].facts.state}: no domain can be moved away from it.{problem}")
        elif known[name].facts.marks_problem is not None:
            told.append(f"{name} cannot be drained. {known[name].facts.marks_problem}")
        elif known[name].ignored:
            told.append(f"The policy ignores {name} (ignore_hosts).")
    if told or not hosts:
        return told or ["There is no host to drain."]
    rules = Rules(fleet)
    # They may be drained already, by an earlier run or by this policy.
    _drain(fleet, rules, [known[name] for name in hosts], False)
    before = [_apart(rules, group, fleet.counted()) for group in _separate(fleet)]
    _drain(fleet, rules, [known[name] for name in hosts], True)
    if not fleet.counted():
        return [f"With {_named(hosts)} drained, no host would be left to take domains."]
    for group, could in zip(_separate(fleet), before, strict=True):
        after = _apart(rules, group, fleet.counted())
        if after < could:
            told.append(
                f"{_named(hosts)} cannot be drained: of the {len(group.members)} domains that {group.name!r} keeps "
                f"apart, only {after} could run on the other hosts."
            )
    return told


def _drain(fleet: Fleet, rules: Rules, hosts: Iterable[ProjectedHost], drained: bool) -> None:
    for host in hosts:
        fleet.drain(host, drained)
        rules.reopen(host)


def _separate(fleet: Fleet) -> list[Group]:
    """The groups whose members must not share a host."""
    return [group for group in fleet.groups if group.kind == "anti_affinity" and group.must]


def _apart(rules: Rules, group: Group, hosts: Sequence[ProjectedHost]) -> int:
    """How many members could run at the same time, each on its own suitable host (a maximum matching)."""
    holder: dict[int, ProjectedDomain] = {}

    def seat(member: ProjectedDomain, seen: set[int]) -> bool:
        for host in hosts:
            if host.index in seen or (host is not member.host and not _may_be_on(rules, member, host)):
                continue
            seen.add(host.index)
            if host.index not in holder or seat(holder[host.index], seen):
                holder[host.index] = member
                return True
        return False

    return sum(seat(member, set()) for member in group.members)


def _may_be_on(rules: Rules, domain: ProjectedDomain, host: ProjectedHost) -> bool:
    return (rules.closed(host) or rules.suits(domain, host)) is None


def left(plan: t.Any, snapshot: t.Any, hosts: t.Any) -> list[str]:
    """Sentences about the domains left on hosts that were to be emptied, with the plan's reasons; none = all are empty.

    ``plan`` is a plan of the strategy drain, ``snapshot`` was taken after it. Raises BalanceError or SnapshotError.
    """
    if not isinstance(plan, Mapping) or "refused" not in plan:
        raise BalanceError("The domains left on a host can only be told with a plan of the filter plan.")
    facts = Snapshot.from_mapping(snapshot)
    reasons = {refusal["domain"]: reasons_of(refusal["reasons"]) for refusal in plan["refused"]}
    told = [str(doubt) for doubt in facts.doubts]
    for name in hosts:
        host = facts.hosts.get(name)
        if host is None or not host.answers:
            told.append(f"It is not known whether {name} is empty: it does not answer.")
    for uuid, domain in facts.domains.items():
        if domain.host in hosts:
            told.append(f"{domain.name} is still on {domain.host}: {reasons.get(uuid, 'it was not moved')}.")
        elif domain.destination in hosts:
            told.append(f"{domain.name} is on its way to {domain.destination}.")
    return told


def reasons_of(by_host: Json) -> str:
    """The reasons against each host, or against all."""
    return "; ".join(
        ("" if host == "*" else f"{host}: ") + ", ".join(str(reason["message"]) for reason in found)
        for host, found in by_host.items()
    )


def _named(names: Iterable[str]) -> str:
    return ", ".join(names)
