# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Is the fleet uneven enough to act?"""

from __future__ import annotations

from bisect import bisect_left, insort

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ROUNDING, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU, MEMORY
from ansible_collections.virtops.balance.plugins.plugin_utils._text import percent, points

WATCHED = (("CPU", "cpu", CPU), ("Memory", "memory", MEMORY))
"""The resources that are compared with the threshold: word for the user, field of Weights, resource."""


class Uses:
    """The uses of the watched resources in order, so that ``level`` is O(1) and a change O(log hosts)."""

    __slots__ = ("_limits", "_sorted", "_uses", "_watched")

    def __init__(self, fleet: Fleet) -> None:
        policy, hosts = fleet.policy, fleet.counted()
        self._limits = (policy.cpu_limit + ROUNDING, policy.memory_limit + ROUNDING)
        self._watched = [getattr(policy.weights, field) > 0 for _word, field, _r in WATCHED]
        # By host, because rounding may leave a use slightly different after a move that was taken back.
        self._uses = {host.index: host.use for host in hosts}
        self._sorted = [sorted(host.use[r] for host in hosts) for _word, _field, r in WATCHED]

    def look(self, host: ProjectedHost) -> None:
        """Take over the changed uses of a counted host."""
        for uses, before, after in zip(self._sorted, self._uses[host.index], host.use, strict=False):
            del uses[bisect_left(uses, before)]
            insort(uses, after)
        self._uses[host.index] = host.use

    def level(self, accepted: float) -> bool:
        """Is no host above a limit, and every resource that counts spread by at most ``accepted``?"""
        return all(
            not uses or (uses[-1] <= limit and not (watched and uses[-1] - uses[0] > accepted + ROUNDING))
            for uses, limit, watched in zip(self._sorted, self._limits, self._watched, strict=True)
        )


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
    over = [
        (spread[r], word, r)
        for word, field, r in WATCHED
        if getattr(fleet.policy.weights, field) > 0 and spread[r] > accepted + ROUNDING
    ]
    if not over:
        return None
    width, word, r = max(over)
    hosts = fleet.counted()
    most, least = max(hosts, key=lambda host: host.use[r]), min(hosts, key=lambda host: host.use[r])
    return (
        f"{word} use differs by {points(width)} points between {most.name} and {least.name}; "
        f"the policy accepts {points(accepted)}."
    )


def hot(fleet: Fleet, host: ProjectedHost, least: tuple[float, ...]) -> bool:
    """Is the host above a limit, or more than the threshold above the least used host (``least``, by resource)?"""
    policy = fleet.policy
    return host.counted and (
        fleet.over_limit(host)
        or any(
            getattr(policy.weights, field) > 0 and host.use[r] - least[r] > policy.threshold + ROUNDING
            for _word, field, r in WATCHED
        )
    )
