# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Hosts, domains and groups of domains as a plan leaves them. Each change of a group is O(1).

A group counts its members by place: a host, or the failure domain of a host. A member in flight is in the places of
both its hosts, and counts once if that is the same place.
"""

from __future__ import annotations

import math
import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.demand import Demand, demanded_cores
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import RESOURCES, Vector
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import (
    FailureDomains,
    GroupRule,
    Pin,
    Policy,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import NOWHERE, Domain, Host

ROUNDING = 1e-9
"""Tolerance of comparisons with a limit, because fractions are sums of many parts."""


class ProjectedHost:
    """A host with its projected load. ``use``: fractions, one for each of RESOURCES.

    ``ceiling``: domains may come to the host up to this use of its CPU; set by strategies that ask detectors.
    ``now``: the cores of speed 1 that are wanted on it at this moment. ``past``: those that would have been wanted in
    each step of the history, if its domains had always been there; empty if there is no history. ``peak``: the use of
    its CPU that follows from it, a fraction; None if it has changed since it was last asked for. ``judged_now``: is
    nothing known of what it did before?
    ``unlimited``: the names of its domains whose maximum memory is not known; such domains are not moved.
    """

    __slots__ = (
        "ceiling",
        "committed_mib",
        "counted",
        "domains",
        "drained",
        "facts",
        "huge_mib",
        "ignored",
        "index",
        "judged_now",
        "known",
        "now",
        "past",
        "peak",
        "reserved_cores",
        "scale",
        "unlimited",
        "use",
    )

    def __init__(self, facts: Host, index: int, *, drained: bool, ignored: bool) -> None:
        self.facts, self.index, self.drained, self.ignored = facts, index, drained, ignored
        threads, total = facts.threads or 0, facts.memory_total_mib or 0.0
        self.known = bool(threads and total) and facts.usage is not None and facts.memory_available_mib is not None
        self.counted = False
        self.drain(drained)
        per_thread = 1.0 / threads if threads else 0.0
        per_core = per_thread / facts.speed
        self.scale: Vector = (per_core, 1.0 / total if total else 0.0, per_core, per_thread)
        self.use = [0.0] * len(RESOURCES)
        self.committed_mib = self.reserved_cores = 0.0
        self.ceiling = math.inf
        self.huge_mib = max((pages.free_mib for pages in facts.hugepages or ()), default=0.0)
        self.domains: dict[int, ProjectedDomain] = {}
        self.unlimited: list[str] = []
        self.now = 0.0
        self.past: list[float] = []
        self.peak: float | None = None
        self.judged_now = True

    def drain(self, drained: bool) -> None:
        """Mark it as drained, or as not drained."""
        answers = self.known and self.facts.answers and self.facts.marks_problem is None
        self.drained, self.counted = drained, answers and not drained and not self.ignored

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def state(self) -> str:
        """The state that the plan lists: that of the snapshot, or what the policy makes of a host that answers."""
        if not self.facts.answers:
            return self.facts.state
        return "ignored" if self.ignored else "drained" if self.drained else self.facts.state


class ProjectedDomain:
    """A domain with its projected host. ``demand``: cores, MiB, cores, vCPUs, one for each of RESOURCES.

    ``home`` is the host that it runs on now, ``host`` the projected one. ``bundle``: the domains that have to share a
    host with it, itself included; empty if there are none. ``price``: what a move of it must gain, in score.
    ``now``, ``past``: as of its host. ``rise``: the most that it adds to the peak of a host, in cores; ``judged_now``:
    is its demand that of this moment, because too little of its history is known?
    ``wishes``: does a soft rule concern it? ``level``, ``priority``, ``migration``: what the policy's overrides say
    about it (see Override); level ``full``, priority 0 and the policy's migration if they say nothing.
    """

    __slots__ = (
        "bundle",
        "committed_mib",
        "copy_mib",
        "demand",
        "excluded",
        "facts",
        "groups",
        "home",
        "host",
        "huge_mib",
        "important",
        "index",
        "judged_now",
        "known",
        "level",
        "may_restart",
        "migration",
        "now",
        "past",
        "pins",
        "price",
        "priority",
        "rise",
        "wishes",
    )

    def __init__(self, facts: Domain, index: int, home: ProjectedHost, policy: Policy) -> None:
        self.facts, self.index, self.home, self.host = facts, index, home, home
        cores, memory, speed = demanded_cores(facts), memory_of(facts, policy.memory_basis), home.facts.speed
        self.known = (
            cores is not None and memory is not None and facts.maximum_mib is not None and facts.vcpus is not None
        )
        wanted, used = (cores or 0.0) * speed, (facts.cpu_cores or 0.0) * speed
        own, maximum = memory or 0.0, facts.maximum_mib or memory or 0.0
        huge = facts.hugepages is True
        self.demand: Vector = (wanted, 0.0 if huge else own, max(0.0, wanted - used), float(facts.vcpus or 0))
        self.committed_mib = 0.0 if huge else maximum
        self.huge_mib = maximum if huge else 0.0
        self.copy_mib = memory_of(facts, "maximum" if huge else "used") or 0.0
        self.price = policy.move_cost + policy.move_cost_per_gib * self.copy_mib / 1024.0
        self.excluded: str | None = None
        self.pins: tuple[Pin, ...] = ()
        self.groups: tuple[Group, ...] = ()
        self.bundle: tuple[ProjectedDomain, ...] = ()
        self.wishes = self.important = self.may_restart = False
        self.now = self.rise = wanted
        self.past: list[float] = []
        self.judged_now = True
        self.level, self.priority, self.migration = "full", 0, policy.migration

    def remember(self, demand: Demand) -> None:
        """Take its history into account."""
        found = demand.series(self.facts, self.home.facts.speed)
        series = demand.steady(self.now) if found is None else found[0]
        if found is not None:
            _now, memory, _waited, vcpus = self.demand
            self.demand = (demand.of_domain(series, self.now), memory, found[1], vcpus)
            self.judged_now = False
        self.past, self.rise = series, demand.rise(series, self.now)

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def new(self) -> bool:
        """Does it not run anywhere yet?"""
        return self.home.facts is NOWHERE

    @property
    def moved(self) -> bool:
        return self.host is not self.home

    @property
    def leaving(self) -> bool:
        """Is it on its way to another host, by a migration that is under way?"""
        facts = self.facts
        return facts.destination is not None or (facts.job or {}).get("operation") == "migration_out"


def memory_of(domain: Domain, basis: str) -> float | None:
    """The memory of a domain in MiB by ``basis``; if that is not known, the next larger measure that is."""
    sizes = {"used": domain.rss_mib, "current": domain.current_mib, "maximum": domain.maximum_mib}
    for name in ("used", "current", "maximum")[("used", "current", "maximum").index(basis) :]:
        if sizes[name] is not None:
            return sizes[name]
    return None


Place = int | str


class Group:
    """The domains of one rule. ``kind``: the policy's key. ``most``: how many may be in one place, for kinds that keep
    domains apart. ``places``: the place of each host by its index, None if not known. ``leaving``: the members that are
    on their way to another host."""

    __slots__ = ("_inside", "_placed", "kind", "leaving", "members", "most", "must", "name", "places")

    def __init__(
        self, kind: str, name: str, rule: GroupRule, members: list[ProjectedDomain], places: list[Place | None]
    ):
        self.kind, self.name, self.must, self.members, self.places = kind, name, rule.must, members, places
        self.most = rule.most if isinstance(rule, FailureDomains) else 1
        self.leaving = [member for member in members if member.leaving]
        self._inside: dict[Place | None, dict[int, int]] = {}
        self._placed: dict[int, int] = {}

    def enter(self, domain: ProjectedDomain, host: ProjectedHost) -> None:
        """Count a member on this host too."""
        inside = self._inside.setdefault(self.places[host.index], {})
        inside[domain.index] = inside.get(domain.index, 0) + 1
        self._placed[domain.index] = self._placed.get(domain.index, 0) + 1

    def leave(self, domain: ProjectedDomain, host: ProjectedHost) -> None:
        """Stop counting a member on this host."""
        for counts in (self._inside[self.places[host.index]], self._placed):
            counts[domain.index] -= 1
            if not counts[domain.index]:
                del counts[domain.index]

    def others(self, domain: ProjectedDomain, host: ProjectedHost) -> int:
        """The number of other members in the place of the host."""
        inside = self._inside.get(self.places[host.index])
        return len(inside) - (domain.index in inside) if inside else 0

    def elsewhere(self, domain: ProjectedDomain, host: ProjectedHost) -> int:
        """The number of other members that are in another place."""
        return len(self._placed) - (domain.index in self._placed) - self.others(domain, host)

    def neighbour(self, domain: ProjectedDomain, host: ProjectedHost) -> ProjectedDomain | None:
        """The first of the other members in the place of the host."""
        inside = self._inside.get(self.places[host.index]) or ()
        return next((member for member in self.members if member is not domain and member.index in inside), None)

    def absent(self, domain: ProjectedDomain, host: ProjectedHost) -> ProjectedDomain:
        """The first of the members ``elsewhere``; there must be one."""
        inside = self._inside.get(self.places[host.index]) or ()
        return next(
            member
            for member in self.members
            if member is not domain and member.index in self._placed and member.index not in inside
        )

    def crowded(self) -> bool:
        """Are too many members in one place?"""
        return any(len(inside) > self.most for place, inside in self._inside.items() if place is not None)

    def taken(self) -> list[Place | None]:
        """The places with members."""
        return [place for place, inside in self._inside.items() if inside]

    def parted(self) -> bool:
        """Are the members in more than one place?"""
        return all(len(inside) < len(self._placed) for inside in self._inside.values())

    def concerns(self, domains: t.Iterable[ProjectedDomain]) -> bool:
        """Is one of the domains a member?"""
        return any(self in domain.groups for domain in domains)
