# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Fewer moves to a target that is reached, for fleets that are small enough.

A search over sets of moves that are fewer than those of the best plan known. How far a set is from the target is the
sum, over hosts and resources, of what is outside a window as wide as the target; the window is put where that is
least. A step adds a move, sends a moved domain elsewhere, or takes one move back and makes another one instead. The
best step is taken even if it makes things worse, and domains that just came or went stay where they are for some steps
(tabu search: Glover, 1989). Where no step helps, what is outside weighs more from then on (breakout: Morris, 1993). A
set that reaches the target is the new best plan. Attempts begin by turns with the best plan less the moves that are
missed least, and with no moves.
"""

from __future__ import annotations

import math
import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU, MEMORY, Vector
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.descent import Descent, Where
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.watched import watched
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.bundles import both_permitted

_DEARER = 1.05
"""Fewer moves may cost this much of what the first plan costs: fewer are worth something by themselves."""
_ATTEMPTS = 2
_STEPS = 10
"""The steps of an attempt, for each move of the best plan."""
_MOST_PAIRS = 5_000
"""The largest fleet to be searched, in pairs of a domain and a host."""
_MOST_TRIED = 3_000_000
"""How many moves the search looks at before it ends with the best plan so far. It bounds the time."""
_RETURNED, _SENT = 5, 2
"""For how many steps a domain stays at home that returned to it, and on its host if it was sent there."""
_GROWTH = 5.0
_LOUDER = 5.0
_NOTHING = 1e-9


def fewer(search: Descent, kept: t.Container[str]) -> None:
    """Replace the moves by fewer ones that reach the target as well, if some are found. Moves that do not reach it, and
    that max_moves did not end, are replaced by as many that do. ``kept``: the UUIDs of domains whose moves stay."""
    found = _Fewer(search, kept)
    small = len(found.free) * len(found.hosts) <= _MOST_PAIRS
    if small and len(found.moved()) > 1 and (found.reached or search.left > 0):
        found.run()


class _Step(t.NamedTuple):
    """A move of ``domain`` to ``host``; ``returns`` is the domain whose move is taken back for it."""

    domain: ProjectedDomain
    host: ProjectedHost
    returns: ProjectedDomain | None


class _Window(t.NamedTuple):
    """What the use of a resource should be between."""

    resource: int
    least: float
    most: float


class _Fewer:
    """One search."""

    def __init__(self, search: Descent, kept: t.Container[str]) -> None:
        self.search, self.fleet, self.rules = search, search.fleet, search.rules
        self.hosts = search.hosts
        self.free = [
            domain
            for domain in self.fleet.domains
            if domain.host.counted
            and domain.home.counted
            and not domain.bundle
            and not domain.wishes
            and domain.facts.uuid not in kept
            and self.rules.fixed(domain) is None
        ]
        self.suitable: dict[int, list[ProjectedHost]] = {}
        self.windows: list[_Window] = []
        self.weights: dict[int, list[float]] = {}
        self.stays: dict[int, int] = {}
        self.best: Where = []
        self.moves = 0
        self.reached = self._level()
        self.broken: set[int] = set()
        self.violated = self.tried = 0
        self.most_moves, self.most_cost = 0, 0.0
        self.least, self.step = math.inf, t.cast("_Step | None", None)

    def run(self) -> None:
        """Search, and leave the fleet with the best plan found."""
        self.broken = self._broken()
        self.violated = self.rules.violated()
        self._keep()
        self.most_cost = self._cost() * _DEARER
        attempt = 0
        while attempt < _ATTEMPTS and self.tried < _MOST_TRIED:
            self.most_moves = self.moves - self.reached
            self._begin(from_nothing=attempt % 2 == 1)
            attempt = 0 if self._attempt() else attempt + 1
        self.search.restore(self.best)

    def _attempt(self) -> bool:
        """Step until a better plan is found; True if it was."""
        for number in range(_STEPS * self.moves):
            self.windows = _windows(self.fleet, self.hosts)
            if self._outside() < _NOTHING and self._better():
                self._keep()
                self.reached = True
                return True
            step = self._best_step(number)
            if step is None or self.tried >= _MOST_TRIED:
                return False
            self._take(step, number)
        return False

    def _better(self) -> bool:
        """Is this a plan with fewer moves, or the first one, that reaches the target, and breaks no rule that the
        plan before kept? Domains that returned home may have taken the room of those whose moves stay."""
        return (
            self._level()
            and len(self.moved()) <= self.most_moves
            and self._broken() <= self.broken
            and self.rules.violated() <= self.violated
        )

    def _broken(self) -> set[int]:
        """The moved domains that may not be where they are."""
        found = set()
        for domain in self.fleet.domains:
            if domain.moved:
                with self.fleet.away(domain, domain.host):
                    if self.rules.refuses(domain, domain.host) is not None:
                        found.add(domain.index)
        return found

    def _level(self) -> bool:
        return self.search.level(self.fleet.policy.levelled)

    def _keep(self) -> None:
        """Remember the present moves as the best ones."""
        self.best, self.moves = self.search.placement(), len(self.moved())

    def moved(self) -> list[ProjectedDomain]:
        """The domains of the search that are not at home."""
        return [domain for domain in self.free if domain.moved]

    def _begin(self, *, from_nothing: bool) -> None:
        self.search.restore(self.best)
        self.stays = {}
        self.windows = _windows(self.fleet, self.hosts)
        self.weights = {host.index: [1.0] * len(self.windows) for host in self.hosts}
        moved = self.moved()
        while moved and (from_nothing or len(moved) > self.most_moves or self._cost() > self.most_cost):
            domain = moved[0] if from_nothing else min(moved, key=self._missed)
            moved.remove(domain)
            self.search.put(domain, domain.home)

    def _missed(self, domain: ProjectedDomain) -> tuple[float, int]:
        """How far the fleet is from the target without the move of the domain."""
        host = domain.host
        self.fleet.move(domain, domain.home)
        self.windows = _windows(self.fleet, self.hosts)
        outside = self._outside()
        self.fleet.move(domain, host)
        return outside, domain.index

    def _cost(self) -> float:
        return sum(domain.price for domain in self.moved())

    def _outside(self) -> float:
        return sum(self._at(host, host.use) for host in self.hosts)

    def _at(self, host: ProjectedHost, use: t.Sequence[float]) -> float:
        """How far a host of this use is outside the windows, weighed."""
        total = 0.0
        for (resource, least, most), weight in zip(self.windows, self.weights[host.index], strict=True):
            beyond = least - use[resource] if use[resource] < least else use[resource] - most
            if beyond > 0.0:
                total += weight * (beyond + _GROWTH * beyond * beyond)
        return total

    def _best_step(self, number: int) -> _Step | None:
        """The permitted step after which the fleet is least outside; None if there is none."""
        self.least, self.step = math.inf, None
        uses = {host.index: host.use for host in self.hosts}
        costs = {host.index: self._at(host, host.use) for host in self.hosts}
        moved = self.moved()
        waiting = {index for index, until in self.stays.items() if until >= number}
        staying = [domain for domain in self.free if not domain.moved and domain.index not in waiting]
        budget = self.most_cost - self._cost()
        going = [domain for domain in moved if domain.index not in waiting]
        more = staying if len(moved) < self.most_moves else []
        self._look([*going, *self._affordable(more, budget)], uses, costs)
        for domain in going:
            self._look_instead(domain, self._affordable(staying, budget + domain.price), uses, costs)
        if self.least > -_NOTHING:
            self._weigh()
        return self.step

    def _look(
        self,
        domains: t.Iterable[ProjectedDomain],
        uses: t.Mapping[int, t.Sequence[float]],
        costs: t.Mapping[int, float],
        returns: ProjectedDomain | None = None,
        change: float = 0.0,
    ) -> None:
        """Look for a better step among the moves of these domains. ``uses`` and ``costs`` of the hosts are those after
        ``returns`` has gone home, which changes what is outside by ``change``."""
        for domain in domains:
            source = domain.host
            left = self._at(source, _use(uses[source.index], domain, source, -1.0))
            without = change + left - costs[source.index]
            hosts = self._suitable(domain)
            if returns is not None and source is not returns.home:
                # What it left and what it came back to have to gain by the other move.
                hosts = [returns.host]
            for host in hosts:
                self.tried += 1
                if host is source or host is domain.home or without - costs[host.index] >= self.least:
                    continue
                found = without + self._at(host, _use(uses[host.index], domain, host, 1.0)) - costs[host.index]
                if found < self.least - _NOTHING and self._permitted(domain, host, returns):
                    self.least, self.step = found, _Step(domain, host, returns)

    def _look_instead(
        self,
        returns: ProjectedDomain,
        domains: t.Iterable[ProjectedDomain],
        uses: t.Mapping[int, t.Sequence[float]],
        costs: t.Mapping[int, float],
    ) -> None:
        """Look for a better step that takes the move of ``returns`` back."""
        ends, signs = (returns.home, returns.host), (1.0, -1.0)
        changed = {end.index: _use(uses[end.index], returns, end, sign) for end, sign in zip(ends, signs, strict=True)}
        after = {end.index: self._at(end, changed[end.index]) for end in ends}
        change = sum(after.values()) - sum(costs[end.index] for end in ends)
        self._look(domains, {**uses, **changed}, {**costs, **after}, returns, change)

    def _affordable(self, domains: t.Iterable[ProjectedDomain], budget: float) -> list[ProjectedDomain]:
        return [domain for domain in domains if domain.price <= budget]

    def _suitable(self, domain: ProjectedDomain) -> list[ProjectedHost]:
        """The hosts where the domain may be, wherever the others are."""
        if domain.index not in self.suitable:
            self.suitable[domain.index] = [
                host
                for host in self.hosts
                if self.rules.closed(host) is None and self.rules.suits(domain, host) is None
            ]
        return self.suitable[domain.index]

    def _permitted(self, domain: ProjectedDomain, host: ProjectedHost, returns: ProjectedDomain | None) -> bool:
        """May the domain be on the host, and the one that returns at home, neither counted where it is now?"""
        if returns is None:
            return self.rules.refuses(domain, host) is None
        search = self.search
        return both_permitted(search.fleet, search.rules, domain, host, returns, returns.home)

    def _take(self, step: _Step, number: int) -> None:
        if step.returns is not None:
            self.search.put(step.returns, step.returns.home)
            self.stays[step.returns.index] = number + _RETURNED + number % 5
        self.search.put(step.domain, step.host)
        self.stays[step.domain.index] = number + _SENT + number % 3

    def _weigh(self) -> None:
        """Have what is outside weigh more."""
        for host in self.hosts:
            weights = self.weights[host.index]
            for place, (resource, least, most) in enumerate(self.windows):
                if not least - _NOTHING <= host.use[resource] <= most + _NOTHING:
                    weights[place] += _LOUDER


def _use(use: t.Sequence[float], domain: ProjectedDomain, host: ProjectedHost, sign: float) -> Vector:
    """The use of a host with the demand of the domain, or without it."""
    cpu, memory, ready, vcpus = domain.demand
    per_core, per_mib, per_ready_core, per_vcpu = host.scale
    return (
        use[0] + sign * cpu * per_core,
        use[1] + sign * memory * per_mib,
        use[2] + sign * ready * per_ready_core,
        use[3] + sign * vcpus * per_vcpu,
    )


def _windows(fleet: Fleet, hosts: list[ProjectedHost]) -> list[_Window]:
    """For each resource that is watched or limited the window that least of the hosts' use is outside of."""
    policy, width = fleet.policy, watched(fleet.policy)
    limits = {CPU: policy.cpu_limit, MEMORY: policy.memory_limit}
    found = []
    for resource in sorted({*width, *limits}):
        limit = limits.get(resource, math.inf)
        if resource not in width:
            found.append(_Window(resource, 0.0, limit))
            continue
        span = policy.levelled / width[resource]
        uses = [host.use[resource] for host in hosts]
        least = min([*uses, *(use - span for use in uses)], key=lambda least: (_beyond(uses, least, span), least))
        found.append(_Window(resource, least, min(least + span, limit)))
    return found


def _beyond(uses: list[float], least: float, span: float) -> float:
    return sum(max(0.0, least - use, use - least - span) for use in uses)
