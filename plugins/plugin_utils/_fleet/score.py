# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The score of a fleet: how unequally its hosts are used. 0 is a level fleet below all limits; less is better.

    score = sum over resources r of  weight_r * sd_r  +  weight_overload * (excess over limits) / hosts

sd_r is the population standard deviation over the hosts of the fraction of r in use (cpu, memory, cpu_ready, vcpus per
thread). The excess is the sum over the hosts of CPU use above cpu_limit and memory use above memory_limit. Sums and
sums of squares are kept, so that scoring a move costs O(1) whatever the number of hosts (the method of Ganeti htools).

The score is a convex function of the load of the hosts. Its gradient (``slopes``) therefore bounds from above what a
move can gain, so that a search can skip almost all moves.
"""

from __future__ import annotations

import math
import typing as t

RESOURCES = ("cpu", "memory", "cpu_ready", "vcpus")
CPU, MEMORY, CPU_READY, VCPUS = range(len(RESOURCES))
"""Where each of the RESOURCES stands in a Vector."""
Vector = tuple[float, float, float, float]
LIMITED = 2
"""The first so many of the RESOURCES have a limit: CPU and MEMORY."""


class ScoredHost(t.Protocol):
    """A host as the score sees it."""

    counted: bool
    use: list[float]
    scale: Vector


class Score:
    """The score, kept up to date as the use of hosts changes."""

    __slots__ = ("_excess", "_limits", "_overload", "_squares", "_sums", "_weights", "hosts")

    def __init__(self, weights: Vector, overload: float, limits: tuple[float, float]) -> None:
        self._weights, self._overload, self._limits = weights, overload, limits
        self._sums = [0.0] * len(RESOURCES)
        self._squares = [0.0] * len(RESOURCES)
        self._excess = 0.0
        self.hosts = 0

    def add(self, use: list[float]) -> None:
        """Include a host."""
        self.hosts += 1
        for r, value in enumerate(use):
            self._sums[r] += value
            self._squares[r] += value * value
        for r, limit in enumerate(self._limits):
            self._excess += max(0.0, use[r] - limit)

    def remove(self, use: list[float]) -> None:
        """Exclude a host."""
        self.hosts -= 1
        for r, value in enumerate(use):
            self._sums[r] -= value
            self._squares[r] -= value * value
        for r, limit in enumerate(self._limits):
            self._excess -= max(0.0, use[r] - limit)

    def change(self, old: list[float], new: list[float]) -> None:
        """Update the use of an included host. O(1)."""
        for r, value in enumerate(new):
            before = old[r]
            self._sums[r] += value - before
            self._squares[r] += value * value - before * before
        for r, limit in enumerate(self._limits):
            self._excess += max(0.0, new[r] - limit) - max(0.0, old[r] - limit)

    def value(self) -> float:
        """The score now."""
        if not self.hosts:
            return 0.0
        total = self._overload * max(0.0, self._excess) / self.hosts
        for r, weight in enumerate(self._weights):
            total += weight * self.deviation(r)
        return total

    def deviation(self, resource: int) -> float:
        """The population standard deviation of one resource."""
        if not self.hosts:
            return 0.0
        mean = self._sums[resource] / self.hosts
        return math.sqrt(max(0.0, self._squares[resource] / self.hosts - mean * mean))

    def mean(self, resource: int) -> float:
        """The mean use of one resource."""
        return self._sums[resource] / self.hosts if self.hosts else 0.0

    def after(self, demand: Vector, source: ScoredHost, destination: ScoredHost) -> float:
        """The score after moving ``demand`` from one host to the other; parts may be negative, for a swap. O(1)."""
        hosts = self.hosts
        if not hosts:
            return 0.0
        out, into = source.counted, destination.counted
        use, other, scale, other_scale = source.use, destination.use, source.scale, destination.scale
        limits = self._limits
        excess, total = self._excess, 0.0
        for r, weight in enumerate(self._weights):
            moved = demand[r]
            sums, squares = self._sums[r], self._squares[r]
            if out:
                step = moved * scale[r]
                value = use[r]
                sums -= step
                squares += step * (step - 2.0 * value)
                if r < LIMITED:
                    limit = limits[r]
                    if value > limit or value - step > limit:
                        excess += max(0.0, value - step - limit) - max(0.0, value - limit)
            if into:
                step = moved * other_scale[r]
                value = other[r]
                sums += step
                squares += step * (step + 2.0 * value)
                if r < LIMITED:
                    limit = limits[r]
                    if value + step > limit or value > limit:
                        excess += max(0.0, value + step - limit) - max(0.0, value - limit)
            if weight:
                mean = sums / hosts
                variance = squares / hosts - mean * mean
                if variance > 0.0:
                    total += weight * math.sqrt(variance)
        return total + self._overload * max(0.0, excess) / hosts

    def between(self, source: ScoredHost, destination: ScoredHost) -> tuple[float, ...]:
        """The deviation part of the score as a function of what moves from one host to the other, both counted.

        Three coefficients for each resource: weight * sd = sqrt(c0 + moved * (c1 + moved * c2)). The excess over limits
        is not included; ``after`` includes it, for any two hosts.
        """
        hosts = self.hosts
        found: list[float] = []
        for r, weight in enumerate(self._weights):
            a, b = source.scale[r], destination.scale[r]
            square, mean, shift = weight * weight / hosts, self._sums[r] / hosts, (b - a) / hosts
            found += (
                square * max(0.0, self._squares[r] - mean * self._sums[r]),
                2.0 * square * (destination.use[r] * b - source.use[r] * a - self._sums[r] * shift),
                square * (a * a + b * b - (b - a) * shift),
            )
        return tuple(found)

    def excess(self) -> float:
        """The part of the score that comes from use above limits."""
        return self._overload * max(0.0, self._excess) / self.hosts if self.hosts else 0.0

    def excess_after(self, demand: Vector, source: ScoredHost, destination: ScoredHost) -> float:
        """``excess`` after moving ``demand`` from one host to the other, both counted."""
        change = 0.0
        for r, limit in enumerate(self._limits):
            moved, value, other = demand[r], source.use[r], destination.use[r]
            left, met = value - moved * source.scale[r], other + moved * destination.scale[r]
            change += (left - limit if left > limit else 0.0) - (value - limit if value > limit else 0.0)
            change += (met - limit if met > limit else 0.0) - (other - limit if other > limit else 0.0)
        return self._overload * max(0.0, self._excess + change) / self.hosts

    def least_excess(self, source: ScoredHost, destination: ScoredHost) -> float:
        """The least ``excess`` that any exchange between the two hosts can lead to."""
        over = sum(
            max(0.0, host.use[r] - limit) for r, limit in enumerate(self._limits) for host in (source, destination)
        )
        return self._overload * max(0.0, self._excess - over) / self.hosts

    def limited(self, source: ScoredHost, destination: ScoredHost, most: Vector) -> bool:
        """Can moving up to ``most`` between the two hosts, in either direction, change ``excess``?"""
        return any(
            host.use[r] + most[r] * host.scale[r] > limit
            for r, limit in enumerate(self._limits)
            for host in (source, destination)
        )

    def slopes(self, use: list[float], *, leaving: bool) -> Vector:
        """The gradient of the score by the use of a host: most that leaving gains, least that arriving costs."""
        slope = []
        for r, weight in enumerate(self._weights):
            deviation = self.deviation(r) if weight else 0.0
            rate = (
                weight * (use[r] - self._sums[r] / self.hosts) / (self.hosts * deviation) if deviation > 1e-12 else 0.0
            )
            if r < LIMITED and (use[r] > self._limits[r] if leaving else use[r] >= self._limits[r]):
                rate += self._overload / self.hosts
            slope.append(rate)
        cpu, memory, cpu_ready, vcpus = slope
        return (cpu, memory, cpu_ready, vcpus)
