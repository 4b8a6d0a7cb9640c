# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Rolling maintenance: divides hosts into rounds of hosts that may be down at the same time.

This is a graph colouring in which two hosts are adjacent if they must not be down together, because the other hosts
lack room for their domains or because a rule keeps these apart. The hosts of a round share the room of the others, so
the edges cannot be computed in advance. The graph is coloured greedily: each round takes, the fullest host first, every
host that the strategy drain can empty in the projected fleet together with the hosts already in the round. Domains
stay where a round has moved them; the next round starts from there. Limits give way only for a host that could not be
emptied otherwise, not even alone.
"""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._placement import draining
from ansible_collections.virtops.balance.plugins.plugin_utils._plan import giving_way
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.explain import refusals
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot, check
from ansible_collections.virtops.balance.plugins.plugin_utils._text import several, shown

_MOST_NAMED = 3
# After so many hosts in a row that could not be emptied beside the others, a round counts as full.
_PATIENCE = 30


def rounds(
    snapshot: t.Any, hosts: t.Any, policy: t.Any = None, *, name: str = "", most: int | None = None
) -> dict[str, t.Any]:
    """Divide the hosts into rounds; a name may be that of an inventory group, which stands for its hosts.

    ``name``: the name of the maintenance. Hosts that store it as done are left out, and hosts that were drained for it
    are active again after their round. ``most``: the most hosts in one round.

    Returns ``rounds`` (lists of names), ``done`` (names), ``apart`` (why a host is not in an earlier round, by name),
    ``impossible`` (sentences by name: hosts that cannot be emptied in any round) and ``notes`` (sentences about the
    policy). Raises SnapshotError, PolicyError, FleetError or BalanceError.
    """
    facts = Snapshot.from_mapping(snapshot)
    check(facts)
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise BalanceError(f"The most hosts in one round must be a whole number of at least 1, not {shown(most)}.")
    fleet = Fleet(facts, Policy.from_mapping(policy))
    wanted, problems = facts.named(map(str, hosts))
    if problems or not wanted:
        raise BalanceError(problems[0] if problems else "There is no host to maintain.")
    return _Rounds(fleet, wanted, name, most).run()


class _Rounds:
    """One division while it is made."""

    def __init__(self, fleet: Fleet, wanted: list[str], name: str, most: int | None) -> None:
        self.fleet, self.rules, self.most = fleet, Rules(fleet), most
        marks = {host.name: _marks(fleet, host) for host in fleet.hosts}
        self.done = [host for host in wanted if name and marks[host].get("maintained") == name]
        by_name = {host.name: host for host in fleet.hosts}
        self.pending = [by_name[host] for host in wanted if host not in self.done]
        # Hosts that were drained for another reason stay drained after their round.
        self.kept = {
            host.index
            for host in self.pending
            if host.drained and (marks[host.name].get("drained") or {}).get("purpose") != purpose(name)
        }
        self.apart: dict[str, str] = {}
        self.impossible: dict[str, list[str]] = {}
        self.notes = list(fleet.notes)

    def run(self) -> dict[str, t.Any]:
        """Make rounds until every host is in one or cannot be in any."""
        found: list[list[str]] = []
        for host in [host for host in self.pending if not host.facts.answers or host.ignored]:
            self.pending.remove(host)
            why = "the policy ignores it (ignore_hosts)" if host.ignored else f"it is {host.facts.state}"
            self.impossible[host.name] = [f"{host.name} cannot be emptied: {why}."]
        for host in [host for host in self.pending if host.facts.marks_problem is not None]:
            self.pending.remove(host)
            self.impossible[host.name] = [f"{host.name} cannot be drained. {host.facts.marks_problem}"]
        while self.pending:
            group = self._round(len(found) + 1) or self._round(len(found) + 1, force=True)
            if not group:
                break
            found.append([host.name for host in group])
            self.pending = [host for host in self.pending if host not in group]
        return {
            "rounds": found,
            "done": self.done,
            "apart": self.apart,
            "impossible": self.impossible,
            "notes": self.notes,
        }

    def _round(self, number: int, *, force: bool = False) -> list[ProjectedHost]:
        group: list[ProjectedHost] = []
        failures = 0
        for host in sorted(self.pending, key=lambda one: (-len(one.domains), one.name)):
            if self.most is not None and len(group) >= self.most:
                self.apart[host.name] = f"round {number} already has {self.most} hosts"
                continue
            if group and failures >= _PATIENCE:
                self.apart[host.name] = f"round {number} is full: {_PATIENCE} hosts in a row could not be added to it"
                continue
            # With other hosts in the round, a host that does not fit at once may be in a later round instead.
            why = self._add(host, tries=2) if group else self._add(host, force=force)
            failures = 0 if why is None else failures + 1
            if why is None:
                group.append(host)
                self.impossible.pop(host.name, None)
            elif group:
                names = several([one.name for one in group], _MOST_NAMED)
                self.apart[host.name] = f"not together with {names}: {'; '.join(why)}"
            else:
                self.impossible[host.name] = [f"{host.name} cannot be emptied: {one}." for one in why]
        for host in group:
            if host.index not in self.kept:
                self._drain(host, False)
        return sorted(group, key=lambda one: one.name)

    def _add(self, host: ProjectedHost, *, force: bool = False, **how: int) -> list[str] | None:
        """Empty one more host. If that is not possible, undo everything and return the reasons. ``force``: limits give
        way where nothing else helps."""
        drained = host.drained
        self._drain(host, True)
        if not self.fleet.counted():
            self._drain(host, drained)
            return ["no host would be left to take domains"]
        leaving = list(host.domains.values())
        places = {member: member.host for domain in leaving for member in domain.bundle or (domain,)}
        result = draining.empty(self.fleet, self.rules, leaving, force=force, **how)
        stuck = [self.fleet[uuid] for uuid in result.unrepaired]
        restarts = draining.restart(self.fleet, self.rules, stuck, force=force)
        for found in restarts:
            del result.unrepaired[found["domain"]]
        if not result.unrepaired:
            forced = result.forced | {found["domain"] for found in restarts if found["gives_way"]}
            self.notes += [f"To empty {host.name}: {note}" for note in giving_way.notes(self.fleet, self.rules, forced)]
            for domain in places:
                domain.home = domain.host  # the next round starts from here
            return None
        result.purposes = {}
        listed, _more = refusals(self.fleet, self.rules, result, {})
        why = [f"{refusal['name']} has to stay ({draining.reasons_of(refusal['reasons'])})" for refusal in listed]
        draining.put_back(self.fleet, places)
        self._drain(host, drained)
        return why[:_MOST_NAMED] + ([f"{len(why) - _MOST_NAMED} more domains have to stay"] * (len(why) > _MOST_NAMED))

    def _drain(self, host: ProjectedHost, drained: bool) -> None:
        self.fleet.drain(host, drained)
        self.rules.reopen(host)


def purpose(name: str) -> str:
    """The purpose that hosts are drained for by the maintenance of this name."""
    return f"maintenance {name}"


def _marks(fleet: Fleet, host: ProjectedHost) -> t.Mapping[str, t.Any]:
    return fleet.snapshot.raw["hosts"][host.name].get("marks") or {}
