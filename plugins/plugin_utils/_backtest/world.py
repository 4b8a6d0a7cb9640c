# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The hosts and domains of a recording, as they would have been under other decisions.

What is assumed:

- A domain wants what it wanted in the recording, cores / (1 - ready), wherever it is. Between two times that changes
  evenly, or with ``held`` all at once at the second one. Where it is not known at one of them, the other one counts;
  where at neither, the domain wants nothing.
- A host gives its domains what it does not use itself. Where they want more, each gets the same share of what it wants.
  A domain gets at most its vCPUs and its cap, in threads of its host. The rest is unserved: nothing is made up for
  later.
- A domain begins on the host where it really began if that is awake here, else on the one that is awake and has the
  most free memory. One that ended is gone.
- A copy has an end; until then the domain runs on the source, gets ``COPYING`` less, and has its memory on both hosts.
- A host that is asleep needs no power, one that wakes or is idle that of no load.
"""

from __future__ import annotations

import math
import typing as t
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.recording import (
    RecordedDomain,
    RecordedHost,
    Recording,
)

COPYING = 0.1
"""The share of its CPU that a domain loses while it is copied (Beloglazov and Buyya, CCPE 2012)."""

_PIECES = 5
"""A step is divided into so many pieces, and at each change; in a piece all counts as it is in its middle."""
_ROUNDING = 1e-9


@dataclass(slots=True)
class Copy:
    """A move that is made. Times are seconds since the recording began."""

    domain: str
    source: str
    destination: str
    mib: float
    begin: float
    end: float


@dataclass(slots=True)
class WorldHost:
    """A host at one time.

    residents: the UUIDs of its domains, in the order in which they came. marks: what runs stored on it. asleep_since,
    sleeps_at: seconds since the recording began. past, own_past: the fraction of its CPU that was in use and the
    threads that it kept busy itself, at the last times. used: that fraction at all times, None where it slept.
    """

    facts: RecordedHost
    awake: bool
    past: deque[float | None]
    own_past: deque[float | None]
    residents: dict[str, None] = field(default_factory=dict)
    marks: dict[str, t.Any] = field(default_factory=dict)
    asleep_since: float = 0.0
    sleeps_at: float | None = None
    used: list[float | None] = field(default_factory=list)

    def own(self, index: int) -> float | None:
        """The threads that it keeps busy itself at one time; None where not known."""
        own = self.facts.own_cores
        return own[index] if isinstance(own, Sequence) else own


@dataclass(slots=True)
class WorldDomain:
    """A domain at one time. host: None while it does not run. moved_at: seconds since the recording began. cores,
    ready: the cores of speed 1 that it got at the last times, and the share that it waited. wanted, unserved: sums over
    time, in core seconds."""

    facts: RecordedDomain
    cores: deque[float | None]
    ready: deque[float | None]
    host: str | None = None
    moved_at: float | None = None
    wanted: float = 0.0
    unserved: float = 0.0

    def most(self, speed: float) -> float:
        """The cores that it can use on a host of this speed."""
        threads = float(self.facts.vcpus)
        return speed * (min(threads, self.facts.cap / 100.0) if self.facts.cap else threads)


@dataclass(slots=True)
class Totals:
    """Sums over time: core seconds, seconds of hosts, joules (None where the power of a host is not known)."""

    wanted: float = 0.0
    unserved: float = 0.0
    awake: float = 0.0
    above: float = 0.0
    full: float = 0.0
    joules: float | None = 0.0
    sleeps: int = 0
    wakes: int = 0


class _Span(t.NamedTuple):
    """The part of a step in which a domain is on a host, seconds since the recording began. What it wants at the begin
    and the end of the step; copied_from: it is copied from then on."""

    domain: WorldDomain
    first: float
    last: float
    begin: float
    end: float
    copied_from: float


class World:
    """A recording on its way through time. limit: above this fraction of its CPU a host counts as too full.

    ``keep``: how many of the last times are remembered. ``held``: see above."""

    def __init__(self, recording: Recording, *, keep: int, limit: float, held: bool = False) -> None:
        self.recording, self._limit, self._held, self.index = recording, limit, held, 0
        self.totals = Totals()
        self.copies: list[Copy] = []
        self.hosts = {
            name: WorldHost(host, not (host.asleep and host.asleep[0]), deque(maxlen=keep), deque(maxlen=keep))
            for name, host in recording.hosts.items()
        }
        self.domains = {
            uuid: WorldDomain(domain, deque(maxlen=keep), deque(maxlen=keep))
            for uuid, domain in recording.domains.items()
        }
        if any(host.power is None for host in recording.hosts.values()):
            self.totals.joules = None
        self._changes: dict[int, list[str]] = {}
        for uuid, domain in recording.domains.items():
            ran = False
            for index, name in enumerate(domain.where):
                if (name is not None) != ran:
                    self._changes.setdefault(index, []).append(uuid)
                    ran = not ran
            if domain.where[0] is not None:
                self.hosts[domain.where[0]].awake = True
        self._begin_and_end()

    @property
    def seconds(self) -> float:
        """The seconds since the recording began."""
        return self.index * self.recording.step

    def wanted(self, domain: WorldDomain) -> float | None:
        """The cores that a domain wants now; None where not known."""
        return domain.facts.wanted[self.index]

    def share(self, host: WorldHost) -> tuple[float, float]:
        """The cores that the domains of a host could use now, and the share of them that they get."""
        speed = host.facts.speed
        asked = 0.0
        for uuid in host.residents:
            domain = self.domains[uuid]
            asked += min(self.wanted(domain) or 0.0, domain.most(speed))
        has = max(0.0, host.facts.threads - (host.own(self.index) or 0.0)) * speed
        return asked, 1.0 if asked <= has else has / asked

    def used(self, host: WorldHost, asked: float, share: float) -> float:
        """The fraction of its CPU that is in use."""
        threads = asked * share / host.facts.speed + (host.own(self.index) or 0.0)
        return min(1.0, threads / host.facts.threads)

    def held_mib(self, host: WorldHost) -> float:
        """The memory of the domains of a host, and of those that are copied to it."""
        held = sum([self.domains[uuid].facts.memory_mib for uuid in host.residents])
        return held + sum([copy.mib for copy in self.copies if copy.destination == host.facts.name])

    def record(self) -> None:
        """Remember what is observed now."""
        for host in self.hosts.values():
            if not host.awake:
                host.used.append(None)
                host.past.append(None)
                host.own_past.append(None)
                continue
            asked, share = self.share(host)
            used = self.used(host, asked, share)
            host.used.append(used)
            host.past.append(used)
            host.own_past.append(host.own(self.index))
            speed = host.facts.speed
            for uuid in host.residents:
                domain = self.domains[uuid]
                wanted = self.wanted(domain)
                domain.cores.append(None if wanted is None else min(wanted, domain.most(speed)) * share)
                domain.ready.append(1.0 - share)
        for domain in self.domains.values():
            if domain.host is None and domain.cores:
                domain.cores.append(None)
                domain.ready.append(None)

    def wake(self, name: str) -> None:
        """A host is awake from now on."""
        host = self.hosts[name]
        if not host.awake:
            host.awake = True
            self.totals.wakes += 1

    def sleep(self, name: str, at: float) -> None:
        """A host sleeps from then on, if no domain is on it then."""
        self.hosts[name].sleeps_at = max(at, self.seconds)

    def advance(self) -> None:
        """Let one step pass."""
        begin, end = self.seconds, self.seconds + self.recording.step
        spans = self._moving(begin, end)
        moving = {copy.domain for copy in self.copies}
        for host in self.hosts.values():
            if host.awake:
                self._pass(host, moving, spans.get(host.facts.name, []), begin, end)
        for copy in self.copies:
            if copy.end <= end:
                self.put(copy.domain, copy.destination)
                self.domains[copy.domain].moved_at = copy.end
        self.copies = [copy for copy in self.copies if copy.end > end]
        self.index += 1
        self._begin_and_end()

    def put(self, uuid: str, name: str) -> None:
        """Put a domain on a host, at once and at no cost."""
        domain = self.domains[uuid]
        if domain.host is not None:
            del self.hosts[domain.host].residents[uuid]
        domain.host = name
        self.hosts[name].residents[uuid] = None

    def _begin_and_end(self) -> None:
        """Domains that run from now on, or no longer."""
        for uuid in self._changes.get(self.index, ()):
            domain = self.domains[uuid]
            name = domain.facts.where[self.index]
            if name is not None:
                self.put(uuid, self._open(name))
            elif domain.host is not None:
                del self.hosts[domain.host].residents[uuid]
                domain.host = None
                self.copies = [copy for copy in self.copies if copy.domain != uuid]

    def _open(self, name: str) -> str:
        """This host if it is awake, else the one with the most room; this one if all sleep."""
        awake = [host for host in self.hosts.values() if host.awake]
        if self.hosts[name].awake or not awake:
            self.hosts[name].awake = True
            return name
        return max(awake, key=self._free_mib).facts.name

    def _free_mib(self, host: WorldHost) -> float:
        return host.facts.memory_mib - host.facts.own_mib - self.held_mib(host)

    def _moving(self, begin: float, end: float) -> dict[str, list[_Span]]:
        """The parts of a step in which domains with copies are on hosts, by host."""
        spans: dict[str, list[_Span]] = {}
        since: dict[str, tuple[float, str]] = {}
        for copy in self.copies:
            domain = self.domains[copy.domain]
            came, _name = since.get(copy.domain, (begin, copy.source))
            until = min(copy.end, end)
            if until > came:
                first, last = self._wants(domain)
                spans.setdefault(copy.source, []).append(_Span(domain, first, last, came, until, copy.begin))
            since[copy.domain] = (until, copy.destination)
        for uuid, (came, name) in since.items():
            if came < end:
                domain = self.domains[uuid]
                first, last = self._wants(domain)
                spans.setdefault(name, []).append(_Span(domain, first, last, came, end, math.inf))
        return spans

    def _wants(self, domain: WorldDomain) -> tuple[float, float]:
        """What the domain wants at the begin and the end of the step."""
        first, last = _both(domain.facts.wanted[self.index], domain.facts.wanted[self.index + 1])
        return (first, first) if self._held else (first, last)

    def _pass(self, host: WorldHost, moving: set[str], spans: list[_Span], begin: float, end: float) -> None:
        """Let one step pass on a host that is awake."""
        here = [self.domains[uuid] for uuid in host.residents if uuid not in moving]
        staying = [(domain, *self._wants(domain)) for domain in here]
        own_first, own_last = _both(host.own(self.index), host.own(self.index + 1))
        if host.sleeps_at is not None:
            asleep_from, host.sleeps_at = host.sleeps_at, None
            comes = any(copy.destination == host.facts.name for copy in self.copies)
            if not staying and not comes and all(span.end <= asleep_from for span in spans):
                if asleep_from < end:
                    host.awake, host.asleep_since, end = False, asleep_from, asleep_from
                    self.totals.sleeps += 1
                else:
                    host.sleeps_at = asleep_from
        facts = host.facts
        cuts = self._cuts(spans, begin, end)
        if spans or not self._all_served(facts, staying, max(own_first, own_last), end - begin):
            spans = [_Span(domain, first, last, begin, end, math.inf) for domain, first, last in staying] + spans
            self._serve(facts, spans, own_first, own_last, cuts)
            return
        # Most of the time a host has enough, and then it is enough to look at sums.
        first, last = own_first * facts.speed, own_last * facts.speed
        for _domain, one, other in staying:
            first += one
            last += other
        total = facts.threads * facts.speed
        for since, until in cuts:
            middle = self._part((since + until) / 2.0)
            self._count(facts, (first + (last - first) * middle) / total, until - since)

    def _all_served(
        self, facts: RecordedHost, staying: list[tuple[WorldDomain, float, float]], own: float, seconds: float
    ) -> bool:
        """Count what domains want that stay on a host where all of them get it; False if not all do."""
        asked = [0.0, 0.0]
        for domain, first, last in staying:
            if max(first, last) > domain.most(facts.speed):
                return False
            asked[0] += first
            asked[1] += last
        if max(asked) >= max(0.0, facts.threads - own) * facts.speed - _ROUNDING:
            return False
        for domain, first, last in staying:
            domain.wanted += (first + last) / 2.0 * seconds
        self.totals.wanted += sum(asked) / 2.0 * seconds
        return True

    def _serve(
        self,
        facts: RecordedHost,
        spans: list[_Span],
        own_first: float,
        own_last: float,
        cuts: list[tuple[float, float]],
    ) -> None:
        """Give the domains of a host what it has, piece by piece."""
        total, totals = facts.threads * facts.speed, self.totals
        for since, until in cuts:
            middle, length = (since + until) / 2.0, until - since
            part = self._part(middle)
            own = own_first + (own_last - own_first) * part
            here = [span for span in spans if span.begin <= middle < span.end]
            wants = [span.first + (span.last - span.first) * part for span in here]
            asks = [min(want, span.domain.most(facts.speed)) for span, want in zip(here, wants, strict=True)]
            asked, has = sum(asks), max(0.0, facts.threads - own) * facts.speed
            share = 1.0 if asked <= has else has / asked
            served = 0.0
            for span, want, ask in zip(here, wants, asks, strict=True):
                got = ask * share * (1.0 - COPYING if span.copied_from <= middle else 1.0)
                span.domain.wanted += want * length
                span.domain.unserved += (want - got) * length
                totals.wanted += want * length
                totals.unserved += (want - got) * length
                served += got
            pressed = (asked + own * facts.speed) / total
            totals.full += length if pressed >= 1.0 - _ROUNDING else 0.0
            self._count(facts, pressed, length, (served + own * facts.speed) / total)

    def _count(self, facts: RecordedHost, pressed: float, seconds: float, used: float | None = None) -> None:
        """Count time of a host that is awake, by the fractions of its CPU that are asked for and used."""
        totals = self.totals
        totals.awake += seconds
        totals.above += seconds if pressed > self._limit else 0.0
        if totals.joules is not None and facts.power is not None:
            totals.joules += facts.power.watts(pressed if used is None else used) * seconds

    def _part(self, moment: float) -> float:
        """How far the step has come at a time."""
        return (moment - self.seconds) / self.recording.step

    def _cuts(self, spans: list[_Span], begin: float, end: float) -> list[tuple[float, float]]:
        """The pieces of a step."""
        piece = self.recording.step / _PIECES
        edges = {begin + number * piece for number in range(_PIECES)} | {end}
        for span in spans:
            edges |= {span.begin, span.end, span.copied_from}
        return list(pairwise(sorted(edge for edge in edges if begin <= edge <= end)))


def _both(first: float | None, last: float | None) -> tuple[float, float]:
    """Two values of which one may not be known."""
    if first is None:
        first = last or 0.0
    return first, first if last is None else last
