# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Hosts that no move can level: one domain alone takes more of them than the other hosts would have.

Such a domain would be too much for any other host as well. What its host uses with it alone is the floor of the host.
The others are levelled among each other, and the floor counts as level with them, so that a difference which nothing
can remove does not make run after run move domains.
"""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import (
    ROUNDING,
    ProjectedDomain,
    ProjectedHost,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU, MEMORY
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.watched import watched
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._text import percent

_WORDS = {CPU: "CPU", MEMORY: "memory"}
MOST_TOLD = 3


class Floor(t.NamedTuple):
    """What a host uses of a resource with one domain alone. ``others``: what the other hosts would have on average;
    ``level``: what counts as level with them."""

    domain: ProjectedDomain
    host: ProjectedHost
    word: str
    use: float
    others: float
    level: float

    def __str__(self) -> str:
        name = self.domain.name
        return (
            f"{self.host.name} cannot be levelled: with {name} alone it is at {percent(self.use)} of its {self.word}, "
            f"the others would be at {percent(self.others)}, and on each of them {name} would be too much as well."
        )


class Floors:
    """The floors of a fleet, by host and resource."""

    def __init__(self, fleet: Fleet, rules: Rules) -> None:
        self._found: dict[tuple[int, int], Floor] = {}
        for resource, word in _WORDS.items():
            if resource in watched(fleet.policy):
                for floor in _floors(fleet, rules, resource, word):
                    self._found[floor.host.index, resource] = floor

    def above(self, host: ProjectedHost, resource: int) -> float:
        """How far the floor of the host is above what counts as level; 0 if it has none."""
        floor = self._found.get((host.index, resource))
        return 0.0 if floor is None else floor.use - floor.level

    def beyond(self, host: ProjectedHost, resource: int, limit: float) -> float:
        """How far the floor of the host is above a limit; 0 if it has none, or is below."""
        floor = self._found.get((host.index, resource))
        return 0.0 if floor is None else max(0.0, floor.use - limit)

    def notes(self) -> list[str]:
        """A sentence about each, the highest first."""
        found = sorted(self._found.values(), key=lambda floor: (floor.level - floor.use, floor.host.index))
        more = len(found) - MOST_TOLD
        return [str(floor) for floor in found[:MOST_TOLD]] + ([f"{more} more cannot be levelled."] if more > 0 else [])

    def least_score(self, fleet: Fleet) -> float:
        """The part of the score that no move can take away."""
        hosts = {floor.host.index: floor.host for floor in self._found.values()}
        total = 0.0
        for index, host in hosts.items():
            level = [sum(fleet.score.edges(resource)) / 2.0 for resource in range(len(host.use))]
            least = [
                self._found[index, resource].use if (index, resource) in self._found else level[resource]
                for resource in range(len(host.use))
            ]
            total += fleet.score.cost(least)
        return total


def _floors(fleet: Fleet, rules: Rules, resource: int, word: str) -> list[Floor]:
    """The hosts with a floor that keeps them above the others by more than the threshold.

    What the others would have is lower with each host that is found, so the search goes on until it finds no more.
    """
    hosts, policy = fleet.counted(), fleet.policy
    own = {host.index: _without(host, host.domains.values(), resource) for host in hosts}
    found: dict[int, Floor] = {}
    while len(found) < len(hosts) - 1:
        rest = [host for host in hosts if host.index not in found]
        size = sum(1.0 / host.scale[resource] for host in rest)
        total = sum(host.use[resource] / host.scale[resource] for host in rest)
        # What else is on the hosts that were found has to go to these.
        total += sum((floor.host.use[resource] - floor.use) / floor.host.scale[resource] for floor in found.values())
        others = total / size
        most = others + policy.threshold + ROUNDING
        new = {}
        for host in rest:
            giant = _giant(host, resource)
            if giant is not None and _too_much(rules, giant, host, rest, own, most, resource):
                use = own[host.index] + giant.demand[resource] * host.scale[resource]
                new[host.index] = Floor(giant, host, word, use, others, others + policy.levelled / 2.0)
        found = {
            index: floor._replace(others=others, level=others + policy.levelled / 2.0) for index, floor in found.items()
        }
        if not new:
            break
        found |= new
    return list(found.values())


def _giant(host: ProjectedHost, resource: int) -> ProjectedDomain | None:
    """The domain of the host that demands most."""
    return max(host.domains.values(), key=lambda domain: (domain.demand[resource], -domain.index), default=None)


def _too_much(
    rules: Rules,
    domain: ProjectedDomain,
    host: ProjectedHost,
    rest: list[ProjectedHost],
    own: dict[int, float],
    most: float,
    resource: int,
) -> bool:
    """Would the domain alone bring every host that it may run on above ``most``?"""
    return all(
        own[other.index] + domain.demand[resource] * other.scale[resource] > most
        for other in (host, *rest)
        if other is host or (rules.closed(other) is None and rules.suits(domain, other) is None)
    )


def _without(host: ProjectedHost, leaving: t.Iterable[ProjectedDomain], resource: int) -> float:
    return max(0.0, host.use[resource] - sum(domain.demand[resource] for domain in leaving) * host.scale[resource])
