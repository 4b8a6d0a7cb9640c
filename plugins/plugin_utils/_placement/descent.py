# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A descent over placements: the objective is the score plus the cost of the moves.

A step is the move of a domain (or of a bundle) that lowers the objective most; if no move does, the best swap of two
domains. A domain counts as moved if it is not on the host that it runs on, so a later step may send it to another host
or back home for free: the plan moves it at most once.

Why it is fast: the score is convex, so its gradient bounds every gain from above, and one dot product rules out nearly
all moves; for the others the change of the two hosts gives the exact gain (see _fleet/score.py). The best step of each
host is kept in a heap and evaluated again only when it is first in the heap ("lazy greedy": Minoux, 1978), so a step
costs O(log hosts + a few hosts x destinations) and not a search over all pairs. Up to 64 hosts every host is a
destination; beyond that only the least loaded ones, chosen again as they fill up. After a swap only its two hosts are
searched for further moves, and all hosts once more before the end.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU, MEMORY, RESOURCES, Score, Vector
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.floors import Floors
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.unevenness import Uses
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.bundles import Step, best_move, both_permitted
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules

_ALL = 64
_SOME = 24
_SWAPS = 12
_LEAST = 1e-6  # far above what rounding can pretend
_STEPS = 20  # for each domain; no search comes near it

Departure = tuple[ProjectedDomain, Vector, float]
"""A domain that may leave its host, its demand, and the most that its move gains beside the score."""
Where = list[tuple[ProjectedDomain, ProjectedHost]]


class Descent:
    """The state of one search."""

    def __init__(self, fleet: Fleet, rules: Rules, floors: Floors) -> None:
        self.fleet, self.rules, self.score, policy = fleet, rules, fleet.score, fleet.policy
        self.hosts = fleet.counted()
        self.cold: dict[int, list[ProjectedHost]] = {}
        self.steps = self.renewed = 0
        self.most_steps = _STEPS * len(fleet.domains)
        self._prices = [domain.price for domain in fleet.domains]
        self.price, self.target = self._prices, policy.goal
        self._uses = Uses(fleet, floors)
        self._arrivals: dict[int, tuple[list[float], float, Vector]] = {}
        self.left = len(fleet.domains) if policy.max_moves is None else policy.max_moves
        self.left -= sum(domain.moved for domain in fleet.domains)
        self.bundles = any(domain.bundle for domain in fleet.domains)
        self.residents: list[list[ProjectedDomain]] = [[] for _host in fleet.hosts]
        for domain in fleet.domains:
            if rules.fixed(domain) is None and not domain.bundle:
                self.residents[domain.host.index].append(domain)

    def run(self, factor: float = 1.0, target: float | None = None) -> None:
        """Descend to the target (None: the policy's), or until no move and no swap gains ``factor`` times its price.

        Swaps are looked for at the policy's own price only: at higher ones they cost much time and find little.
        """
        self.price = self._prices if factor == 1.0 else [factor * price for price in self._prices]
        self.target = self.fleet.policy.goal if target is None else target
        sources = self.hosts
        while not self.level(self.target):
            moved = self._descend(self._move_from, sources)
            changed = self._descend(self._bundle_from, sources) if self.bundles else set()
            if factor == 1.0:
                changed |= self._descend(self._swap_from, self._ranked(_SWAPS)[0])
            if changed:
                sources = [self.fleet.hosts[index] for index in sorted(changed)]
            elif moved or sources is not self.hosts:
                sources = self.hosts
            else:
                return

    def step(self) -> None:
        """Take the move that gains most out of the hosts that are loaded most, and those that it makes worth it."""
        self._descend(self._move_from, self._ranked(_SWAPS)[0])

    def level(self, accepted: float) -> bool:
        """Is no host above a limit, and every resource that counts spread by at most ``accepted``?"""
        return self._uses.level(accepted)

    def placement(self) -> Where:
        """Where every domain is."""
        return [(domain, domain.host) for domain in self.fleet.domains]

    def restore(self, where: Where) -> None:
        """Move every domain back to its host in ``where``."""
        for domain, host in where:
            if domain.host is not host:
                self.put(domain, host)

    def cost(self) -> float:
        """The cost of the moves and of the unkept wishes."""
        found = 0.0
        for domain in self.fleet.domains:
            found += domain.price if domain.moved else 0.0
            if domain.wishes:
                found += self.rules.penalty(domain, domain.host)
        return found

    def surcharge(self, domain: ProjectedDomain, host: ProjectedHost) -> float:
        """The cost of a move beside the score: its price (negative for a return home) and the wishes that it breaks."""
        cost = self._price_of(domain, host)
        if domain.wishes:
            cost += self.rules.penalty(domain, host) - self.rules.penalty(domain, domain.host)
        return cost

    def _price_of(self, domain: ProjectedDomain, host: ProjectedHost) -> float:
        price = self.price[domain.index]
        return -price if host is domain.home else price if domain.host is domain.home else 0.0

    def _surcharge_of_swap(self, domain: ProjectedDomain, other: ProjectedDomain) -> float:
        """The cost of a swap beside the score. Wishes may concern both domains, so both are moved to evaluate them."""
        source, host = domain.host, other.host
        if not (domain.wishes and other.wishes):
            return self.surcharge(domain, host) + self.surcharge(other, source)
        fleet, penalty = self.fleet, self.rules.penalty
        before = penalty(domain, source) + penalty(other, host)
        cost = self._price_of(domain, host) + self._price_of(other, source)
        fleet.move(domain, host)
        fleet.move(other, source)
        after = penalty(domain, host) + penalty(other, source)
        fleet.move(domain, source)
        fleet.move(other, host)
        return cost + after - before

    def put(self, domain: ProjectedDomain, host: ProjectedHost) -> None:
        """Move a domain to a host."""
        source, self.left = domain.host, self.left + domain.moved
        if not domain.bundle:
            self.residents[source.index].remove(domain)
            self.residents[host.index].append(domain)
        self.fleet.move(domain, host)
        for end in (source, host):
            if end.counted:
                self._uses.look(end)
        self.left -= domain.moved

    def _descend(self, best_from: Callable[[ProjectedHost], Step | None], sources: Iterable[ProjectedHost]) -> set[int]:
        """Take steps from ``sources``, best first, until none is left or the target is reached; the changed hosts."""
        heap: list[tuple[float, int]] = []
        waiting = set()
        changed: set[int] = set()

        def look(host: ProjectedHost) -> None:
            step = best_from(host)
            if step is not None and host.index not in waiting:
                waiting.add(host.index)
                heapq.heappush(heap, (-step[0], host.index))

        for host in sources:
            look(host)
        while heap and self.steps < self.most_steps and not self.level(self.target):
            waiting.remove(index := heapq.heappop(heap)[1])
            host = self.fleet.hosts[index]
            step = best_from(host)
            # A margin of _LEAST: the two sides of one swap differ only by rounding, and would take turns forever.
            if step is not None and heap and step[0] < -heap[0][0] - _LEAST:
                waiting.add(index)
                heapq.heappush(heap, (-step[0], index))
            elif step is not None:
                self._take(step)
                for end in {end.index: end for domain, end in step[1]}.values():
                    changed.add(end.index)
                    look(end)
                changed.add(index)
                look(host)
        return changed

    def _ranked(self, width: int) -> tuple[list[ProjectedHost], list[ProjectedHost]]:
        """The hosts where leaving gains most, and those where arriving costs least: overall and by resource."""
        pressure = [(*(slopes := self.score.slopes(host.use, leaving=True)), sum(slopes)) for host in self.hosts]
        overall = len(RESOURCES)
        hot: dict[int, None] = {}
        cold: dict[int, None] = {}
        for column, count in ((overall, width), (CPU, width // 3), (MEMORY, width // 3)):

            def key(i: int, column: int = column) -> float:
                return pressure[i][column]

            hot.update(dict.fromkeys(heapq.nlargest(count, range(len(self.hosts)), key=key)))
            cold.update(dict.fromkeys(heapq.nsmallest(count, range(len(self.hosts)), key=key)))
        return [self.hosts[i] for i in hot], [self.hosts[i] for i in cold]

    def _destinations(self, all_below: int, width: int) -> list[ProjectedHost]:
        """Where domains may go: all hosts of a small fleet, else the least loaded hosts as of a few steps ago."""
        if len(self.hosts) <= all_below:
            return self.hosts
        if width not in self.cold or self.steps >= self.renewed + len(self.hosts) // _ALL:
            self.cold = {width: self._ranked(width)[1]}
            self.renewed = self.steps
        return self.cold[width]

    def _take(self, step: Step) -> None:
        self.steps += 1
        for domain, host in step[1]:
            self.put(domain, host)

    def _departures(self, host: ProjectedHost) -> list[Departure]:
        """The domains that may leave the host.

        What a move gains beside the score is the price, got back if the domain may return home and paid if it is there,
        and the wishes that may come true.
        """
        found = []
        for domain in self.residents[host.index]:
            price = self.price[domain.index]
            ease = price if domain.host is not domain.home else -price
            if domain.wishes:
                ease += self.rules.penalty(domain, host)
            if self.left > 0 or domain.host is not domain.home:
                found.append((domain, domain.demand, ease))
        return found

    def _move_from(self, source: ProjectedHost) -> Step | None:
        """The move out of ``source`` that gains most."""
        departures = self._departures(source)
        if not departures:
            return None
        score, rules = self.score, self.rules
        best, found = _LEAST, None
        most, ease = _most(departures)
        leaving = _per_unit(score, source, leaving=True)
        # What leaves gains the same wherever it goes.
        relieved = [(domain, demand, score.relief(demand, source), eased) for domain, demand, eased in departures]
        for host in self._destinations(_ALL, _SOME):
            now, arriving = self._arrival(host)
            cpu_cost, memory_cost, ready_cost, vcpus_cost = arriving
            bound = (
                ease
                - best
                + sum(
                    max(0.0, gain - cost) * amount for gain, cost, amount in zip(leaving, arriving, most, strict=True)
                )
            )
            if bound <= 0.0 or host is source or rules.closed(host) is not None:
                continue
            for domain, demand, relief, eased in relieved:
                cpu, memory, ready, vcpus = demand
                least = cpu_cost * cpu + memory_cost * memory + ready_cost * ready + vcpus_cost * vcpus
                if relief + eased - least <= best:
                    continue
                gain = relief - (score.cost_with(demand, host) - now)
                if gain + eased <= best:
                    continue
                gain -= self.surcharge(domain, host)
                if gain > best and rules.refuses(domain, host) is None:
                    best, found = gain, (domain, host)
        return None if found is None else (best, [found])

    def _arrival(self, host: ProjectedHost) -> tuple[float, Vector]:
        """What the host costs, and what each unit costs at least that comes to it. Kept until its use changes."""
        known = self._arrivals.get(host.index)
        if known is None or known[0] is not host.use:
            known = (host.use, self.score.cost(host.use), _per_unit(self.score, host, leaving=False))
            self._arrivals[host.index] = known
        return known[1:]

    def _bundle_from(self, source: ProjectedHost) -> Step | None:
        """The move of a bundle out of ``source`` that gains most."""
        return best_move(
            self.fleet,
            self.rules,
            source,
            self._destinations(_ALL, _SOME),
            price=self._price_of,
            most=self.left,
            least=_LEAST,
        )

    def _swap_from(self, source: ProjectedHost) -> Step | None:
        """The swap of a domain of ``source`` with one of another host that gains most."""
        best: Step | None = None
        if self.rules.closed(source) is None:
            for host in self._destinations(_SWAPS * 2, _SWAPS):
                if host is not source and self.rules.closed(host) is None:
                    best = self._best_swap(source, host, best)
        return best

    def _best_swap(self, source: ProjectedHost, host: ProjectedHost, best: Step | None) -> Step | None:
        going, coming = self._departures(source), self._departures(host)
        if not going or not coming:
            return best
        score = self.score
        cpu_rate, memory_rate, ready_rate, vcpus_rate = _rates(score, _per_unit(score, source, leaving=True), host)
        leaving = [
            (cpu_rate * cpu + memory_rate * memory + ready_rate * ready + vcpus_rate * vcpus + ease, domain, ease)
            for domain, (cpu, memory, ready, vcpus), ease in going
        ]
        arriving = [
            (cpu_rate * cpu + memory_rate * memory + ready_rate * ready + vcpus_rate * vcpus - ease, domain, ease)
            for domain, (cpu, memory, ready, vcpus), ease in coming
        ]
        leaving.sort(key=_first, reverse=True)
        arriving.sort(key=_first)
        least = _LEAST if best is None else best[0]
        if leaving[0][0] - arriving[0][0] <= least:
            return best
        here, there = score.cost(source.use), score.cost(host.use)
        for bound, domain, ease in leaving:
            own_cpu, own_memory, own_ready, own_vcpus = domain.demand
            for loss, other, eased in arriving:
                if bound - loss <= least:
                    break
                cpu, memory, ready, vcpus = other.demand
                cpu, memory, ready, vcpus = own_cpu - cpu, own_memory - memory, own_ready - ready, own_vcpus - vcpus
                gain = there - score.cost_with((cpu, memory, ready, vcpus), host)
                if gain + here + ease + eased <= least:
                    continue
                gain += here - score.cost_with((-cpu, -memory, -ready, -vcpus), source)
                if gain + ease + eased <= least:
                    continue
                gain -= self._surcharge_of_swap(domain, other)
                if gain > least and self._exchangeable(domain, other):
                    least, best = gain, (gain, [(domain, host), (other, source)])
        return best

    def _exchangeable(self, domain: ProjectedDomain, other: ProjectedDomain) -> bool:
        """May the two domains change places?"""
        if self.left < (not domain.moved) + (not other.moved):
            return False
        return both_permitted(self.fleet, self.rules, domain, other.host, other, domain.host)


def _first(item: tuple[float, ProjectedDomain, float]) -> float:
    return item[0]


def _most(departures: list[Departure]) -> tuple[Vector, float]:
    """The most that any of the domains demands of each resource, and the most that a move gains beside the score."""
    cpu, memory, ready, vcpus = map(max, zip(*(demand for _domain, demand, _ease in departures), strict=True))
    return (cpu, memory, ready, vcpus), max(ease for _domain, _demand, ease in departures)


def _per_unit(score: Score, host: ProjectedHost, *, leaving: bool) -> Vector:
    """How fast the score changes with each core, MiB or vCPU that leaves the host, or comes to it."""
    cpu, memory, ready, vcpus = score.slopes(host.use, leaving=leaving)
    per_core, per_mib, per_ready_core, per_vcpu = host.scale
    return (cpu * per_core, memory * per_mib, ready * per_ready_core, vcpus * per_vcpu)


def _rates(score: Score, leaving: Vector, host: ProjectedHost) -> Vector:
    """What a unit of each resource gains at most when it goes to ``host``; ``leaving`` is what its source gains."""
    cpu, memory, ready, vcpus = leaving
    cpu_cost, memory_cost, ready_cost, vcpus_cost = _per_unit(score, host, leaving=False)
    return (cpu - cpu_cost, memory - memory_cost, ready - ready_cost, vcpus - vcpus_cost)
