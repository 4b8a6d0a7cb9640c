# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Relief of hosts whose domains have to wait although the score sees no reason for it.

Domains wait for a CPU below every limit where few CPUs have to do for many vCPUs: pinned ones, threads of one core, or
all at the same moment. A host is contended if its domains waited for a notable share of the CPU that they wanted, both
over their history and now, so that neither what is over nor what has just begun moves anything. Where no history tells
how long they waited, it has to be twice as much now, which noise does not reach.

Of the CPU the kernel says at almost all times, on a large host, that something waits for it. So it is asked for the
opposite: where next to nothing waited in the last minute, the domains did not. Of memory it is believed: a host is
contended too where something waited for that during a notable part of the last minute.

A domain that has a cap of its own waits for that (the kernel counts throttled threads as waiting), on every host. One
that was moved within a day and waits again is not helped by moves either. Both stay.

At most one domain leaves a host in one run: one that waits, for a host that is not contended. The fleet stays as level
as the policy wants it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.moves import CONTENTION
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import (
    ROUNDING,
    ProjectedDomain,
    ProjectedHost,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU, CPU_READY, MEMORY
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.floors import Floors
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.registry import Placement
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.unevenness import Uses
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._text import percent

_NOTABLE = 0.1
"""Of the CPU that domains want, or of a minute."""
_MORE = 2.0
"""Where only this moment is known, so many times as much is notable."""
_LITTLE = 0.05
_LEAST_CORES = 0.1
"""Waiting of less than this is noise."""
_REST_SECONDS = 86_400.0
_LOW = 12
"""So many of the lowest hosts may take a domain."""
_TENTH, _LEAST_MEMORY = 0.1, 0.01
"""Of the memory of a host: a domain that frees so much is enough, and less does not help."""
_DIGITS = 9
_MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits on a host: the share of the CPU that its domains want, and of the last minute for memory. ``lasting``:
    is the first known by their histories? ``domains``: those that were observed on it."""

    host: ProjectedHost
    domains: list[ProjectedDomain]
    cpu: float
    lasting: bool
    memory: float

    def __str__(self) -> str:
        if self.resource == CPU:
            return f"domains wait for {percent(self.cpu)} of the CPU they want"
        return f"domains had to wait for memory during {percent(self.memory)} of the last minute"

    @property
    def notable(self) -> bool:
        """Is the host contended?"""
        return self.resource == CPU or self.memory > _NOTABLE

    @property
    def little(self) -> bool:
        """May the host take a domain that waits elsewhere?"""
        return self.cpu <= _LITTLE and self.memory <= _LITTLE

    @property
    def left(self) -> bool:
        """Has one of the domains left the host, in the projected fleet?"""
        return any(domain.host is not self.host for domain in self.domains)

    @property
    def resource(self) -> int:
        """What the domains wait for."""
        return CPU if self.cpu > _NOTABLE * (1.0 if self.lasting else _MORE) else MEMORY


def waiting(fleet: Fleet, host: ProjectedHost, domains: list[ProjectedDomain]) -> Waiting:
    """What waits on a host on which these domains were observed."""
    free = [domain for domain in domains if _measured(domain)]
    share = _share([(_waited_now(domain), domain.now) for domain in free])
    pressure = host.facts.cpu_pressure
    if pressure is not None and pressure < _LITTLE:
        share = 0.0
    past = [_usual(fleet, domain) for domain in free] if share > 0.0 else []
    lasting = 2 * past.count(None) < len(past)
    if lasting:
        share = min(share, _share([one for one in past if one is not None]))
    return Waiting(host, domains, share, lasting, host.facts.memory_pressure or 0.0)


def words(fleet: Fleet, host: ProjectedHost) -> tuple[str, int]:
    """What is said of a move that relieves the host, and the resource that it is about."""
    found = waiting(fleet, host, [domain for domain in fleet.domains if domain.facts.host == host.name])
    return f"relieves {host.name}, whose {found}", found.resource


def relieve(fleet: Fleet, rules: Rules, floors: Floors, result: Placement) -> None:
    """Move a domain off each contended host that none leaves yet, note the purpose, and the hosts that no move helps.
    If there is no other reason to act, the first of the moves is one."""
    hosts = [found for found in _all(fleet) if found.notable and not found.left]
    if not hosts:
        return
    hosts.sort(key=lambda found: (-max(found.cpu, found.memory), found.host.index))
    relief, helpless = _Relief(fleet, rules, floors), []
    left = len(fleet.domains) if fleet.policy.max_moves is None else fleet.policy.max_moves
    left -= sum(domain.moved for domain in fleet.domains)
    for found in hosts:
        way = relief.way(found) if left > 0 else None
        if way is not None:
            relief.take(*way)
            result.reliefs[way[0].facts.uuid] = CONTENTION
            result.trigger = result.trigger or f"On {found.host.name}, {found}."
            left -= 1
        elif left > 0:
            helpless.append(f"on {found.host.name}, {found}")
    if helpless:
        more = f"; {len(helpless) - _MOST_NAMED} more hosts are like that" if len(helpless) > _MOST_NAMED else ""
        result.notes.append(f"No move helps where domains have to wait: {'; '.join(helpless[:_MOST_NAMED])}{more}.")


class _Relief:
    """Ways to relieve contended hosts."""

    def __init__(self, fleet: Fleet, rules: Rules, floors: Floors) -> None:
        self.fleet, self.rules = fleet, rules
        self.calm = {found.host.index for found in _all(fleet) if found.little}
        self.uses = Uses(fleet, floors)

    def way(self, found: Waiting) -> tuple[ProjectedDomain, ProjectedHost] | None:
        """The domain that should leave the host, and the host that it should go to; None if there is no such pair."""
        resource = found.resource
        for domain in self._candidates(found):
            for host in self._destinations(resource):
                if self._fits(domain, host, resource):
                    return domain, host
        return None

    def take(self, domain: ProjectedDomain, host: ProjectedHost) -> None:
        """Move a domain."""
        source = domain.host
        self.fleet.move(domain, host)
        self.uses.look(source)
        self.uses.look(host)

    def _candidates(self, found: Waiting) -> list[ProjectedDomain]:
        """The domains that may leave: of those that wait, the one that frees most first, then the cheapest."""
        movable = [
            domain
            for domain in found.domains
            if not domain.bundle and not self._rests(domain) and self.rules.fixed(domain) is None
        ]
        if found.resource == CPU:
            movable = [d for d in movable if _measured(d) and _share([(_waited_now(d), d.now)], 0.0) > _NOTABLE]
            enough = sum(_waited_now(domain) for domain in found.domains if _measured(domain))
            return sorted(movable, key=lambda d: (-min(d.now, enough), d.copy_mib, d.index))
        total = found.host.facts.memory_total_mib or 0.0
        movable, enough = [d for d in movable if d.demand[MEMORY] >= _LEAST_MEMORY * total], _TENTH * total
        return sorted(movable, key=lambda d: (-min(d.demand[MEMORY], enough), d.copy_mib, d.index))

    def _rests(self, domain: ProjectedDomain) -> bool:
        """Was it moved within a day?"""
        return self.fleet.moved_within(domain, _REST_SECONDS)

    def _destinations(self, resource: int) -> Iterator[ProjectedHost]:
        """The lowest hosts on which little waits."""
        fleet = self.fleet
        hosts = [host for host in fleet.counted() if host.index in self.calm and self.rules.closed(host) is None]
        load = fleet.peak if resource == CPU else lambda host: host.use[MEMORY]
        yield from sorted(hosts, key=lambda host: (load(host), host.index))[:_LOW]

    def _fits(self, domain: ProjectedDomain, host: ProjectedHost, resource: int) -> bool:
        """May the domain go there, below cpu_limit at the peaks, and does that leave the fleet level?"""
        fleet, source = self.fleet, domain.host
        if self.rules.refuses(domain, host) is not None:
            return False
        if fleet.peak_if(host, domain) > fleet.policy.cpu_limit + ROUNDING:
            return False
        if resource == MEMORY and host.use[MEMORY] + domain.demand[MEMORY] * host.scale[MEMORY] >= source.use[MEMORY]:
            return False
        accepted = fleet.policy.accepted
        if not self.uses.level(accepted):
            return True
        self.take(domain, host)
        level = self.uses.level(accepted)
        self.take(domain, source)
        return level


def _all(fleet: Fleet) -> list[Waiting]:
    """What waits on each host that takes part."""
    observed: dict[str, list[ProjectedDomain]] = {}
    for domain in fleet.domains:
        if not domain.new:
            observed.setdefault(domain.facts.host, []).append(domain)
    return [waiting(fleet, host, observed.get(host.name, [])) for host in fleet.counted()]


def _measured(domain: ProjectedDomain) -> bool:
    """Is it known how long it waits, and does it wait for others and not for its own cap?"""
    facts = domain.facts
    return not facts.cap and facts.cpu_cores is not None and facts.cpu_ready is not None


def _waited_now(domain: ProjectedDomain) -> float:
    return max(0.0, domain.now - (domain.facts.cpu_cores or 0.0) * domain.home.facts.speed)


def _usual(fleet: Fleet, domain: ProjectedDomain) -> tuple[float, float] | None:
    """The mean of the cores that a domain waited for and wanted over its history; None if that is not known."""
    missed = domain.demand[CPU_READY]
    if domain.judged_now or fleet.demand.got(domain.facts, domain.past, missed) is None:
        return None
    return missed, sum(domain.past) / len(domain.past)


def _share(cores: Iterable[tuple[float, float]], least: float = _LEAST_CORES) -> float:
    """The share of what is wanted that is waited for, of pairs of both; 0 if that is less than ``least``."""
    waited = wanted = 0.0
    for one, other in cores:
        waited, wanted = waited + one, wanted + other
    return round(waited / wanted, _DIGITS) if waited > least and wanted > 0.0 else 0.0
