# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Snapshot, policy and figures of domains -> one plan: moves, creations, shut-downs, weight and cap of each domain.

The fleet is made a problem of allocation (see _allocation_problem), a strategy solves it, and its answer is compared
with what is: to stay is an answer as well, and wins unless another one is worth more. So a second run, which starts
from what the first one made, changes nothing.

What a host offers: ``cpu_limit`` of its threads and ``memory_limit`` of its memory, less what it keeps for itself. It
is not what was measured at the moment, because what domains get must not depend on what they happen to use.
Domains that are not allocated are counted by what they demand and by their maximum memory, and stay where they are.
"""

from __future__ import annotations

import math
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ansible_collections.virtops.balance.plugins.plugin_utils import _allocation, _allocation_figures
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation import Answer
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_figures import STOP, Settings, Wish
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_problem import Capacity, Demand, Problem
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_settle import settle
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import FleetError, PolicyError, SnapshotError
from ansible_collections.virtops.balance.plugins.plugin_utils._explain import (
    ANY_HOST,
    explain_moves,
    host_state,
    snapshot_notes,
    spread_of,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet import Fleet, ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._interrupted import interrupted_restarts
from ansible_collections.virtops.balance.plugins.plugin_utils._model import SCHEMA, Snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._ordering import PARKING, Move, order
from ansible_collections.virtops.balance.plugins.plugin_utils._policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._power import Power
from ansible_collections.virtops.balance.plugins.plugin_utils._registry import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse

# What is measured of domains that are not allocated is rounded up, so that it does not flicker from run to run.
_CORES_STEP = 0.1
_MEMORY_STEPS = 100
# The rounding of weights in version 2 of cgroups, and that of caps in the observation.
_SAME_WEIGHT = 0.006
_SAME_CAP = 0.1
_LEAST_CAP = 1.0
_BETTER = 1e-6


def allocation_plan(
    snapshot: t.Any, domains: t.Any, allocation: t.Any = None, policy: t.Any = None, *, now: str | None = None
) -> dict[str, t.Any]:
    """Decide where the domains run and how much CPU each gets, and what has to be done for it.

    ``domains`` maps names or UUIDs to figures, ``allocation`` are the settings (both see _allocation_figures),
    ``snapshot``, ``policy`` and ``now`` are as for the plan. The same input gives the same plan. Raises SnapshotError,
    PolicyError or FleetError with one sentence that says what to change.
    """
    wanted, how = Policy.from_mapping(policy), _allocation_figures.settings(allocation)
    facts = Snapshot.from_mapping(snapshot)
    if not facts.hosts:
        raise FleetError("The snapshot has no host: is the group of hypervisors in the inventory empty?")
    if facts.doubts:
        raise SnapshotError("Nothing is planned while it is not certain where domains run: " + " ".join(facts.doubts))
    moment = parse(str(now or facts.taken_at)) if now or facts.taken_at else None
    fleet = Fleet(facts, wanted, moment)
    return _Planning(fleet, how, _allocation_figures.wishes(domains, facts)).run()


@dataclass(frozen=True, slots=True)
class _Solution:
    """An answer, and the domains that had to stay where they are because it has no place for them, with the reason."""

    problem: Problem
    answer: Answer
    stranded: dict[str, Reason]

    def moves(self, homes: Mapping[str, str]) -> int:
        """How many domains would move."""
        return sum(homes.get(label, host) != host for label, (host, _cpu) in self.answer.placed.items())


class _Planning:
    """One plan in the making. Domains go by a label: their name, or their UUID where several have that name."""

    def __init__(self, fleet: Fleet, how: Settings, wishes: list[Wish]) -> None:
        self.fleet, self.how, self.rules = fleet, how, Rules(fleet)
        self.usable = {
            host.name: host for host in fleet.counted() if not fleet.domains or self.rules.closed(host) is None
        }
        names = [wish.name for wish in wishes]
        self.wishes = {wish.name if names.count(wish.name) == 1 else wish.key: wish for wish in wishes}
        self.domains = {
            label: fleet[wish.domain.uuid] for label, wish in self.wishes.items() if wish.domain is not None
        }
        self.to_stop: dict[str, str] = {}
        self.fixed: dict[str, Reason] = {}
        self.aside: dict[str, Reason] = {}
        self._sort_out()
        self.homes = {label: domain.home.name for label, domain in self.domains.items()}
        self.power = {name: self._power(name) for name in self.usable}
        self.waiting = 0

    def _sort_out(self) -> None:
        """Which domains cannot be moved, and which cannot be allocated at all in this run."""
        for label, wish in self.wishes.items():
            if wish.figures.state == STOP and wish.domain is None:
                continue
            reason = self._why_aside(label, wish)
            if reason is not None:
                self.aside[label] = reason
            elif wish.figures.state == STOP:
                self.to_stop[label] = f"{label} is to be stopped (balance_domains)."
            elif label in self.domains:
                held = self._why_fixed(self.domains[label])
                if held is not None:
                    self.fixed[label] = held

    def _why_aside(self, label: str, wish: Wish) -> Reason | None:
        domain = self.domains.get(label)
        if domain is None:
            silent = [host.name for host in self.fleet.hosts if host.facts.state == "unknown"]
            if silent:
                return Reason("unknown_host", f"it may run on {silent[0]}, which did not answer")
            return None
        if domain.facts.destination is not None or domain.facts.job is not None:
            return Reason("in_flight", "a migration or another job of libvirt holds it")
        if wish.figures.state == STOP:
            return None
        if wish.cpu_max is None or wish.memory_mib is None:
            return Reason("unknown_domain", "its vCPUs or its memory are not known")
        if domain.home.name not in self.usable:
            held = self._why_fixed(domain)
            if held is not None:
                return held
            if domain.home.facts.state == "unknown" or domain.home.ignored:
                return Reason("ignored_host", f"{domain.home.name} takes no part")
        return None

    def _why_fixed(self, domain: ProjectedDomain) -> Reason | None:
        """Why it has to stay on its host."""
        reason = self.rules.fixed(domain, repair=bool(self.rules.violations(domain)))
        if reason is not None:
            return reason
        for group in domain.groups:
            if group.must and group.kind != "anti_affinity":
                return Reason(group.kind, f"an allocation does not move domains of {group.name}")
        if domain.huge_mib:
            return Reason("memory", "an allocation does not move domains that have huge pages")
        return None

    def _power(self, name: str) -> Power | None:
        found = self.usable[name].facts.power_model or self.how.power
        if found is None and self.how.power_weight > 0.0:
            raise PolicyError(
                f"balance_allocation.power_weight is above 0, but what {name} draws is not known: set "
                "balance_power_model for it, or balance_allocation.power for all hosts, as {idle_watts, max_watts}."
            )
        return found

    # The problem

    def _problem(self, pins: Mapping[str, str], stranded: t.Container[str]) -> Problem:
        """``pins``: domains that have to be on one host. ``stranded``: those that stay without being allocated."""
        items = {
            label: wish
            for label, wish in self.wishes.items()
            if wish.figures.state != STOP and label not in self.aside and label not in stranded
        }
        gone = {self.domains[label].index for label in (*items, *self.to_stop) if label in self.domains}
        hosts = {
            name: capacity for name, host in self.usable.items() if (capacity := self._capacity(host, gone)) is not None
        }
        if not hosts:
            raise FleetError(
                "No host has room for domains: every one is unknown, drained or ignored, or keeps all it has."
            )
        enough = 1.0 + sum(wish.figures.share * (wish.cpu_max or 0.0) for wish in items.values())
        enough += self.how.power_weight * sum(found.full for found in self.power.values() if found is not None)
        return Problem(
            hosts=hosts,
            domains={label: self._demand(label, wish, pins, enough, hosts) for label, wish in items.items()},
            power_weight=self.how.power_weight,
            refuses=self._refuses,
        )

    def _capacity(self, host: ProjectedHost, gone: t.Container[int]) -> Capacity | None:
        policy, facts = self.fleet.policy, host.facts
        total = facts.memory_total_mib or 0.0
        cores = (facts.threads or 0) * policy.cpu_limit - host.reserved_cores
        own = host.committed_mib - sum(domain.committed_mib for domain in host.domains.values())
        step = total / _MEMORY_STEPS
        memory = total * policy.memory_limit * policy.memory_overcommit - _up(own, step)
        if cores <= 0.0 or memory <= 0.0:
            return None
        others = [domain for index, domain in host.domains.items() if index not in gone]
        return Capacity(
            cores=cores,
            memory_mib=memory,
            power=self.power[host.name],
            cpu_used=min(cores, _up(sum(domain.demand[0] for domain in others), _CORES_STEP)),
            memory_used_mib=min(memory, sum(domain.committed_mib for domain in others)),
            apart=tuple(sorted({name for domain in others for name in _apart(domain)})),
        )

    def _demand(
        self, label: str, wish: Wish, pins: Mapping[str, str], enough: float, hosts: t.Container[str]
    ) -> Demand:
        domain, figures = self.domains.get(label), wish.figures
        allowed: t.Iterable[str] | None = figures.hosts
        if domain is None:
            self._check_not_interrupted(wish)
        if domain is None and figures.xml_path is None and figures.template is None:
            defined = self._defined(wish)
            allowed = defined if allowed is None else [host for host in allowed if host in defined]
        if domain is not None and label in self.fixed:
            allowed = (domain.home.name,)
        if label in pins:
            allowed = (pins[label],)
        most = wish.cpu_max or 0.0
        huge = domain is not None and domain.huge_mib > 0.0
        return Demand(
            cpu_min=min(figures.cpu_min, most),
            cpu_max=most,
            share=figures.share,
            utility_running=enough if figures.must_run else 0.0,
            # Huge pages are set aside before, so they are no part of what is handed out.
            memory_mib=_BETTER if huge else wish.memory_mib or 0.0,
            hosts=None if allowed is None else tuple(host for host in allowed if host in hosts),
            apart=tuple(sorted({*figures.apart, *(() if domain is None else _apart(domain))})),
        )

    def _check_not_interrupted(self, wish: Wish) -> None:
        """Raise PolicyError where the same run would start the domain elsewhere, to bring its restart to its end."""
        for found in interrupted_restarts(self.fleet.snapshot.raw):
            if wish.key in (found["name"], found["uuid"]):
                raise PolicyError(
                    f"balance_domains.{wish.name} is shut off because its restart from {found['source']} to "
                    f"{found['destination']} was interrupted: run rebalance.yml first, which brings that to its end."
                )

    def _defined(self, wish: Wish) -> list[str]:
        """The hosts that have a definition of a domain that runs nowhere."""
        raw = self.fleet.snapshot.raw["hosts"]
        found = [
            name
            for name in sorted(raw)
            if any(wish.key in (one.get("name"), one.get("uuid")) for one in raw[name].get("inactive_domains") or ())
        ]
        if not found:
            raise PolicyError(
                f"balance_domains.{wish.name} runs nowhere and no host has a definition of it: give it the key "
                "'xml_path' or 'template'."
            )
        return found

    def _refuses(self, label: str, host_name: str) -> Reason | None:
        domain, host = self.domains.get(label), self.usable[host_name]
        if domain is None:
            wanted, threads = self.wishes[label].vcpus or 0, host.facts.threads or 0
            if wanted > threads:
                return Reason("vcpus", f"has {wanted} vCPUs, {host.name} has {threads} threads")
            return None
        if host is not domain.home:
            return self.rules.suits(domain, host)
        if label in self.fixed:
            return None
        # Whatever else there may be against the host, the domain runs there.
        return next((reason for reason in self.rules.violations(domain) if reason.constraint == "pins"), None)

    # The answer

    def _solve(self, pins: Mapping[str, str]) -> _Solution:
        """Solve; what runs and must run, but finds no place, stays where it is, and the rest is solved around it."""
        stranded: dict[str, Reason] = {}
        while True:
            problem = self._problem(pins, stranded)
            answer = _allocation.allocate(problem, self.how.strategy, self.how.parameters)
            more = {
                label: reason
                for label, reason in answer.left_out.items()
                if label in self.domains and self.wishes[label].figures.must_run
            }
            if not more:
                return _Solution(problem, answer, stranded)
            stranded.update(more)

    def _best(self) -> _Solution:
        """The answer that is worth most, moves counted; of equal ones that with the fewest moves."""

        def better(one: _Solution, other: _Solution) -> bool:
            worths = [s.answer.objective - self.how.move_gain * s.moves(self.homes) for s in (one, other)]
            return worths[0] > worths[1] + _BETTER + _BETTER * _BETTER * abs(worths[1])

        best = self._solve({label: home for label, home in self.homes.items() if self._may_stay(label)})
        free = self._solve({})
        if free.answer.objective > best.answer.objective:
            for other in (self._solve(settle(free.problem, free.answer.placed, self.homes)), free):
                best = other if better(other, best) else best
        return best

    def _may_stay(self, label: str) -> bool:
        hosts = self.wishes[label].figures.hosts
        return self.homes[label] in self.usable and (hosts is None or self.homes[label] in hosts)

    # The plan

    def run(self) -> dict[str, t.Any]:
        """Solve, order, and put everything that a person needs into the plan."""
        solution = self._best() if any(wish.figures.state != STOP for wish in self.wishes.values()) else None
        placed = {} if solution is None else solution.answer.placed
        if solution is not None:
            for label, reason in solution.answer.left_out.items():
                if label in self.domains:
                    self.to_stop[label] = reason.message
        fleet = self.fleet
        before = {host.name: host_state(host) for host in fleet.hosts}
        score, spread = fleet.score.value(), spread_of(fleet)
        for label in self.to_stop:
            fleet.release(self.domains[label], self.domains[label].home)
        waves, stranded = self._waves(placed)
        final = {label: self._where(label, host, waves) for label, (host, _cpu) in placed.items()}
        moves = explain_moves(fleet, self.rules, [[_in(fleet, move) for move in wave] for wave in waves])
        labels = {domain.facts.uuid: label for label, domain in self.domains.items()}
        for move in (move for wave in moves for move in wave["moves"]):
            if move["resource"] != PARKING:
                move["resource"] = "allocation"
                move["why"] = f"gets {_cores(placed[labels[move['domain']]][1])} of {move['destination']}"
        steps = self._steps(placed, final)
        refused = self._refused(solution, stranded)
        todo = bool(moves or steps)
        return {
            "schema": SCHEMA,
            "snapshot_taken_at": fleet.snapshot.taken_at,
            "strategy": self.how.strategy,
            "verdict": "allocate" if todo else "allocated",
            "why": self._why(solution),
            "uneven_rounds": 0,
            "policy": fleet.policy.to_mapping(),
            "score": {"before": round(score, 6), "after": round(fleet.score.value(), 6)},
            "spread": {"before": spread, "after": spread_of(fleet)},
            "hosts": {
                host.name: {
                    "state": "drained" if host.drained and host.facts.state == "active" else host.facts.state,
                    "before": before[host.name],
                    "after": host_state(host),
                    "allocated": self._allocated(host.name, solution),
                }
                for host in fleet.hosts
            },
            "allocation": _summary(solution),
            "domains": {label: self._told(label, placed, final) for label in sorted(self.wishes)},
            "waves": moves,
            "steps": steps,
            "refused": refused,
            "notes": snapshot_notes(fleet) + self._notes(),
            "marks": {},
        }

    def _waves(self, placed: Mapping[str, tuple[str, float]]) -> tuple[list[list[Move]], dict[str, Reason]]:
        """The moves in an order that is safe for memory and for all rules; domains that it leaves behind."""
        # CPU is handed out by caps, and what a domain demands before it has its cap says nothing about that.
        policy = replace(self.fleet.policy, cpu_limit=math.inf, cpu_overcommit=None)
        loose = Fleet(self.fleet.snapshot, policy, self.fleet.now)
        rules = Rules(loose)
        for label in self.to_stop:
            loose.release(loose.domains[self.domains[label].index], loose.hosts[self.domains[label].home.index])
        moves = []
        for label, (host, _cpu) in sorted(placed.items()):
            domain = self.domains.get(label)
            if domain is not None and domain.home.name != host:
                twin = loose.domains[domain.index]
                moves.append(Move(twin, twin.home, loose.hosts[self.usable[host].index]))
        moves.sort(key=lambda move: (not move.source.drained, move.source.index, move.domain.facts.uuid))
        found = order(loose, rules, moves)
        labels = {domain.index: label for label, domain in self.domains.items()}
        stranded = {labels[move.domain.index]: reason for move, reason in found.stranded}
        return self._first_moves(found.waves), stranded

    def _first_moves(self, waves: list[list[Move]]) -> list[list[Move]]:
        """At most ``max_moves`` moves; the others wait for the next run."""
        left = self.fleet.policy.max_moves
        if left is None:
            return waves
        kept = []
        for wave in waves:
            self.waiting += len(wave[left:])
            if wave[:left]:
                kept.append(wave[:left])
            left -= len(wave[:left])
        return kept

    def _where(self, label: str, host: str, waves: list[list[Move]]) -> str:
        """On which host the domain is once the waves are done."""
        if label not in self.domains:
            return host
        index = self.domains[label].index
        ends = [move.destination.name for wave in waves for move in wave if move.domain.index == index]
        return ends[-1] if ends else self.homes[label]

    def _tuning(self, label: str) -> dict[str, float | None]:
        """Weight and cap that the domain has; None = it does not run, or they are not known."""
        if label not in self.domains:
            return {"weight": None, "cap": None}
        raw = self.fleet.snapshot.raw["domains"][self.domains[label].facts.uuid]
        return {"weight": raw.get("weight"), "cap": raw.get("cap")}

    def _steps(self, placed: Mapping[str, tuple[str, float]], final: Mapping[str, str]) -> list[dict[str, t.Any]]:
        """What is to be done beside the moves, by host: shut down, then create, then weight and cap."""
        steps = [self._step("stop", label, self.homes[label], None, why) for label, why in sorted(self.to_stop.items())]
        for label in sorted(set(placed) - set(self.domains)):
            host, cpu = placed[label]
            steps.append(self._step("create", label, host, cpu, f"runs nowhere, gets {_cores(cpu)} of {host}"))
        for label in sorted(set(placed) & set(self.domains)):
            cpu = placed[label][1]
            has = self._tuning(label)
            if not (
                _near(has["weight"], self.wishes[label].figures.share, _SAME_WEIGHT)
                and _near(has["cap"], _cap(cpu), _SAME_CAP)
            ):
                steps.append(self._step("run", label, final[label], cpu, f"gets {_cores(cpu)} of {final[label]}"))
        return [{"number": number, **step} for number, step in enumerate(steps, 1)]

    def _step(self, state: str, label: str, host: str, cpu: float | None, why: str) -> dict[str, t.Any]:
        wish = self.wishes[label]
        return {
            "state": state,
            # What the host is asked for: a name would not tell two domains from each other.
            "domain": wish.key,
            "name": wish.name,
            "host": host,
            "weight": None if cpu is None else wish.figures.share,
            "cap": None if cpu is None else _cap(cpu),
            "before": self._tuning(label),
            "memory_mib": wish.memory_mib,
            "vcpus": wish.vcpus,
            "xml_path": wish.figures.xml_path,
            "template": wish.figures.template,
            "why": why,
        }

    def _told(self, label: str, placed: Mapping[str, tuple[str, float]], final: Mapping[str, str]) -> dict[str, t.Any]:
        """What becomes of one domain."""
        wish, has, home = self.wishes[label], self._tuning(label), self.homes.get(label)
        cpu = placed[label][1] if label in placed else None
        stays = home if label not in self.to_stop else None
        return {
            "uuid": None if wish.domain is None else wish.domain.uuid,
            "host": {"before": home, "after": final.get(label, stays)},
            "cpu_cores": None if cpu is None else round(cpu, 6),
            "weight": {"before": has["weight"], "after": has["weight"] if cpu is None else wish.figures.share},
            "cap": {"before": has["cap"], "after": has["cap"] if cpu is None else _cap(cpu)},
        }

    def _allocated(self, name: str, solution: _Solution | None) -> dict[str, t.Any] | None:
        """What of a host is handed out; None for one that takes no part."""
        if solution is None or name not in solution.answer.hosts:
            return None
        offered, used = solution.problem.hosts[name], solution.answer.hosts[name]
        return {
            "cpu_cores": round(used["cpu_used"], 6),
            "cpu_offered_cores": round(offered.cores, 6),
            "memory_mib": round(used["memory_used_mib"]),
            "memory_offered_mib": round(offered.memory_mib),
            "watts": None if used["watts"] is None else round(used["watts"], 1),
            "domains": used["domains"],
        }

    def _refused(self, solution: _Solution | None, unordered: Mapping[str, Reason]) -> list[dict[str, t.Any]]:
        """Domains that do not get what they are to have, and why."""
        reasons = dict(self.aside)
        if solution is not None:
            reasons.update(solution.stranded)
            reasons.update(
                (label, reason) for label, reason in solution.answer.left_out.items() if label not in self.domains
            )
        reasons.update(
            (label, Reason("ordering", f"no order of moves is safe: {reason.message}"))
            for label, reason in unordered.items()
        )
        return [
            {
                "domain": self.wishes[label].key,
                "name": self.wishes[label].name,
                "host": self.homes.get(label),
                "reasons": {ANY_HOST: [reason.to_mapping()]},
            }
            for label, reason in sorted(reasons.items())
        ]

    def _why(self, solution: _Solution | None) -> str:
        if solution is None:
            return "No domain is to be allocated: balance_domains names none that is to run."
        hosts = solution.answer.hosts
        used = sum(bool(host["domains"]) for host in hosts.values())
        placed = len(solution.answer.placed)
        sentence = f"{placed} domain{'s' * (placed != 1)} on {used} of {len(hosts)} hosts that can be used"
        watts = solution.answer.watts
        return sentence + (f", which draw {watts:.0f} W (modelled)." if watts is not None else ".")

    def _notes(self) -> list[str]:
        notes = []
        if self.waiting:
            notes.append(f"{self.waiting} more moves wait for the next run (max_moves).")
        for label, reason in sorted(self.fixed.items()):
            if self.rules.violations(self.domains[label]):
                notes.append(f"{label} violates a rule and stays on {self.homes[label]}: {reason.message}.")
        return notes


def _summary(solution: _Solution | None) -> dict[str, t.Any] | None:
    """The figures of the answer; the utility without what keeps domains from being left out."""
    if solution is None:
        return None
    problem, answer = solution.problem, solution.answer
    utility = math.fsum(problem.domains[label].share * cpu for label, (_host, cpu) in answer.placed.items())
    return {
        "utility": round(utility, 6),
        "watts": None if answer.watts is None else round(answer.watts, 1),
        "watts_source": "modelled",
        "objective": round(utility - problem.power_weight * (answer.watts or 0.0), 6),
    }


def _in(fleet: Fleet, move: Move) -> Move:
    """The same move of another projection of the same snapshot."""
    return Move(
        fleet.domains[move.domain.index],
        fleet.hosts[move.source.index],
        fleet.hosts[move.destination.index],
        move.purpose,
    )


def _apart(domain: ProjectedDomain) -> t.Iterator[str]:
    for group in domain.groups:
        if group.must and group.kind == "anti_affinity":
            yield group.name


def _up(value: float, step: float) -> float:
    return math.ceil(value / step - _BETTER) * step


def _cap(cpu: float) -> float:
    return max(_LEAST_CAP, round(100.0 * cpu, 1))


def _cores(cpu: float) -> str:
    return f"{round(cpu, 3):g} core{'s' * (round(cpu, 3) != 1)}"


def _near(found: t.Any, wanted: float, tolerance: float) -> bool:
    return isinstance(found, (int, float)) and abs(found - wanted) <= tolerance
