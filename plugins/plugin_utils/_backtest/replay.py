# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Replays a recording under a policy: run after run is decided by the planner that the playbooks use.

What is assumed, beside what world.py says:

- All hosts answer. A run observes what is so at its time, decides by that and by the history up to it, and acts at
  once.
- Where hosts are woken, it waits for them, observes and plans again, once. Marks are those of the plan that is carried
  out.
- Waves go one after the other. In a wave, hosts work at the same time, and the moves out of one host go one after the
  other. A copy takes the memory of the domain divided by the bandwidth; what the domain writes meanwhile is
  not counted. No move fails and no host refuses one.
- Hosts go to sleep at the end of the run. While a run lasts no other one begins, as with leases.
- What a run would change inside hosts (weights, vCPUs, balloons) is noted as tried and has no effect.
- What histories say of a domain comes along when it moves.
"""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterable

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest import result as _result
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.observed import Observer
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.recording import Recording, check
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.settings import Settings
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.world import Copy, World
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy

Json = dict[str, t.Any]
Decide = t.Callable[[Json, Json], Json]

BUSY = "busy"
"""The verdict of a run that does not begin, because an earlier one still works."""


class Replay:
    """A recording under a policy, run by run. ``decided``: what step() returned in an earlier replay of the same
    recording, policy and settings; these runs are made again without planning.

    Raises SnapshotError for a recording with mistakes, PolicyError for a policy with mistakes.
    """

    def __init__(
        self,
        recording: Recording,
        policy: Json | None = None,
        settings: Settings | None = None,
        *,
        decided: Iterable[Json] = (),
        decide: Decide = plan,
    ) -> None:
        check(recording)
        self.policy = Policy.from_mapping(policy)
        self.settings = Settings() if settings is None else settings
        self.recording, self._raw, self._decide = recording, policy or {}, decide
        keep = int(min(self.settings.history_minutes * 60.0 / recording.step, recording.steps))
        self.world = World(recording, keep=keep, limit=self.policy.cpu_limit, held=self.settings.held)
        self._observer = Observer(self.world)
        self._bandwidth = self.settings.bandwidth_mib_s or self.policy.bandwidth_mib_s
        self._busy_until = 0.0
        self.made: list[Copy] = []
        self.runs = self.runs_that_moved = 0
        self.steps = -(-(recording.steps - 1) // self.settings.every)
        self.done = 0
        for decision in decided:
            self._run(decision)

    def step(self) -> Json:
        """Make the next run, and let the time until the one after it pass. Returns what was decided, as plain JSON.

        Raises the errors of plan(), for example where the recording has one host only."""
        return self._run(None)

    def result(self, name: str = "") -> Json:
        """What came of it up to now, see result.py."""
        return _result.result(self.world, self.made, name=name, runs=self.runs, runs_that_moved=self.runs_that_moved)

    def _run(self, decision: Json | None) -> Json:
        world = self.world
        world.record()
        if decision is None:
            decision = _busy(world.index) if world.seconds < self._busy_until else self._decided()
        self._act(decision)
        self.done += 1
        last, next_run = self.recording.steps - 1, self.done * self.settings.every
        while world.index < last:
            world.advance()
            if world.index == next_run and world.index < last:
                break
            world.record()
        return decision

    def _decided(self) -> Json:
        """Plan, and where that wakes hosts, plan once more with them."""
        found = self._plan()
        woken = [str(act["host"]) for act in found["wake"]]
        if woken:
            for name in woken:
                self.world.wake(name)
            found = self._plan()
        decision = {
            "step": self.world.index,
            "verdict": found["verdict"],
            "wake": woken,
            "marks": _kept(found["marks"]),
            "waves": [[_ends(move) for move in wave["moves"]] for wave in found["waves"]],
            "sleep": [str(act["host"]) for act in found["sleep"]],
        }
        if found["restarts"]:
            decision["waves"].append([_ends(move) for move in found["restarts"]])
        # What a later replay reads back from a file.
        return t.cast(Json, json.loads(json.dumps(decision)))

    def _plan(self) -> Json:
        return self._decide(self._observer.snapshot(), self._raw)

    def _act(self, decision: Json) -> None:
        world = self.world
        self.runs += decision["verdict"] != BUSY
        for name in decision["wake"]:
            world.wake(name)
        for name, marks in decision["marks"].items():
            world.hosts[name].marks.update(marks)
        begin = world.seconds + (self.settings.wake_seconds if decision["wake"] else 0.0)
        for wave in decision["waves"]:
            begin = self._wave(wave, begin)
        self.runs_that_moved += any(decision["waves"])
        for name in decision["sleep"]:
            world.sleep(name, begin)
        self._busy_until = max(self._busy_until, begin)

    def _wave(self, wave: list[Json], begin: float) -> float:
        """Begin the copies of a wave. Returns when it has ended."""
        free: dict[str, float] = {}
        for move in wave:
            mib = self.world.domains[move["domain"]].facts.memory_mib
            since = free.get(move["source"], begin)
            until = free[move["source"]] = since + mib / self._bandwidth
            copy = Copy(move["domain"], move["source"], move["destination"], mib, since, until)
            self.made.append(copy)
            self.world.copies.append(copy)
        return max(free.values(), default=begin)


def _kept(marks: Json) -> Json:
    """Marks without those that say who sleeps, which is known here, and which are many in a large fleet."""
    kept = {name: {key: value for key, value in own.items() if key != "asleep"} for name, own in marks.items()}
    return {name: own for name, own in kept.items() if own}


def _ends(move: Json) -> Json:
    return {key: move[key] for key in ("domain", "source", "destination")}


def _busy(index: int) -> Json:
    return {"step": index, "verdict": BUSY, "wake": [], "marks": {}, "waves": [], "sleep": []}
