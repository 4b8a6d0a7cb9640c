# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The score of a fleet: how unequally its hosts are used. 0 is a level fleet below all limits; less is better.

    score = sum over hosts of  ( sum over resources r of  weight_r * f(distance_r)  +  weight_overload * excess )
    f(distance) = beyond + 10 beyond^2 + 0.05 distance^2,   beyond = max(0, distance - target / 2)

The distance is that of the host's use of r (cpu, memory, cpu_ready, vcpus per thread; a fraction) from the use that
every host would have if all demand were spread evenly. So what a fleet is spread within the target is worth next to
nothing, and what is beyond the target counts the more the farther it is: trigger and aim agree. The vCPUs per thread
are taken as a fraction of cpu_overcommit. The excess is CPU use above cpu_limit plus memory use above memory_limit.

A sum over hosts: what a move changes depends on its two hosts alone, whatever the number of hosts. The score is a
convex function of the load of the hosts. Its gradient (``slopes``) therefore bounds from above what a move can gain, so
that a search can skip almost all moves.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Sequence

RESOURCES = ("cpu", "memory", "cpu_ready", "vcpus")
CPU, MEMORY, CPU_READY, VCPUS = range(len(RESOURCES))
"""Where each of the RESOURCES stands in a Vector."""
Vector = tuple[float, float, float, float]
LIMITED = 2
"""The first so many of the RESOURCES have a limit: CPU and MEMORY."""

_GROWTH = 10.0
"""How much faster the cost grows beyond the target: 10 points beyond it cost twice what they would at first."""
UNKEPT_WISH = 1.0 + _GROWTH
"""What an unkept wish costs: as much as a host that is a whole host beyond the target."""
_PULL = 0.05
"""What draws hosts together within the target: so little that no ordinary move gains its price by it."""


class ScoredHost(t.Protocol):
    """A host as the score sees it."""

    counted: bool
    use: list[float]
    scale: Vector


class Score:
    """The score, kept up to date as the use of hosts changes.

    target: the spread that is accepted, a fraction. unit: what one vCPU per thread counts, a fraction.
    """

    __slots__ = ("_centre", "_half", "_limits", "_overload", "_sum", "_terms", "_units", "_weights", "hosts")

    def __init__(
        self, weights: Vector, overload: float, limits: tuple[float, float], *, target: float = 0.0, unit: float = 1.0
    ) -> None:
        self._weights, self._overload, self._limits = weights, overload, limits
        self._half, self._units = target / 2.0, (1.0, 1.0, 1.0, unit)
        self._centre = [0.0] * len(RESOURCES)
        self._terms: list[tuple[int, float, float, float]] = []
        self._sum = 0.0
        self.hosts = 0

    def count(self, hosts: Sequence[ScoredHost], homeless: Iterable[Vector] = ()) -> None:
        """Start anew with these hosts. ``homeless``: the demand of domains on none of them that they have to take."""
        self.hosts = len(hosts)
        total = [sum(host.use[r] / host.scale[r] for host in hosts) for r in range(len(RESOURCES))]
        for demand in homeless:
            total = [have + more for have, more in zip(total, demand, strict=True)]
        for r, used in enumerate(total):
            capacity = sum(1.0 / host.scale[r] for host in hosts)
            self._centre[r] = used / capacity if capacity else 0.0
        parts = enumerate(zip(self._weights, self._units, self._centre, strict=True))
        self._terms = [(r, weight, unit, centre) for r, (weight, unit, centre) in parts if weight]
        self._sum = sum(self.cost(host.use) for host in hosts)

    def change(self, old: list[float], new: list[float]) -> None:
        """Update the use of an included host. O(1)."""
        self._sum += self.cost(new) - self.cost(old)

    def value(self) -> float:
        """The score now."""
        return max(0.0, self._sum)

    def cost(self, use: Sequence[float]) -> float:
        """The part of the score that a host of this use has."""
        total, half = 0.0, self._half
        for r, weight, unit, centre in self._terms:
            distance = abs(use[r] - centre) * unit
            beyond = distance - half
            total += weight * _PULL * distance * distance
            if beyond > 0.0:
                total += weight * beyond * (1.0 + _GROWTH * beyond)
        for r, limit in enumerate(self._limits):
            if use[r] > limit:
                total += self._overload * (use[r] - limit)
        return total

    def part(self, use: Sequence[float], resource: int) -> float:
        """The part of ``cost`` that one resource has, without the excess over limits."""
        return self._weights[resource] * self.tangent(use[resource], resource)[0]

    def cost_with(self, demand: Vector, host: ScoredHost) -> float:
        """The cost of the host if this demand came to it; negative parts leave it."""
        use, scale = host.use, host.scale
        return self.cost(
            (
                use[0] + demand[0] * scale[0],
                use[1] + demand[1] * scale[1],
                use[2] + demand[2] * scale[2],
                use[3] + demand[3] * scale[3],
            )
        )

    def relief(self, demand: Vector, host: ScoredHost) -> float:
        """What the score falls by when this demand leaves the host; 0 if the host is not counted."""
        if not host.counted:
            return 0.0
        cpu, memory, cpu_ready, vcpus = demand
        return self.cost(host.use) - self.cost_with((-cpu, -memory, -cpu_ready, -vcpus), host)

    def burden(self, demand: Vector, host: ScoredHost) -> float:
        """What the score rises by when this demand comes to the host; 0 if the host is not counted."""
        return self.cost_with(demand, host) - self.cost(host.use) if host.counted else 0.0

    def after(self, demand: Vector, source: ScoredHost, destination: ScoredHost) -> float:
        """The score after moving ``demand`` from one host to the other; parts may be negative, for a swap. O(1)."""
        return max(0.0, self._sum - self.relief(demand, source) + self.burden(demand, destination))

    def slopes(self, use: Sequence[float], *, leaving: bool) -> Vector:
        """The gradient of the score by the use of a host: most that leaving gains, least that arriving costs."""
        slopes = [0.0] * len(RESOURCES)
        for r, weight, _unit, _centre in self._terms:
            slopes[r] = weight * self.tangent(use[r], r)[1]
        for r, limit in enumerate(self._limits):
            if use[r] > limit if leaving else use[r] >= limit:
                slopes[r] += self._overload
        cpu, memory, cpu_ready, vcpus = slopes
        return (cpu, memory, cpu_ready, vcpus)

    def tangent(self, use: float, resource: int) -> tuple[float, float]:
        """f of one use of a resource, without its weight, and its slope there: nowhere is f below that line."""
        unit = self._units[resource]
        away = (use - self._centre[resource]) * unit
        beyond = abs(away) - self._half
        value, slope = _PULL * away * away, 2.0 * _PULL * away
        if beyond > 0.0:
            value += beyond * (1.0 + _GROWTH * beyond)
            slope += (1.0 + 2.0 * _GROWTH * beyond) * (1.0 if away > 0.0 else -1.0)
        return value, unit * slope

    def edges(self, resource: int) -> tuple[float, float]:
        """The uses between which the target has the hosts."""
        half = self._half / self._units[resource]
        return self._centre[resource] - half, self._centre[resource] + half
