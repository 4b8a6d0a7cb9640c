# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Is the fleet uneven enough to act?"""

from __future__ import annotations

from bisect import bisect_left, insort

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ROUNDING, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU, CPU_READY, MEMORY, VCPUS
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.floors import Floors
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.watched import watched
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import LIMIT, SPREAD
from ansible_collections.virtops.balance.plugins.plugin_utils._text import percent, points

_WORDS = {CPU: "CPU use differs", MEMORY: "Memory use differs", CPU_READY: "CPU wait differs"}


class Uses:
    """The uses of resources that are watched or limited, in order: ``level`` is O(1) and a change O(log hosts).

    A host with a floor counts as if the floor were level with the others, and within the limits (see floors.py).
    """

    __slots__ = ("_floors", "_limits", "_sorted", "_uses", "_watched")

    def __init__(self, fleet: Fleet, floors: Floors) -> None:
        policy, hosts = fleet.policy, fleet.counted()
        self._floors = floors
        self._limits = {CPU: policy.cpu_limit, MEMORY: policy.memory_limit} if LIMIT in policy.trigger else {}
        self._watched = watched(policy)
        # By host, because rounding may leave a use slightly different after a move that was taken back.
        self._uses = {host.index: self._counting(host) for host in hosts}
        self._sorted = [sorted(uses) for uses in zip(*self._uses.values(), strict=True)]

    def _counting(self, host: ProjectedHost) -> list[float]:
        """What counts of the use of a host: for the spread of each watched resource, then for each limit."""
        spread = [(host.use[r] - self._floors.above(host, r)) * factor for r, factor in self._watched.items()]
        return spread + [host.use[r] - self._floors.beyond(host, r, limit) for r, limit in self._limits.items()]

    def look(self, host: ProjectedHost) -> None:
        """Take over the changed uses of a counted host."""
        counting = self._counting(host)
        for uses, before, after in zip(self._sorted, self._uses[host.index], counting, strict=True):
            del uses[bisect_left(uses, before)]
            insort(uses, after)
        self._uses[host.index] = counting

    def level(self, accepted: float) -> bool:
        """Is no host above a limit (if that is a reason to act), and every resource that is watched spread by at most
        ``accepted``?"""
        spread, limited = self._sorted[: len(self._watched)], self._sorted[len(self._watched) :]
        return all(uses[-1] - uses[0] <= accepted + ROUNDING for uses in spread) and all(
            uses[-1] <= limit + ROUNDING for uses, limit in zip(limited, self._limits.values(), strict=False)
        )


def overloaded(fleet: Fleet, floors: Floors) -> str | None:
    """A sentence about a host above a limit that something could leave; None if there is none."""
    policy = fleet.policy
    for host in fleet.hosts:
        over = host.use[CPU] - floors.beyond(host, CPU, policy.cpu_limit)
        if host.counted and over > policy.cpu_limit + ROUNDING:
            wanted = percent(host.use[CPU])
            return f"The domains of {host.name} want {wanted} of its CPU; the limit is {percent(policy.cpu_limit)}."
        over = host.use[MEMORY] - floors.beyond(host, MEMORY, policy.memory_limit)
        if host.counted and over > policy.memory_limit + ROUNDING:
            used = percent(host.use[MEMORY])
            return f"{host.name} uses {used} of its memory; the limit is {percent(policy.memory_limit)}."
    return None


def widest(fleet: Fleet, floors: Floors, accepted: float) -> str | None:
    """A sentence about the resource with the largest spread, if it is above ``accepted`` and not only because of floors
    (see floors.py)."""
    spread, factors, hosts = fleet.spread(), watched(fleet.policy), fleet.counted()
    over: list[tuple[float, int]] = []
    for r, factor in factors.items():
        uses = [host.use[r] - floors.above(host, r) for host in hosts]
        if uses and (max(uses) - min(uses)) * factor > accepted + ROUNDING:
            over.append((spread[r] * factor, r))
    if not over:
        return None
    width, r = max(over)
    most, least = max(hosts, key=lambda host: host.use[r]), min(hosts, key=lambda host: host.use[r])
    ends = f"between {most.name} and {least.name}; the policy accepts"
    if r == VCPUS:
        return f"vCPUs per thread differ by {spread[r]:.2f} {ends} {accepted / factors[r]:.2f}."
    return f"{_WORDS[r]} by {points(width)} points {ends} {points(accepted)}."


def level_enough(fleet: Fleet) -> str:
    """The sentence about a fleet that is not uneven: by how much the watched resources differ."""
    spread, factors, policy = fleet.spread(), watched(fleet.policy), fleet.policy
    if VCPUS in factors:
        differs = f"vCPUs per thread differ by {spread[VCPUS]:.2f} between hosts at most"
        accepted = f"{policy.threshold / factors[VCPUS]:.2f}"
    else:
        cpu, memory = points(round(spread[CPU], 4)), points(round(spread[MEMORY], 4))
        differs = f"CPU use differs by {cpu} points between hosts at most, memory use by {memory}"
        accepted = points(policy.threshold)
    if SPREAD not in policy.trigger:
        return f"{differs}; that is no reason to act (trigger)."
    return f"{differs}; the policy accepts {accepted}."


def hot(fleet: Fleet, host: ProjectedHost, least: tuple[float, ...]) -> bool:
    """Is the host above a limit, or more than the threshold above the least used host (``least``, by resource), and is
    that a reason to act?"""
    policy = fleet.policy
    return host.counted and (
        (LIMIT in policy.trigger and fleet.over_limit(host))
        or any((host.use[r] - least[r]) * factor > policy.accepted + ROUNDING for r, factor in watched(policy).items())
    )
