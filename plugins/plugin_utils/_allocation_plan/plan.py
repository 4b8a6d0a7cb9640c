# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The plan of an allocation: moves, creations, shut-downs, and the weight and cap of each domain.

The fleet is turned into an allocation problem (participants.py), the best answer is found (best_solution.py), and the
steps that lead to it are put in order.
"""

from __future__ import annotations

import math
import typing as t
from collections.abc import Mapping
from dataclasses import replace

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan import wanted_domains
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.best_solution import (
    Solution,
    best_solution,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.participants import Participants
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.wanted_domains import STOP
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import FleetError, SnapshotError
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.answers import Answers
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.moves import PARKING, Move
from ansible_collections.virtops.balance.plugins.plugin_utils._plan import agreement
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.explain import (
    ANY_HOST,
    explain_moves,
    host_state,
    snapshot_notes,
    spread_of,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.ordering import order
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.waiting import forgotten, waiting_notes
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.domain_health import not_running
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import SCHEMA, Snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.unknown_hosts import unknown_hosts
from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse

# The rounding of weights in version 2 of cgroups, and that of caps in the observation.
_SAME_WEIGHT = 0.006
_SAME_CAP = 0.1
_LEAST_CAP = 1.0
_NOTHING = "There is no domain to allocate: balance_domains names none that should run."


def allocation_plan(
    snapshot: t.Any,
    domains: t.Any,
    allocation: t.Any = None,
    policy: t.Any = None,
    *,
    now: str | None = None,
    answers: t.Any = None,
) -> dict[str, t.Any]:
    """Decide where the domains run, how much CPU each gets, and which steps lead there.

    ``domains`` maps names or UUIDs to settings, ``allocation`` are the settings for all (see wanted_domains.py),
    ``snapshot``, ``policy``, ``now`` and ``answers`` are as for the plan. The same input gives the same plan. Raises
    SnapshotError, PolicyError or FleetError with one sentence that says what to change.
    """
    checked, settings = Policy.from_mapping(policy), wanted_domains.read_settings(allocation)
    facts = Snapshot.from_mapping(snapshot)
    if not facts.hosts:
        raise FleetError("The snapshot has no host: is the group of hypervisors in the inventory empty?")
    if facts.doubts:
        raise SnapshotError("Nothing is planned while it is not certain where domains run: " + " ".join(facts.doubts))
    moment = parse(str(now or facts.taken_at)) if now or facts.taken_at else None
    wanted = wanted_domains.read_domains(domains, facts)
    # The policy may name domains that do not exist yet.
    known = Answers.from_data(answers, facts)
    fleet = Fleet(facts, checked, moment, expected=[domain.name for domain in wanted], answers=known)
    return _Planning(Participants(fleet, settings, wanted)).run()


class _Planning:
    """One plan while it is made. Domains are known by their labels, see Participants."""

    def __init__(self, participants: Participants) -> None:
        self.participants = participants
        self.fleet, self.rules = participants.fleet, participants.rules
        self.wanted, self.domains, self.homes = participants.wanted, participants.domains, participants.homes
        self.to_stop = dict(participants.to_stop)
        self.waiting = 0

    def run(self) -> dict[str, t.Any]:
        """Solve the problem, order the moves, and assemble the plan."""
        solution = (
            best_solution(self.participants)
            if any(wanted.settings.state != STOP for wanted in self.wanted.values())
            else None
        )
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
        agreement.mark(moves, fleet.answers.given)
        labels = {domain.facts.uuid: label for label, domain in self.domains.items()}
        for move in (move for wave in moves for move in wave["moves"]):
            move["figures"] = None  # what domains get is in the inventory
            if move["resource"] != PARKING:
                move["resource"] = "allocation"
                move["why"] = f"gets {_cores(placed[labels[move['domain']]][1])} of {move['destination']}"
        steps = self._steps(placed, final)
        refused = self._refused(solution, stranded)
        todo = bool(moves or steps)
        stopped = not_running(fleet.snapshot.raw)
        return {
            "schema": SCHEMA,
            "snapshot_taken_at": fleet.snapshot.taken_at,
            "strategy": self.participants.settings.strategy,
            "not_running": stopped,
            "verdict": "allocate" if todo else "allocated",
            "why": solution.sentence() if solution is not None else _NOTHING,
            "uneven_rounds": 0,
            "policy": fleet.policy.to_mapping(),
            "score": {"before": round(score, 6), "after": round(fleet.score.value(), 6)},
            "spread": {"before": spread, "after": spread_of(fleet)},
            "hosts": {
                host.name: {
                    "state": host.state,
                    "before": before[host.name],
                    "after": host_state(host),
                    "allocated": None if solution is None else solution.host_totals(host.name),
                }
                for host in fleet.hosts
            },
            "allocation": None if solution is None else solution.totals(),
            "domains": {label: self._told(label, placed, final) for label in sorted(self.wanted)},
            "waves": moves,
            "steps": steps,
            "refused": refused,
            "unknown_hosts": unknown_hosts(fleet.snapshot),
            "notes": [
                *snapshot_notes(fleet, stopped),
                *agreement.refusal_notes(fleet.snapshot, fleet.answers.given),
                *self._notes(),
            ],
            "marks": forgotten(fleet),
        }

    def _waves(self, placed: Mapping[str, tuple[str, float]]) -> tuple[list[list[Move]], dict[str, Reason]]:
        """The moves in an order that is safe for memory and all rules; and the domains that cannot be ordered."""
        # Caps divide the CPU, so the demand of a domain before it has its cap does not matter.
        policy = replace(self.fleet.policy, cpu_limit=math.inf, cpu_overcommit=None, strict_selectors=False)
        loose = Fleet(self.fleet.snapshot, policy, self.fleet.now, answers=self.fleet.answers)
        rules = Rules(loose)
        for label in self.to_stop:
            loose.release(loose.domains[self.domains[label].index], loose.hosts[self.domains[label].home.index])
        moves = []
        for label, (host, _cpu) in sorted(placed.items()):
            domain = self.domains.get(label)
            if domain is not None and domain.home.name != host:
                twin = loose.domains[domain.index]
                moves.append(Move(twin, twin.home, loose.hosts[self.participants.usable[host].index]))
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
        """The host of the domain after the waves."""
        if label not in self.domains:
            return host
        index = self.domains[label].index
        ends = [move.destination.name for wave in waves for move in wave if move.domain.index == index]
        return ends[-1] if ends else self.homes[label]

    def _tuning(self, label: str) -> dict[str, float | None]:
        """The present weight and cap of the domain; None = it does not run, or they are not known."""
        if label not in self.domains:
            return {"weight": None, "cap": None}
        raw = self.fleet.snapshot.raw["domains"][self.domains[label].facts.uuid]
        return {"weight": raw.get("weight"), "cap": raw.get("cap")}

    def _cap(self, cpu: float, host: str) -> float:
        """The cap, in percent of a CPU of the host, of a domain that gets so many cores of speed 1."""
        return max(_LEAST_CAP, round(100.0 * cpu / self.fleet.snapshot.hosts[host].speed, 1))

    def _steps(self, placed: Mapping[str, tuple[str, float]], final: Mapping[str, str]) -> list[dict[str, t.Any]]:
        """The steps beside the moves: shut down, then create, then set weight and cap."""
        steps = [self._step("stop", label, self.homes[label], None, why) for label, why in sorted(self.to_stop.items())]
        for label in sorted(set(placed) - set(self.domains)):
            host, cpu = placed[label]
            steps.append(self._step("create", label, host, cpu, f"runs nowhere, gets {_cores(cpu)} of {host}"))
        for label in sorted(set(placed) & set(self.domains)):
            cpu = placed[label][1]
            has = self._tuning(label)
            if not (
                _near(has["weight"], self.wanted[label].settings.share, _SAME_WEIGHT)
                and _near(has["cap"], self._cap(cpu, final[label]), _SAME_CAP)
            ):
                steps.append(self._step("run", label, final[label], cpu, f"gets {_cores(cpu)} of {final[label]}"))
        return [{"number": number, **step} for number, step in enumerate(steps, 1)]

    def _step(self, state: str, label: str, host: str, cpu: float | None, why: str) -> dict[str, t.Any]:
        wanted = self.wanted[label]
        return {
            "state": state,
            # The key, because two domains may have the same name.
            "domain": wanted.key,
            "name": wanted.name,
            "host": host,
            "weight": None if cpu is None else wanted.settings.share,
            "cap": None if cpu is None else self._cap(cpu, host),
            "before": self._tuning(label),
            "memory_mib": wanted.memory_mib,
            "vcpus": wanted.vcpus,
            "xml_path": wanted.settings.xml_path,
            "template": wanted.settings.template,
            "why": why,
        }

    def _told(self, label: str, placed: Mapping[str, tuple[str, float]], final: Mapping[str, str]) -> dict[str, t.Any]:
        """Host, CPU, weight and cap of one domain, before and after."""
        wanted, has, home = self.wanted[label], self._tuning(label), self.homes.get(label)
        cpu = placed[label][1] if label in placed else None
        stays = home if label not in self.to_stop else None
        return {
            "uuid": None if wanted.domain is None else wanted.domain.uuid,
            "host": {"before": home, "after": final.get(label, stays)},
            "cpu_cores": None if cpu is None else round(cpu, 6),
            "weight": {"before": has["weight"], "after": has["weight"] if cpu is None else wanted.settings.share},
            "cap": {"before": has["cap"], "after": has["cap"] if cpu is None else self._cap(cpu, final[label])},
        }

    def _refused(self, solution: Solution | None, unordered: Mapping[str, Reason]) -> list[dict[str, t.Any]]:
        """The domains that do not get what they request, with the reasons."""
        reasons = dict(self.participants.aside)
        if solution is not None:
            reasons.update(solution.stranded)
            reasons.update(
                (label, reason) for label, reason in solution.answer.left_out.items() if label not in self.domains
            )
        reasons.update(
            (label, Reason("ordering", f"no safe order of moves: {reason.message}"))
            for label, reason in unordered.items()
        )
        return [
            {
                "domain": self.wanted[label].key,
                "name": self.wanted[label].name,
                "host": self.homes.get(label),
                "reasons": {ANY_HOST: [reason.to_mapping()]},
            }
            for label, reason in sorted(reasons.items())
        ]

    def _notes(self) -> list[str]:
        notes = waiting_notes(self.fleet)
        if self.waiting:
            notes.append(f"{self.waiting} more moves wait for the next run (max_moves).")
        for label, reason in sorted(self.participants.fixed.items()):
            if self.rules.violations(self.domains[label]):
                notes.append(f"{label} violates a rule and stays on {self.homes[label]}: {reason.message}.")
        return notes


def _in(fleet: Fleet, move: Move) -> Move:
    """The same move of another projection of the same snapshot."""
    return Move(
        fleet.domains[move.domain.index],
        fleet.hosts[move.source.index],
        fleet.hosts[move.destination.index],
        move.purpose,
    )


def _cores(cpu: float) -> str:
    return f"{round(cpu, 3):g} core{'s' * (round(cpu, 3) != 1)}"


def _near(found: t.Any, wanted: float, tolerance: float) -> bool:
    return isinstance(found, (int, float)) and abs(found - wanted) <= tolerance
