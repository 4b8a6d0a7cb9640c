# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Is the fleet uneven enough to act?"""

from __future__ import annotations

from bisect import bisect_left, insort

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ROUNDING, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU, CPU_READY, MEMORY, VCPUS
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._text import percent, points

_LIMITED = (CPU, MEMORY)
_WORDS = {CPU: "CPU use differs", MEMORY: "Memory use differs", CPU_READY: "CPU wait differs"}


def watched(policy: Policy) -> dict[int, float]:
    """The resources that are compared with the threshold, each with the factor that makes a fraction of its use.

    CPU and memory, where they have a weight. Where neither has one, the policy wants something else levelled: CPU wait
    and vCPUs per thread, the latter as a fraction of cpu_overcommit.
    """
    weights = policy.weights
    first = {r: 1.0 for r, weight in ((CPU, weights.cpu), (MEMORY, weights.memory)) if weight > 0}
    if first:
        return first
    others = {CPU_READY: (weights.cpu_ready, 1.0), VCPUS: (weights.vcpus, 1.0 / (policy.cpu_overcommit or 1.0))}
    return {r: factor for r, (weight, factor) in others.items() if weight > 0}


class Uses:
    """The uses of resources that are watched or limited, in order: ``level`` is O(1) and a change O(log hosts)."""

    __slots__ = ("_limits", "_sorted", "_uses", "_watched")

    def __init__(self, fleet: Fleet) -> None:
        policy, hosts = fleet.policy, fleet.counted()
        self._limits = {CPU: policy.cpu_limit + ROUNDING, MEMORY: policy.memory_limit + ROUNDING}
        self._watched = watched(policy)
        # By host, because rounding may leave a use slightly different after a move that was taken back.
        self._uses = {host.index: host.use for host in hosts}
        self._sorted = {r: sorted(host.use[r] for host in hosts) for r in {*_LIMITED, *self._watched}}

    def look(self, host: ProjectedHost) -> None:
        """Take over the changed uses of a counted host."""
        before = self._uses[host.index]
        for r, uses in self._sorted.items():
            del uses[bisect_left(uses, before[r])]
            insort(uses, host.use[r])
        self._uses[host.index] = host.use

    def level(self, accepted: float) -> bool:
        """Is no host above a limit, and every resource that is watched spread by at most ``accepted``?"""
        if not self._uses:
            return True
        if any(self._sorted[r][-1] > limit for r, limit in self._limits.items()):
            return False
        ends = ((self._sorted[r], factor) for r, factor in self._watched.items())
        return all((uses[-1] - uses[0]) * factor <= accepted + ROUNDING for uses, factor in ends)


def overloaded(fleet: Fleet) -> str | None:
    """A sentence about a host above a limit; None if there is none."""
    policy = fleet.policy
    for host in fleet.hosts:
        if host.counted and host.use[CPU] > policy.cpu_limit + ROUNDING:
            wanted = percent(host.use[CPU])
            return f"The domains of {host.name} want {wanted} of its CPU; the limit is {percent(policy.cpu_limit)}."
        if host.counted and host.use[MEMORY] > policy.memory_limit + ROUNDING:
            used = percent(host.use[MEMORY])
            return f"{host.name} uses {used} of its memory; the limit is {percent(policy.memory_limit)}."
    return None


def widest(fleet: Fleet, accepted: float) -> str | None:
    """A sentence about the resource with the largest spread, if it is above ``accepted``."""
    spread = fleet.spread()
    factors = watched(fleet.policy)
    over = [(spread[r] * factor, r) for r, factor in factors.items() if spread[r] * factor > accepted + ROUNDING]
    if not over:
        return None
    width, r = max(over)
    hosts = fleet.counted()
    most, least = max(hosts, key=lambda host: host.use[r]), min(hosts, key=lambda host: host.use[r])
    ends = f"between {most.name} and {least.name}; the policy accepts"
    if r == VCPUS:
        return f"vCPUs per thread differ by {spread[r]:.2f} {ends} {accepted / factors[r]:.2f}."
    return f"{_WORDS[r]} by {points(width)} points {ends} {points(accepted)}."


def level_enough(fleet: Fleet) -> str:
    """The sentence about a fleet that is not uneven: by how much the watched resources differ."""
    spread, factors, accepted = fleet.spread(), watched(fleet.policy), fleet.policy.threshold
    if VCPUS in factors:
        most = accepted / factors[VCPUS]
        return f"vCPUs per thread differ by {spread[VCPUS]:.2f} between hosts at most; the policy accepts {most:.2f}."
    cpu, memory = points(round(spread[CPU], 4)), points(round(spread[MEMORY], 4))
    return (
        f"CPU use differs by {cpu} points between hosts at most, memory use by {memory}; "
        f"the policy accepts {points(accepted)}."
    )


def hot(fleet: Fleet, host: ProjectedHost, least: tuple[float, ...]) -> bool:
    """Is the host above a limit, or more than the threshold above the least used host (``least``, by resource)?"""
    policy = fleet.policy
    return host.counted and (
        fleet.over_limit(host)
        or any((host.use[r] - least[r]) * factor > policy.threshold + ROUNDING for r, factor in watched(policy).items())
    )
