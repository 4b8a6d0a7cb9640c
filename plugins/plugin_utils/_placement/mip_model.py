# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The mixed-integer program of the strategy ``optimal``, see strategies/optimal.py.

All quantities are whole numbers: the use of a host in parts of _USE, the objective in parts of _OBJECTIVE. Coefficients
of the objective are rounded down, so that the bound remains a bound.
"""

from __future__ import annotations

import math
import typing as t
from collections.abc import Sequence

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import (
    ROUNDING,
    ProjectedDomain,
    ProjectedHost,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU, LIMITED, MEMORY, RESOURCES, VCPUS
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.descent import Descent, Where

_USE = 10**8
_OBJECTIVE = 10**12
_SLOPE = 10**7
_STEPS = (0.02, 0.1, 0.3)
"""Where the first tangents are: so far beyond the target, on both sides."""
_STEEPEST = 10.0
"""The slope of the cost nearly a whole host beyond the target."""


class Answer(t.NamedTuple):
    """where: a placement of the program's domains, None if none was found. bound: no placement has a lower objective.
    final: the placement reaches the bound in the program. seconds: the time taken."""

    where: Where | None
    bound: float
    final: bool
    seconds: float


class Program:
    """Decides on which host each of ``domains`` is; all others stay where they are in the projected fleet."""

    def __init__(self, cp_model: t.Any, search: Descent, domains: Sequence[ProjectedDomain]) -> None:
        self._cp, self.search, self.domains = cp_model, search, domains
        self.model = cp_model.CpModel()
        self._seen: set[tuple[int, ...]] = set()
        fleet, rules = search.fleet, search.rules
        self.hosts = search.hosts
        self._here: dict[int, dict[int, t.Any]] = {}
        self._placeable: dict[int, list[tuple[ProjectedDomain, t.Any]]] = {host.index: [] for host in fleet.hosts}
        for domain in domains:
            row = self._here[domain.index] = {
                host.index: self.model.new_bool_var("")
                for host in dict.fromkeys((domain.host, *self.hosts))
                if host is domain.host or (rules.closed(host) is None and rules.suits(domain, host) is None)
            }
            self.model.add_exactly_one(row.values())
            for index, variable in row.items():
                self._placeable[index].append((domain, variable))
        self._rules()
        weights = fleet.policy.weights
        self._counted = [(r, getattr(weights, name)) for r, name in enumerate(RESOURCES) if getattr(weights, name) > 0]
        self._uses = {r: [self._use(host, r) for host in self.hosts] for r in range(len(RESOURCES))}
        self._most = max(self._highest(host, r) for host in self.hosts for r in range(len(RESOURCES)))
        self._costs = {r: [self._cost(r) for _host in self.hosts] for r, _weight in self._counted}
        for r, _weight in self._counted:
            low, high = search.score.edges(r)
            for place in range(len(self.hosts)):
                for step in _STEPS:
                    self._touch(r, place, low - step)
                    self._touch(r, place, high + step)
        self._minimise()

    def _rules(self) -> None:
        """Add the constraints of scope "fleet" and "end", and max_moves."""
        policy = self.search.fleet.policy
        for host in self.hosts:
            placeable, scale, memory = [d for d, _on in self._placeable[host.index]], host.scale, policy.memory_limit
            ratio = math.inf
            if policy.cpu_overcommit is not None:
                ratio = policy.cpu_overcommit * (1.0 - host.reserved_cores * scale[VCPUS])
            for r, limit in ((CPU, policy.cpu_limit), (MEMORY, memory), (VCPUS, ratio)):
                self._fit(host, [d.demand[r] * scale[r] for d in placeable], limit - host.use[r])
            committed = (host.facts.memory_total_mib or 0.0) * memory * policy.memory_overcommit
            self._fit(host, [d.committed_mib for d in placeable], committed - host.committed_mib)
            self._fit(host, [d.huge_mib for d in placeable], host.huge_mib)
        for group in self.search.fleet.groups:
            if group.must and group.kind != "affinity":
                self._apart(group)
        for domain in self.domains:
            for other in domain.bundle[:1]:
                for index, variable in self._here[domain.index].items():
                    self.model.add(variable == self._here[other.index].get(index, 0))
        if policy.max_moves is not None:
            elsewhere = sum(d.moved for d in self.search.fleet.domains if d.index not in self._here)
            self.model.add(sum(map(self._moved, self.domains)) <= policy.max_moves - elsewhere)

    def _moved(self, domain: ProjectedDomain) -> t.Any:
        return 1 - self._here[domain.index].get(domain.home.index, 0)

    def _fit(self, host: ProjectedHost, sizes: list[float], free: float) -> None:
        """The domains on the host take no more than what is free, or than those that are there now."""
        placeable = self._placeable[host.index]
        room = max(free, 0.0) + ROUNDING
        room += sum(size for size, (domain, _on) in zip(sizes, placeable, strict=True) if domain.host is host)
        if sum(sizes) > room:
            # Sizes are rounded down and room up, so that all that fits is allowed. The rule itself refuses the rest.
            unit = max(sizes) / _USE
            taken = sum(math.floor(size / unit) * on for size, (_domain, on) in zip(sizes, placeable, strict=True))
            self.model.add(taken <= math.ceil(room / unit))

    def _inside(self, host: ProjectedHost) -> list[ProjectedDomain]:
        """The program's domains that are on the host now."""
        return [domain for domain in host.domains.values() if domain.index in self._here and domain.host is host]

    def _apart(self, group: t.Any) -> None:
        places: dict[t.Any, list[t.Any]] = {}
        for member in group.members:
            for index, variable in self._here.get(member.index, {member.host.index: 1}).items():
                places.setdefault(group.places[index], []).append(variable)
        for place, inside in places.items():
            if place is not None:
                now = sum(group.places[member.host.index] == place for member in group.members)
                self.model.add(sum(inside) <= max(group.most, now))

    def _fixed(self, host: ProjectedHost, resource: int) -> float:
        """The use of a resource on the host without the program's domains."""
        inside = sum(domain.demand[resource] for domain in self._inside(host))
        return max(0.0, host.use[resource] - inside * host.scale[resource])

    def _highest(self, host: ProjectedHost, resource: int) -> int:
        placeable = self._placeable[host.index]
        return math.ceil(
            _USE
            * (self._fixed(host, resource) + sum(d.demand[resource] * host.scale[resource] for d, _on in placeable))
        ) + len(placeable)

    def _use(self, host: ProjectedHost, resource: int) -> t.Any:
        use = self.model.new_int_var(0, self._highest(host, resource), "")
        parts = sum(
            round(_USE * domain.demand[resource] * host.scale[resource]) * on
            for domain, on in self._placeable[host.index]
        )
        self.model.add(use == round(_USE * self._fixed(host, resource)) + parts)
        return use

    def _cost(self, resource: int) -> t.Any:
        """A lower bound of what one resource of one host costs, in parts of _USE; tangents raise it."""
        ends = (0.0, self._most / _USE)
        highest = max(self.search.score.tangent(use, resource)[0] for use in ends)
        return self.model.new_int_var(0, math.ceil(_USE * highest) + 1, "")

    def _touch(self, resource: int, place: int, use: float) -> None:
        """Add the tangent of the cost of one resource of a host at this use: nowhere is the cost below it."""
        value, slope = self.search.score.tangent(use, resource)
        whole = round(_SLOPE * slope)
        # The line with the rounded slope is moved down by as much as it is too steep at the end.
        lost = abs(whole / _SLOPE - slope) * (self._most / _USE + abs(use))
        start = math.floor(_SLOPE * _USE * (value - lost - whole / _SLOPE * use)) - 1
        self.model.add(_SLOPE * self._costs[resource][place] >= whole * self._uses[resource][place] + start)

    def _minimise(self) -> None:
        policy = self.search.fleet.policy
        factor = _OBJECTIVE // _USE
        terms = [math.floor(weight * factor) * cost for r, weight in self._counted for cost in self._costs[r]]
        for r, limit in enumerate((policy.cpu_limit, policy.memory_limit)[:LIMITED]):
            for use in self._uses[r]:
                over = self.model.new_int_var(0, self._most, "")
                self.model.add(over >= use - math.ceil(_USE * limit))
                terms.append(math.floor(policy.weights.overload * factor) * over)
        for domain in self.domains:
            terms.append(math.floor(self.search.price[domain.index] * _OBJECTIVE) * self._moved(domain))
        self.model.minimize(sum(terms))
        # Each use is off by half a unit for each domain. The prices of moved domains outside the program are added.
        weight = sum(weight for _r, weight in self._counted) * _STEEPEST + 2.0 * policy.weights.overload
        lost = weight * len(self.hosts) * (len(self.domains) + 2) / _USE
        self._offset = -lost + sum(
            self.search.price[domain.index]
            for domain in self.search.fleet.domains
            if domain.moved and domain.index not in self._here
        )

    def learn(self) -> bool:
        """Add the tangents of the score at the present placement; False if they were added before."""
        where = tuple(domain.host.index for domain in self.domains)
        if where in self._seen:
            return False
        self._seen.add(where)
        for r, _weight in self._counted:
            for place, host in enumerate(self.hosts):
                self._touch(r, place, host.use[r])
        return True

    def exclude(self, host: ProjectedHost) -> None:
        """Exclude placements that leave all the present domains on the host."""
        inside = [self._here[domain.index][host.index] for domain in self._inside(host)]
        self.model.add(sum(inside) <= len(inside) - 1)

    def solve(self, start: Where, seconds: float) -> Answer:
        """The best placement of the program found within the (deterministic) time."""
        self.model.clear_hints()
        hosts = {domain.index: host.index for domain, host in start}
        for domain, row in self._here.items():
            for host, variable in row.items():
                self.model.add_hint(variable, hosts[domain] == host)
        solver = self._cp.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 0
        solver.parameters.max_deterministic_time = seconds
        status = solver.solve(self.model)
        taken = solver.response_proto.deterministic_time
        bound = solver.best_objective_bound / _OBJECTIVE + self._offset
        if status not in (self._cp.OPTIMAL, self._cp.FEASIBLE):
            return Answer(None, max(0.0, bound), False, taken)
        fleet = self.search.fleet
        where = [
            (fleet.domains[domain], fleet.hosts[host])
            for domain, row in self._here.items()
            for host, variable in row.items()
            if solver.value(variable)
        ]
        return Answer(where, max(0.0, bound), status == self._cp.OPTIMAL, taken)
