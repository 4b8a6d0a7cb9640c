# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Checks whether a plan that was made (and perhaps approved) earlier can still be carried out unchanged.

The load of a fleet is never the same twice. The check is therefore not whether the load is that of the plan, but
whether each move is still permitted and still serves its purpose: the rules of the plan's own policy are evaluated
again at every step, with the present load.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterator, Mapping

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import RESOURCES
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.giving_way import beyond, refuses_now
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import SCHEMA, Snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse

Json = t.Mapping[str, t.Any]

_NOTHING = 1e-9


def objections(plan: t.Any, snapshot: t.Any) -> list[str]:
    """Sentences about what prevents carrying out the plan in the fleet of the snapshot; none = nothing does.

    Raises BalanceError for anything else than a plan of the plan filter, SnapshotError for a bad snapshot and
    PolicyError where the plan's policy names a host that the snapshot does not have.
    """
    _check(plan)
    if plan["wake"]:
        return [
            "It wakes hosts, and the moves to them are planned when they are awake: that cannot be approved in advance."
        ]
    facts = Snapshot.from_mapping(snapshot)
    if facts.doubts:
        return [str(doubt) for doubt in facts.doubts]
    fleet = Fleet(facts, Policy.from_mapping(plan["policy"]))
    return _Objections(plan, fleet).found()


def _check(plan: t.Any) -> None:
    """Raise BalanceError unless this is a plan that a run of rebalance can carry out."""
    if not isinstance(plan, Mapping) or not {"waves", "hosts", "policy", "score", "inside", "wake", "sleep"} <= set(
        plan
    ):
        raise BalanceError("The approved plan is not a plan of rebalance, such as the plan.json that a run saves.")
    if plan.get("schema") != SCHEMA:
        raise BalanceError(
            f"The approved plan has schema {plan.get('schema')!r}; this version of the collection makes {SCHEMA}."
        )


class _Objections:
    """One plan, and the fleet in which it is to be carried out."""

    def __init__(self, plan: Json, fleet: Fleet) -> None:
        self.plan, self.fleet, self.rules = plan, fleet, Rules(fleet)
        self.hosts = {host.name: host for host in fleet.hosts}
        self.domains = {domain.facts.uuid: domain for domain in fleet.domains}
        self.planned_at = parse(str(plan.get("snapshot_taken_at")))

    def found(self) -> list[str]:
        """The sentences. After a wave that is not possible, later waves are not checked: they depend on it."""
        before = self.fleet.score.value()
        violated = {index for index, domain in enumerate(self.fleet.domains) if self.rules.violations(domain)}
        told = list(self._inside())
        for wave in self.plan["waves"]:
            told += self._wave(wave)
            if told:
                return told
        told += [sentence for found in self.plan.get("restarts") or () for sentence in self._move(found, restart=True)]
        told += self._rules(violated)
        told += self._sleep()
        after = self.fleet.score.value()
        promised = self.plan["score"]["after"] < self.plan["score"]["before"]
        levels = any(move["resource"] in RESOURCES for wave in self.plan["waves"] for move in wave["moves"])
        if promised and levels and after >= before - _NOTHING:
            told.append(f"It would no longer level the fleet: score {before:.3f} -> {after:.3f}.")
        return told

    def _inside(self) -> Iterator[str]:
        """Domains with an action inside their host that have left this host."""
        for action in self.plan["inside"]:
            for uuid in action["domains"]:
                yield from self._place(uuid, uuid, action["host"])

    def _wave(self, wave: Json) -> list[str]:
        """Make the moves of a wave, domains in flight counted on both hosts; sentences about what prevents them."""
        told: list[str] = []
        under_way: list[tuple[ProjectedDomain, ProjectedHost, ProjectedHost]] = []
        for move in wave["moves"]:
            against = list(self._move(move))
            told += against
            if not against:
                ends = (self.hosts[move["source"]], self.hosts[move["destination"]])
                domain = self.domains[move["domain"]]
                self.fleet.occupy(domain, ends[1])
                under_way.append((domain, *ends))
        for domain, source, destination in under_way:
            self.fleet.release(domain, source)
            domain.host = destination
        return told

    def _move(self, move: Json, *, restart: bool = False) -> Iterator[str]:
        """Why a move may not begin. With ``restart`` the domain is shut down for it, so blockers of live migration and
        the CPU model do not matter."""
        name = move["name"]
        misplaced = list(self._place(move["domain"], name, move["source"]))
        if misplaced or move["destination"] not in self.hosts:
            yield from misplaced or [
                f"{name} is to move to {move['destination']}, which is no longer one of the hosts."
            ]
            return
        domain, destination = self.domains[move["domain"]], self.hosts[move["destination"]]
        moved_at = domain.facts.moved_at
        if self.planned_at is not None and moved_at is not None and moved_at > self.planned_at:
            yield f"{name} was moved after the plan was made."
            return
        # Repairs do not wait for the cooldown; for all other moves it was over when the plan was made.
        if restart:
            found = [one for one in self.rules.reasons(domain, destination) if one.constraint != "cpu_model"]
            reason = beyond(found, move)
        else:
            reason = self.rules.fixed(domain, repair=True) or refuses_now(self.rules, domain, destination, move)
        if reason is not None:
            yield f"{name} cannot go to {destination.name}: {reason.message}."

    def _place(self, uuid: str, name: str, host: str) -> Iterator[str]:
        """A sentence if a domain is not where the plan expects it."""
        domain, home = self.domains.get(uuid), self.hosts.get(host)
        if home is not None and not home.facts.answers:
            yield f"{host} is {home.facts.state}: it is not known whether {name} still runs there."
        elif domain is None:
            yield f"{name} no longer runs."
        elif domain.host.name != host:
            yield f"{domain.name} is on {domain.host.name}, not on {host} as the plan expects."

    def _rules(self, violated: set[int]) -> Iterator[str]:
        """Rules that are kept now and would be violated afterwards."""
        for index, domain in enumerate(self.fleet.domains):
            for reason in self.rules.violations(domain) if index not in violated else ():
                yield f"{domain.name} would violate a placement rule: {reason.message}."

    def _sleep(self) -> Iterator[str]:
        """Hosts that are to be put to sleep and would still have domains."""
        for act in self.plan["sleep"]:
            host = self.hosts.get(act["host"])
            if host is None:
                yield f"{act['host']} is to be put to sleep and is no longer one of the hosts."
            elif host.domains:
                names = ", ".join(sorted(domain.name for domain in host.domains.values()))
                yield f"{host.name} is to be put to sleep and would not be empty: {names}."
