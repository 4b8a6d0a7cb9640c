# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Makes the plan from a snapshot and a policy, as plain JSON (see data_model.rst): place, order, judge, explain."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import SnapshotError
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.answers import Answers
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.moves import (
    CONTENTION,
    OVERLOAD,
    PEAK,
    UNDERLOAD,
    Move,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.inside_host import holding, inside_actions
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.registry import Conclusion, placements
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.unevenness import level_enough
from ansible_collections.virtops.balance.plugins.plugin_utils._plan import agreement, giving_way, stages
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.explain import (
    explain_moves,
    host_state,
    refusals,
    snapshot_notes,
    spread_of,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.figures import cpu_by
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.judged_now import judged_now_notes
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.ordering import Order, order
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.served import Served
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.waiting import forgotten, next_try, waiting_notes
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraints
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.domain_health import not_running
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import SCHEMA, Snapshot, check
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.unknown_hosts import unknown_hosts
from ansible_collections.virtops.balance.plugins.plugin_utils._text import counted, percent
from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse

_NOTHING = 1e-9
_STAGES, _TRIES, _FEW_HOSTS, _FEW_TRIES = 4, 4, 64, 2
"""Where moves are stranded, so many stages are planned at most, with so many tries each, for fleets of so many hosts;
for larger ones one stage, with few tries."""
_TORN = Reason("affinity", "not all domains that have to share a host with it can follow")
_HALVED = Reason("underload", "its host is emptied completely or not at all")


def plan(snapshot: t.Any, policy: t.Any = None, *, now: str | None = None, answers: t.Any = None) -> dict[str, t.Any]:
    """Decide which domains move where and in which order.

    ``snapshot`` and ``policy`` are plain JSON data (null policy = all defaults); ``now`` is the RFC 3339 time that
    the cooldown counts to, by default that of the snapshot; ``answers`` are those of domain_migrate_info about moves of
    earlier plans for the same snapshot, null = nobody was asked. The same input gives the same plan. Raises
    SnapshotError, PolicyError or FleetError with one sentence that says what to change.
    """
    wanted = Policy.from_mapping(policy)
    facts = Snapshot.from_mapping(snapshot)
    check(facts)
    moment = None
    if now is not None or facts.taken_at is not None:
        moment = parse(str(now or facts.taken_at))
        if moment is None:
            raise SnapshotError(f"{now or facts.taken_at!r} is not a time such as 2026-01-31T12:00:00Z.")
    fleet = Fleet(facts, wanted, moment, answers=Answers.from_data(answers, facts))
    return _Planning(fleet).run()


class _Planning:
    """One plan while it is made."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.rules = Rules(fleet)
        self.score_before = fleet.score.value()
        self.spread_before = spread_of(fleet)
        self.before = {host.name: host_state(host) for host in fleet.hosts}
        self.served = Served(fleet)
        self.violated = [found for domain in fleet.domains if (found := self.rules.violations(domain))]
        self.small_gain: str | None = None
        self.held: set[int] = set()
        # Actions inside hosts are for strategies that go by the score; the others empty hosts on their own terms.
        self.inside = inside_actions(fleet)
        self.placement = placements()[fleet.policy.strategy](fleet, self.rules)
        if self.placement.purposes is not None:
            self.inside = []
        self.trigger = self.placement.trigger
        # A host that lost its marks, or was not in the earlier runs, must not restart the count of the others.
        known = [host.facts.uneven_rounds or 0 for host in fleet.hosts if host.facts.state == "active"]
        self.uneven_rounds = 1 + max(known, default=0) if self.trigger else 0
        self.holding = 0 < self.uneven_rounds < fleet.policy.hold

    def run(self) -> dict[str, t.Any]:
        """Judge and order the moves, and assemble the plan."""
        fleet, policy = self.fleet, self.fleet.policy
        ordered = self._settled()
        placement = self.placement
        moves = explain_moves(fleet, self.rules, ordered.waves)
        agreement.mark(moves, fleet.answers.given)
        score_after = fleet.score.value()
        stranded = {move.domain.facts.uuid: reason for move, reason in ordered.stranded}
        uneven_rounds = 0 if ordered.waves and not self.holding else self.uneven_rounds
        end = Conclusion() if placement.conclude is None else placement.conclude(ordered.waves, self.holding)
        forced = placement.forced | {found["domain"] for found in end.restarts if found["gives_way"]}
        listed = [move for wave in moves for move in wave["moves"]] + end.restarts
        given_way = giving_way.notes(fleet, self.rules, forced, listed)
        verdict, why = self._verdict(ordered, end)
        stopped = not_running(fleet.snapshot.raw)
        refused, left_out = refusals(fleet, self.rules, placement, stranded) if verdict != "balanced" else ([], [])
        left_out += waiting_notes(fleet) if verdict != "balanced" else []
        return {
            "schema": SCHEMA,
            "snapshot_taken_at": fleet.snapshot.taken_at,
            "strategy": policy.strategy,
            "not_running": stopped,
            "verdict": verdict,
            "why": why,
            "uneven_rounds": uneven_rounds,
            "policy": policy.to_mapping(),
            "score": {"before": round(self.score_before, 6), "after": round(score_after, 6)},
            "spread": {"before": self.spread_before, "after": spread_of(fleet)},
            "hosts": {
                host.name: {"state": host.state, "before": self.before[host.name], "after": host_state(host)}
                for host in fleet.hosts
            },
            "cpu_by": cpu_by(fleet),
            "served": self.served.plan(),
            "inside": [action.to_mapping() for action in self.inside],
            "optimum": placement.optimum,
            "waves": moves,
            "restarts": end.restarts,
            "refused": refused,
            "unknown_hosts": unknown_hosts(fleet.snapshot),
            "notes": [
                *snapshot_notes(fleet, stopped),
                *judged_now_notes(fleet),
                *agreement.refusal_notes(fleet.snapshot, fleet.answers.given),
                *given_way,
                *placement.notes,
                *placement.unreachable,
                *end.notes,
                *left_out,
            ],
            "marks": self._marks(uneven_rounds, end),
            "detection": end.detection,
            "wake": end.wake,
            "sleep": end.sleep,
            "watts": end.watts,
        }

    def _marks(self, uneven_rounds: int, end: Conclusion) -> dict[str, dict[str, t.Any]]:
        """The marks that hosts have to change: of hosts that answered and whose present marks are known."""
        changed = {}
        without = forgotten(self.fleet)
        for host in self.fleet.hosts:
            marks = {**end.marks.get(host.name, {}), **without.get(host.name, {})}
            tried = {found.action: self.fleet.snapshot.taken_at for found in self.inside if found.host == host.name}
            if tried:
                marks["inside"] = {**host.facts.inside, **tried}
            if self.fleet.policy.hold > 1 and (host.facts.uneven_rounds or 0) != uneven_rounds:
                marks["uneven_rounds"] = uneven_rounds
            if marks and host.facts.answers and host.facts.marks_problem is None:
                changed[host.name] = marks
        return changed

    def _settled(self) -> Order:
        """The order of the moves. Where some are stranded, what further runs would do under the same load is planned at
        once, stage by stage, until a run would move nothing."""
        fleet, rules, first = self.fleet, self.rules, self.placement
        stage = self._ordered(self._worthwhile())
        if not stage.stranded or not first.again:
            return stage
        few, most = len(fleet.hosts) <= _FEW_HOSTS, fleet.policy.max_moves
        waves: list[list[Move]] = []
        repairs, reliefs, forced = dict(first.repairs), dict(first.reliefs), set(first.forced)
        with stages.homes_kept(fleet):
            for number in range(_STAGES if few else 1):
                before = self.placement
                found = self._best_try(self._planned_again() if number else stage, _TRIES if few else _FEW_TRIES)
                if most is not None and number and stages.domains_in(waves + found.waves) > most:
                    self.placement = before
                    break
                stage = found
                repairs |= self.placement.repairs
                reliefs |= self.placement.reliefs
                forced |= self.placement.forced
                waves += stage.waves
                stages.settle(fleet, stage.waves)
                if not stage.waves:
                    break
            ends = [(domain, domain.host) for domain in fleet.domains]
        self.rules = rules
        # Which hosts no move can level is as it was at first.
        self.placement = replace(
            self.placement, repairs=repairs, reliefs=reliefs, forced=forced, unreachable=first.unreachable
        )
        direct = self._ordered([(domain, host) for domain, host in ends if domain.home is not host])
        result = Order(stages.joined(waves) if direct.stranded else direct.waves, [])
        moved = {move.domain.index for wave in result.waves for move in wave}
        result.stranded = [(move, reason) for move, reason in stage.stranded if move.domain.index not in moved]
        return result

    def _best_try(self, stage: Order, tries: int) -> Order:
        """This stage, or if moves of it are stranded, the best of several without what was stranded in those before;
        with all that was stranded. No moves, if none is worth its moves."""
        if not stage.stranded:
            return stage
        best = (stages.worth(self.fleet, self.rules, []), Order([], []), self.placement, self.small_gain)
        stranded: list[tuple[Move, Reason]] = []
        for left in reversed(range(tries)):
            stage = self._judged(stage)
            stranded += stage.stranded
            worth = stages.worth(self.fleet, self.rules, stage.waves)
            if worth < best[0]:
                best = (worth, stage, self.placement, self.small_gain)
            if not stage.stranded or not left:
                break
            stage = self._planned_again(stranded)
        _worth, found, self.placement, self.small_gain = best
        return Order(found.waves, stranded)

    def _planned_again(self, without: t.Iterable[tuple[Move, Reason]] = ()) -> Order:
        """The moves of a run that begins with the present homes of the domains, ``without`` these."""
        self.rules, self.small_gain = Rules(self.fleet), None
        for move, reason in without:
            self.rules.forbid(move.domain, move.destination, reason)
        self.placement = placements()[self.fleet.policy.strategy](self.fleet, self.rules)
        return self._ordered(self._worthwhile())

    def _judged(self, stage: Order) -> Order:
        """What is left of a stage that was cut, if it gains enough by itself, else its repairs alone."""
        if not stage.stranded:
            return stage
        stages.make(self.fleet, stage.waves)
        moved = sum(domain.moved for domain in self.fleet.domains)
        targets = self._worthwhile()
        if len(targets) == moved:
            return stage
        found = self._ordered(targets)
        return Order(found.waves, stage.stranded + found.stranded)

    def _worthwhile(self) -> list[tuple[ProjectedDomain, ProjectedHost]]:
        """The domains to move and their hosts; only repairs, if the rest gains too little. Moves all of them back."""
        fleet, policy, placement = self.fleet, self.fleet.policy, self.placement
        if placement.purposes is None:
            self._hold_back(holding(fleet, self.inside))
        targets = [(domain, domain.host) for domain in fleet.domains if domain.moved]
        reached = fleet.score.value()
        for domain, _host in targets:
            fleet.move(domain, domain.home)
        repairs = [
            (domain, host)
            for domain, host in targets
            if any(one.facts.uuid in placement.repairs for one in domain.bundle or (domain,))
        ]
        if self.holding:
            return repairs
        if len(repairs) == len(targets) or placement.purposes is not None:
            return targets
        repairs = [
            (domain, host)
            for domain, host in targets
            if (domain, host) in repairs or domain.facts.uuid in placement.reliefs
        ]
        for domain, host in repairs:
            fleet.move(domain, host)
        base = fleet.score.value()
        for domain, _host in repairs:
            fleet.move(domain, domain.home)
        gain = (base - reached) / max(base - placement.least_score, base - reached, _NOTHING)
        # max_moves domains cannot level a thousand hosts: the required gain is in proportion to the hosts that change.
        touched = {host.index for domain, target in targets for host in (domain.home, target)}
        asked = policy.minimum_gain * min(1.0, len(touched) / max(1, fleet.score.hosts))
        if gain >= asked:
            return targets
        self.small_gain = (
            f"The best plan found improves the score by {percent(gain)}; for the hosts that it changes "
            f"the policy requires {percent(asked)} (minimum_gain)."
        )
        return repairs

    def _hold_back(self, hosts: set[str]) -> None:
        """Take back moves out of these hosts except repairs, because a cheaper action is planned there."""
        for domain in self.fleet.domains:
            members = domain.bundle or (domain,)
            repair = any(one.facts.uuid in self.placement.repairs for one in members)
            if domain.moved and domain.home.name in hosts and not repair:
                self.held.add(domain.index)
                self.fleet.move(domain, domain.home)

    def _ordered(self, targets: list[tuple[ProjectedDomain, ProjectedHost]]) -> Order:
        """The waves, cut short where further ones would only worsen the score because other moves are stranded."""
        fleet, placement = self.fleet, self.placement
        purposes = {**(placement.purposes or {}), **placement.reliefs, **placement.repairs}
        torn: list[tuple[Move, Reason]] = []
        while True:
            # Which of the repairs that go to a host passes its limit depends on their order.
            beyond = {host.index for domain, host in targets if domain.facts.uuid in placement.forced}
            moves = [Move(d, d.home, host, purposes.get(d.facts.uuid)) for d, host in targets]
            for move in moves:
                move.forced = move.destination.index in beyond and move.domain.facts.uuid in placement.repairs
            moves.sort(key=_order)
            result = order(fleet, self.rules, moves)
            stages.take_back(fleet, result.waves)
            if result.stranded and placement.purposes is None:
                result.waves = self._prefix(result.waves)
            parted = _parted(result.waves)
            halved = _halved(result.waves, placement.whole)
            if not parted and not halved:
                result.stranded += torn
                return result
            torn += [
                (move, _TORN if move.domain.index in parted else _HALVED)
                for move in moves
                if move.domain.index in parted | halved
            ]
            parted |= halved
            targets = [(domain, host) for domain, host in targets if domain.index not in parted]

    def _prefix(self, waves: list[list[Move]]) -> list[list[Move]]:
        """The first waves up to the one with the best score; waves that repair are never cut."""
        fleet = self.fleet
        best, keep = fleet.score.value(), 0
        for number, wave in enumerate(waves, 1):
            stages.make(fleet, [wave])
            if fleet.score.value() <= best or any(move.purpose in (PEAK, CONTENTION, *constraints()) for move in wave):
                best, keep = fleet.score.value(), number
        stages.take_back(fleet, waves)
        return waves[:keep]

    def _verdict(self, ordered: Order, end: Conclusion) -> tuple[str, str]:
        reasons = [self.trigger] if self.trigger else []
        if self.placement.cause is not None:
            reasons = [self.placement.cause] if self.placement.cause else []
        elif self.violated:
            reasons.insert(0, self._violations())
        if self.holding:
            times = "once" if self.uneven_rounds == 1 else f"in {self.uneven_rounds} runs in a row"
            what = "The fleet was uneven" if self.placement.purposes is None else "This was found"
            reasons.append(f"{what} {times}; the policy acts after {self.fleet.policy.hold} runs (hold).")
        reasons += [action.why for action in self.inside]
        if self.held:
            stay = "stays on its host" if len(self.held) == 1 else "stay on their hosts"
            reasons.append(f"{counted(len(self.held), 'domain')} {stay} for now, because that may be enough.")
        if ordered.waves or end.restarts:
            return "move", " ".join(reasons)
        if self.holding:
            return "hold", " ".join(reasons)
        if self.inside:
            return "inside", " ".join(reasons)
        usable = self.fleet.score.hosts
        if end.wake or end.sleep:
            return "power", " ".join([*reasons, *(f"{act['host']}: {act['why']}" for act in (*end.wake, *end.sleep))])
        if not reasons:
            if self.placement.purposes is not None:
                return "balanced", self.placement.content
            if usable < 2:
                return (
                    "stuck",
                    f"Only {usable} of {len(self.fleet.hosts)} hosts can be used; balancing needs two.",
                )
            differs = level_enough(self.fleet)
            if self.placement.unreachable:
                return "stuck", f"{differs} No move can make that less."
            return "balanced", differs
        if self.small_gain and not ordered.stranded:
            return "small_gain", " ".join([*reasons, self.small_gain])
        return "stuck", " ".join([*reasons, self._why_stuck()])

    def _violations(self) -> str:
        one, many = "violates a placement rule", "violate a placement rule"
        if all(reason.constraint == "drained_host" for found in self.violated for reason in found):
            one, many = "has to leave a drained host", "have to leave drained hosts"
        return f"{counted(len(self.violated), 'domain')} {one if len(self.violated) == 1 else many}."

    def _why_stuck(self) -> str:
        """What keeps all domains where they are, where that is one thing, or that no move is worth it."""
        if not any(host.counted for host in self.fleet.hosts):
            return "No host can take a domain: every one is drained, ignored or unknown."
        if self.fleet.domains and all(domain.excluded is not None for domain in self.fleet.domains):
            if self.fleet.policy.include:
                return "No domain may be moved: include selects none, or exclude all that it selects."
            return "No domain may be moved: exclude selects all of them."
        gain = "gains more than it costs" if self.placement.purposes is None else "changes that"
        moment = next_try(self.fleet, self.placement.unrepaired or None)
        again = "" if moment is None else f"; what failed before is tried again after {moment}"
        return f"No permitted move {gain}{again}."


def _order(move: Move) -> tuple[int, int, float, float, str, str]:
    """Repairs first, then moves that relieve hosts, then those that empty hosts; of each kind those with the highest
    priority, from the fullest host and with the highest demand first. The domains of a bundle stay together."""
    first = move.domain.bundle[0] if move.domain.bundle else move.domain
    return (
        {None: 3, OVERLOAD: 1, PEAK: 1, CONTENTION: 1, UNDERLOAD: 2}.get(move.purpose, 0),
        -max(domain.priority for domain in move.domain.bundle or (move.domain,)),
        -move.source.use[CPU],
        -first.demand[CPU],
        first.facts.uuid,
        move.domain.facts.uuid,
    )


def _parted(waves: list[list[Move]]) -> set[int]:
    """The domains of bundles that the waves leave on more than one host."""
    ends = {move.domain.index: (move.domain, move.destination) for wave in waves for move in wave}
    return {
        member.index
        for domain, end in ends.values()
        if any(ends.get(one.index, (one, one.home))[1] is not end for one in domain.bundle)
        for member in domain.bundle
    }


def _halved(waves: list[list[Move]], whole: list[frozenset[int]]) -> set[int]:
    """The domains that have to move together and of which only some move."""
    moved = {move.domain.index for wave in waves for move in wave}
    return {index for domains in whole if moved & domains and domains - moved for index in domains}
