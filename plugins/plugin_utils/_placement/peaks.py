# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Relief of hosts whose domains together want more than they have at their peaks (see _fleet/demand.py).

The score sees what domains want on average, and a sum of averages hides that they want it at the same time. So before
the fleet is levelled, hosts above all of their CPU at their peaks give domains away until they are below cpu_limit: the
move that takes most off what hosts are above the limit, one after the other, and where no move helps, swaps. Acting at
the limit itself would make several times the moves under a load with noise, and serve no better.
"""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.moves import PEAK
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.registry import Placement
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.bundles import both_permitted
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._text import percent

_LEAST = 0.02
"""What a move has to take off what hosts are above the limit, as a fraction of a host's CPU."""
_HIGH, _LOW = 6, 12
"""So many of the highest hosts give domains away in one step, to so many of the lowest."""


def above(fleet: Fleet) -> list[ProjectedHost]:
    """The hosts that want more than they have at their peaks, the highest first; none without a history."""
    if not fleet.demand.sums:
        return []
    most = max(1.0, fleet.policy.cpu_limit)
    found = [host for host in fleet.counted() if fleet.peak(host) > most]
    return sorted(found, key=lambda host: (-fleet.peak(host), host.index))


def told(fleet: Fleet) -> str | None:
    """A sentence about the highest of these hosts; None if there is none."""
    hosts = above(fleet)
    if not hosts:
        return None
    return f"The domains of {hosts[0].name} want {percent(fleet.peak(hosts[0]))} of its CPU at their peaks."


def relieve(fleet: Fleet, rules: Rules, result: Placement) -> None:
    """Relieve these hosts, and note the purpose of the moves."""
    if not above(fleet):
        return
    left = len(fleet.domains) if fleet.policy.max_moves is None else fleet.policy.max_moves
    left -= sum(domain.moved for domain in fleet.domains)
    while left > 0:
        peaks = _Peaks(fleet, rules)
        ends = peaks.best(peaks.moves()) or (peaks.best(peaks.swaps()) if left > 1 else None)
        if ends is None:
            return
        for domain, host in ends:
            fleet.move(domain, host)
            result.reliefs[domain.facts.uuid] = PEAK
        left -= len(ends)


Ends = list[tuple[ProjectedDomain, ProjectedHost]]
Ways = Iterator[tuple[float, Ends]]


class _Peaks:
    """The peaks of the hosts, as long as nothing moves."""

    def __init__(self, fleet: Fleet, rules: Rules) -> None:
        self.fleet, self.rules, self.limit = fleet, rules, fleet.policy.cpu_limit
        hosts = sorted(fleet.counted(), key=lambda host: (-fleet.peak(host), host.index))
        self.high = [host for host in hosts if fleet.peak(host) > self.limit][:_HIGH]
        self.low = hosts[::-1][:_LOW]

    def best(self, ways: Ways) -> Ends | None:
        """The ends of the way that takes most off what hosts are above the limit, of those that rules permit."""
        most, found = _LEAST, None
        for gain, ends in ways:
            if gain > most * len(ends) and self._permitted(ends):
                most, found = gain / len(ends), ends
        return found

    def moves(self) -> Ways:
        """Every move of a domain from a high host to a low one, with what it takes off."""
        for source in self.high:
            for domain in self._movable(source):
                eased = self._above(source) - self._beyond(self.fleet.peak_if(source, None, domain))
                if eased <= _LEAST:
                    continue
                for host in self.low:
                    if host is not source:
                        yield (
                            eased + self._above(host) - self._beyond(self.fleet.peak_if(host, domain)),
                            [(domain, host)],
                        )

    def swaps(self) -> Ways:
        """Every exchange of a domain of a high host with one of a low host, with what it takes off."""
        for source in self.high:
            for host in self.low:
                if host is source:
                    continue
                before = self._above(source) + self._above(host)
                for domain in self._movable(source):
                    for other in self._movable(host):
                        here = self._beyond(self.fleet.peak_if(source, other, domain))
                        there = self._beyond(self.fleet.peak_if(host, domain, other))
                        yield before - here - there, [(domain, host), (other, source)]

    def _above(self, host: ProjectedHost) -> float:
        return self._beyond(self.fleet.peak(host))

    def _beyond(self, peak: float) -> float:
        return max(0.0, peak - self.limit)

    def _movable(self, host: ProjectedHost) -> list[ProjectedDomain]:
        return [
            domain
            for domain in host.domains.values()
            if not domain.moved and not domain.bundle and self.rules.fixed(domain) is None
        ]

    def _permitted(self, ends: Ends) -> bool:
        if len(ends) == 1:
            return self.rules.refuses(*ends[0]) is None
        (domain, host), (other, there) = ends
        return both_permitted(self.fleet, self.rules, domain, host, other, there)
