# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The strategy ``balance``: level the fleet with few and cheap moves.

First every violated rule is repaired (see _repair). Then, if the fleet is uneven enough, a steepest descent over
placements: the objective is the score plus what the moves cost, a step is the move (domain, host) that lowers it most,
and where no move does, the best swap of two domains. A domain counts as moved only against where it is really running,
so a later step may send it elsewhere or leave it at home for free: the plan still moves it at most once.

The score is convex, so its gradient bounds every gain from above, and nearly all candidates are dismissed by one dot
product (see _score). Up to 64 hosts every pair of hosts is looked at; beyond that the most against the least loaded,
widening where nothing is found. Cost of a step: O(pairs of hosts + candidates that beat the bound).
"""

from __future__ import annotations

import heapq

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet import Fleet, ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._registry import Placement, placement
from ansible_collections.virtops.balance.plugins.plugin_utils._repair import repair
from ansible_collections.virtops.balance.plugins.plugin_utils._rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._score import Vector
from ansible_collections.virtops.balance.plugins.plugin_utils._trigger import level

_ALL_PAIRS = 64
_NARROW = 12
_WIDE = 48
_SWAPS = 12
_LEAST = 1e-9

Step = tuple[float, list[tuple[ProjectedDomain, ProjectedHost]]]


@placement("balance")
def balance(fleet: Fleet, rules: Rules) -> Placement:
    """Repair, then level the fleet until it is within the target, nothing gains its price, or max_moves is reached."""
    result = repair(fleet, rules)
    _Descent(fleet, rules).run()
    return result


class _Descent:
    """The state of one search."""

    def __init__(self, fleet: Fleet, rules: Rules) -> None:
        self.fleet, self.rules, self.score, policy = fleet, rules, fleet.score, fleet.policy
        self.hosts = fleet.counted()
        self.small = len(self.hosts) <= _ALL_PAIRS
        scale = 1.0 / max(1, len(self.hosts))
        self.price = [
            scale * (policy.move_cost + policy.move_cost_per_gib * domain.copy_mib / 1024.0) for domain in fleet.domains
        ]
        self.scale = scale
        self.left = len(fleet.domains) if policy.max_moves is None else policy.max_moves
        self.left -= sum(domain.moved for domain in fleet.domains)

    def run(self) -> None:
        """Descend to the target or to a local optimum."""
        if level(self.fleet, self.fleet.policy.threshold):
            return
        width = len(self.hosts) if self.small else _NARROW
        while len(self.hosts) > 1 and not level(self.fleet, self.fleet.policy.levelled):
            if self._round(width):
                continue
            if width < min(_WIDE, len(self.hosts)):
                width = min(_WIDE, len(self.hosts))
            elif not self._swap():
                return
            else:
                width = len(self.hosts) if self.small else _NARROW

    def _round(self, width: int) -> bool:
        """One step on a small fleet; on a large one a step for each of the most loaded hosts."""
        hot, cold = self._ranked(width)
        if self.small:
            step = self._best(hot, cold)
            return step is not None and self._take(step)
        done = False
        for source in hot[: max(width, len(self.hosts) // 16)]:
            step = self._best([source], cold)
            done |= step is not None and self._take(step)
        return done

    def _ranked(self, width: int) -> tuple[list[ProjectedHost], list[ProjectedHost]]:
        """The hosts that it pays most to leave, and those that it costs least to go to: overall and for each resource."""
        pressure = [(*(slope := self.score.slopes(host.use, leaving=True)), sum(slope)) for host in self.hosts]
        if self.small:
            order = sorted(range(len(self.hosts)), key=lambda i: -pressure[i][4])
            return [self.hosts[i] for i in order], [self.hosts[i] for i in reversed(order)]
        hot: dict[int, None] = {}
        cold: dict[int, None] = {}
        for column, count in ((4, width), (0, width // 3), (1, width // 3)):
            hot.update(dict.fromkeys(heapq.nlargest(count, range(len(self.hosts)), key=lambda i: pressure[i][column])))
            cold.update(
                dict.fromkeys(heapq.nsmallest(count, range(len(self.hosts)), key=lambda i: pressure[i][column]))
            )
        return [self.hosts[i] for i in hot], [self.hosts[i] for i in cold]

    def _take(self, step: Step) -> bool:
        for domain, host in step[1]:
            self.left += domain.moved
            self.fleet.move(domain, host)
            self.left -= domain.moved
        return True

    def _movable(self, host: ProjectedHost) -> list[ProjectedDomain]:
        return [
            domain
            for domain in host.domains.values()
            if domain.host is host and (domain.moved or self.left > 0) and self.rules.fixed(domain) is None
        ]

    def _ease(self, domain: ProjectedDomain) -> float:
        """The most that a move of the domain can gain beside the score: its price if it may go home, wishes that come true."""
        ease = self.price[domain.index] if domain.moved else -self.price[domain.index]
        return ease + self.scale * self.rules.penalty(domain, domain.host) if domain.wishes else ease

    def _surcharge(self, domain: ProjectedDomain, host: ProjectedHost) -> float:
        """What the move costs beside the score: its price if the domain leaves home, less if it returns, broken wishes."""
        price = self.price[domain.index]
        cost = -price if host is domain.home else 0.0 if domain.moved else price
        if domain.wishes:
            cost += self.scale * (self.rules.penalty(domain, host) - self.rules.penalty(domain, domain.host))
        return cost

    def _lean(self, source: ProjectedHost, destination: ProjectedHost) -> Vector:
        """What a unit of each resource gains at most when it goes from one host to the other."""
        out = self.score.slopes(source.use, leaving=True)
        into = self.score.slopes(destination.use, leaving=False)
        a, b = source.scale, destination.scale
        return (
            out[0] * a[0] - into[0] * b[0],
            out[1] * a[1] - into[1] * b[1],
            out[2] * a[2] - into[2] * b[2],
            out[3] * a[3] - into[3] * b[3],
        )

    def _best(self, sources: list[ProjectedHost], destinations: list[ProjectedHost]) -> Step | None:
        """The move that gains most among those from ``sources`` to ``destinations``."""
        score, rules, now = self.score, self.rules, self.score.value()
        best, found = _LEAST, None
        arriving = [
            (host, score.slopes(host.use, leaving=False), host.scale)
            for host in destinations
            if rules.closed(host) is None
        ]
        for source in sources:
            domains = [(domain, domain.demand, self._ease(domain)) for domain in self._movable(source)]
            if not domains:
                continue
            out, scale = score.slopes(source.use, leaving=True), source.scale
            out0, out1, out2, out3 = out[0] * scale[0], out[1] * scale[1], out[2] * scale[2], out[3] * scale[3]
            most0, most1, most2, most3 = map(max, zip(*(demand for _domain, demand, _ease in domains)))
            most = max(ease for _domain, _demand, ease in domains)
            for host, into, other in arriving:
                if host is source:
                    continue
                lean0, lean1, lean2, lean3 = (
                    out0 - into[0] * other[0],
                    out1 - into[1] * other[1],
                    out2 - into[2] * other[2],
                    out3 - into[3] * other[3],
                )
                bound = most
                bound += lean0 * most0 if lean0 > 0 else 0.0
                bound += lean1 * most1 if lean1 > 0 else 0.0
                bound += lean2 * most2 if lean2 > 0 else 0.0
                bound += lean3 * most3 if lean3 > 0 else 0.0
                if bound <= best:
                    continue
                for domain, demand, ease in domains:
                    if lean0 * demand[0] + lean1 * demand[1] + lean2 * demand[2] + lean3 * demand[3] + ease <= best:
                        continue
                    gain = now - score.after(demand, source, host) - self._surcharge(domain, host)
                    if gain > best and rules.refuses(domain, host) is None:
                        best, found = gain, [(domain, host)]
        return None if found is None else (best, found)

    def _swap(self) -> bool:
        """Take the best swap between a loaded and a less loaded host; on a large fleet the first host that has one."""
        hot, cold = self._ranked(_SWAPS)
        best: Step | None = None
        for source in hot:
            for host in cold:
                if host is not source and self.rules.closed(host) is None and self.rules.closed(source) is None:
                    best = self._best_swap(source, host, best)
            if best is not None and not self.small:
                break
        return best is not None and self._take(best)

    def _best_swap(self, source: ProjectedHost, host: ProjectedHost, best: Step | None) -> Step | None:
        lean, now = self._lean(source, host), self.score.value()

        def leaning(domain: ProjectedDomain) -> float:
            demand = domain.demand
            return lean[0] * demand[0] + lean[1] * demand[1] + lean[2] * demand[2] + lean[3] * demand[3]

        going = sorted(((leaning(d) + self._ease(d), d) for d in self._movable(source)), key=lambda item: -item[0])
        coming = sorted(((leaning(d) - self._ease(d), d) for d in self._movable(host)), key=lambda item: item[0])
        least = _LEAST if best is None else best[0]
        for gain_out, domain in going:
            for loss_in, other in coming:
                if gain_out - loss_in <= least:
                    break
                if self.left < (not domain.moved) + (not other.moved):
                    continue
                a, b = domain.demand, other.demand
                net = (a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3])
                gain = now - self.score.after(net, source, host)
                gain -= self._surcharge(domain, host) + self._surcharge(other, source)
                if gain > least and self._exchangeable(domain, other):
                    least, best = gain, (gain, [(domain, host), (other, source)])
        return best

    def _exchangeable(self, domain: ProjectedDomain, other: ProjectedDomain) -> bool:
        """May the two domains change places, each looked at without the other in its way?"""
        fleet, source, host = self.fleet, domain.host, other.host
        fleet.release(domain, source)
        fleet.release(other, host)
        allowed = self.rules.refuses(domain, host) is None and self.rules.refuses(other, source) is None
        fleet.occupy(domain, source)
        fleet.occupy(other, host)
        return allowed
