# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The policy that consolidations are compared with, as published: THR or LR, MMT and PABFD.

A host is overloaded above a fixed use of its CPU (THR), or where local regression says that it will be (LR, safety 1.2;
THR with 0.7 as long as it has too little history). It gives away the domains that are copied fastest until it is not
(MMT). Power-aware best fit decreasing (PABFD) places them: the one that wants most first, where the power rises least,
on a host that is not overloaded then; a host that sleeps may be woken. Then the least used host is emptied if all its
domains fit on others in use, and so on; a host that got domains is not emptied. All moves begin at once. Hosts without
a domain sleep when the moves have ended, and need no power then.

Source: Beloglazov and Buyya, "Optimal online deterministic algorithms and adaptive heuristics for energy and
performance efficient dynamic consolidation of virtual machines in Cloud data centers" (CCPE 2012).
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest import result
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.recording import Recording
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.world import Copy, World
from ansible_collections.virtops.balance.plugins.plugin_utils._detection.registry import History, detect

Json = dict[str, t.Any]

SAMPLES = 12
"""So much history each host has, for LR: an hour."""
_THRESHOLD, _FALLBACK = 0.8, 0.7


def replay(recording: Recording, detector: str, *, bandwidth_mib_s: float, limit: float, held: bool) -> Json:
    """The figures of a recording under THR or LR, as of result.py."""
    world = World(recording, keep=SAMPLES, limit=limit, held=held)
    made: list[Copy] = []
    moving = 0
    for _step in range(recording.steps - 1):
        world.record()
        targets = _Decision(world, detector).targets()
        begin = world.seconds
        leaving: dict[str, float] = {}
        for uuid, name in targets.items():
            domain = world.domains[uuid]
            if domain.host is None:
                continue
            world.wake(name)
            end = begin + domain.facts.memory_mib / bandwidth_mib_s
            copy = Copy(uuid, domain.host, name, domain.facts.memory_mib, begin, end)
            leaving[domain.host] = max(leaving.get(domain.host, begin), end)
            made.append(copy)
            world.copies.append(copy)
        moving += bool(targets)
        for name, host in world.hosts.items():
            if host.awake and all(uuid in targets for uuid in host.residents):
                world.sleep(name, leaving.get(name, begin))
        world.advance()
    world.record()
    name = f"reference ({detector}, MMT, PABFD)"
    return result.result(world, made, name=name, runs=recording.steps - 1, runs_that_moved=moving)


class _Decision:
    """What is decided at one time. load: the cores that will be wanted on each host. targets: the new hosts."""

    def __init__(self, world: World, detector: str) -> None:
        self.world, self.detector = world, detector
        self.wants = {
            uuid: world.wanted(domain) or 0.0 for uuid, domain in world.domains.items() if domain.host is not None
        }
        self.has = {name: host.facts.threads * host.facts.speed for name, host in world.hosts.items()}
        self.on = {name: list(host.residents) for name, host in world.hosts.items()}
        self.load = {name: sum(self.wants[uuid] for uuid in on) for name, on in self.on.items()}
        self.most = {name: self._most(name) for name in self.has}
        self.used = {name for name, on in self.on.items() if on}
        self.found: dict[str, str] = {}

    def _most(self, name: str) -> float:
        """The load from which on a host is overloaded."""
        past = self.world.hosts[name].past
        if self.detector == "THR":
            return _THRESHOLD * self.has[name]
        verdict = detect(
            History.of(list(past)), "local_regression", {"samples": SAMPLES}, step=self.world.recording.step
        )
        if verdict.room is None:
            return _FALLBACK * self.has[name]
        return self.load[name] + verdict.room * self.has[name]

    def targets(self) -> dict[str, str]:
        """The domains that move, and their hosts."""
        over = {name for name in self.used if self.load[name] > self.most[name]}
        leaving = []
        for name in sorted(over):
            for uuid in sorted(self.on[name], key=self._copy_time):
                if self.load[name] <= self.most[name]:
                    break
                leaving.append((uuid, name))
                self.load[name] -= self.wants[uuid]
        for uuid, name in sorted(leaving, key=lambda one: (-self.wants[one[0]], one[0])):
            if not self._place(uuid, over, wake=True):
                self.load[name] += self.wants[uuid]
        self._empty(over)
        return self.found

    def _empty(self, over: set[str]) -> None:
        closed = set(over)
        got = over | set(self.found.values())
        while ready := [name for name in self.used if name not in got and name not in closed]:
            name = min(ready, key=lambda one: (self.load[one] / self.has[one], one))
            closed.add(name)
            load, found = dict(self.load), dict(self.found)
            domains = [uuid for uuid in self.on[name] if uuid not in self.found]
            if not all(self._place(uuid, closed, wake=False) for uuid in self._largest(domains)):
                self.load, self.found = load, found
                continue
            self.used.discard(name)
            got |= {self.found[uuid] for uuid in domains}

    def _place(self, uuid: str, closed: set[str], *, wake: bool) -> bool:
        """Put a domain where it raises the power least; False if no host takes it."""
        wants, best = self.wants[uuid], None
        for name, has in self.has.items():
            after = self.load[name] + wants
            used = name in self.used
            if name in closed or not (used or wake) or after > has or (used and after > self.most[name]):
                continue
            power = self.world.hosts[name].facts.power
            if power is None:
                continue
            rise = power.watts(after / has) - (power.watts(self.load[name] / has) if used else 0.0)
            if best is None or rise < best[0]:
                best = (rise, name)
        if best is None:
            return False
        self.found[uuid] = best[1]
        self.load[best[1]] += wants
        self.used.add(best[1])
        return True

    def _copy_time(self, uuid: str) -> tuple[float, str]:
        return (self.world.domains[uuid].facts.memory_mib, uuid)

    def _largest(self, domains: Iterable[str]) -> list[str]:
        return sorted(domains, key=lambda uuid: (-self.wants[uuid], uuid))
