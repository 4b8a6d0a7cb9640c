# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What any source has measured, as samples of hosts and domains, and the recording that is made of it.

Counterfactual: a domain wants what it used divided by the share of its wanted time that it did not wait,
cores / (1 - ready), at most its vCPUs and its cap, whichever host it is on.
"""

from __future__ import annotations

import itertools
import math
import statistics
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.recording import (
    RecordedDomain,
    RecordedHost,
    Recording,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import SnapshotError
from ansible_collections.virtops.balance.plugins.plugin_utils._power_model import power
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.history import LARGEST
from ansible_collections.virtops.balance.plugins.plugin_utils._text import counted, several, shown

Json = Mapping[str, t.Any]

STEP_SECONDS = 300
"""The step where none is named and samples are closer together: how often rebalance usually runs."""
_MOST_READY = 0.99
"""A domain that waited for longer is taken to have wanted a hundred times what it got: more than that is a guess."""
_HOLE_SECONDS, _HOLE_STEPS = 6 * 3600.0, 12
"""Where nobody looked at any host for longer than both, what was before is another recording."""
_MOST_NAMED = 5
_MOST_BUSY = 1.1
"""What is measured may be a little more than the threads of a host; this many times as much is a mistake."""
_MOST_STEPS = 100_000
# What the replay knows better, because in it other decisions were made.
_OF_THE_MOMENT = frozenset(
    (
        *("asleep", "cpu_cores", "cpu_ready", "destination", "history", "history_problem", "host", "job", "jobs"),
        *("known_last", "last_moved_at", "marks", "marks_problem", "problem", "reason", "state", "unfinished_move"),
    )
)

_SUITS_ANY_HOST = {"type": "kvm", "cpu": {"mode": "custom", "model": None}, "disks": [], "interfaces": []}


class DomainSample(t.NamedTuple):
    """A domain at a time (seconds since 1970), or in the time since the sample before. None = not known."""

    at: float
    host: str
    uuid: str
    name: str
    cores: float | None
    ready: float | None = None
    memory_mib: float | None = None
    vcpus: int | None = None


class HostSample(t.NamedTuple):
    """A host at a time (seconds since 1970). usage: the fraction of its CPU in use. None = not known."""

    at: float
    host: str
    usage: float | None
    asleep: bool = False


@dataclass(slots=True)
class Samples:
    """What a source has measured, in any order, and what is known of hosts (by name) and domains (by UUID) besides, in
    the form of a snapshot."""

    domains: list[DomainSample] = field(default_factory=list)
    hosts: list[HostSample] = field(default_factory=list)
    host_facts: dict[str, Json] = field(default_factory=dict)
    domain_facts: dict[str, Json] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    """Hosts of which samples were forgotten, and that were awake in the last of these."""

    def know(self, snapshot: Json) -> None:
        """Take the facts of a snapshot. They give way to facts of a later one, and stay where that one lacks them."""
        for name, facts in snapshot["hosts"].items():
            if facts.get("state") != "unknown":
                self.host_facts[name] = {**self.host_facts.get(name, {}), **facts}
        self.domain_facts.update(snapshot["domains"])

    def last(self, minutes: float) -> None:
        """Forget what was sampled earlier than so many minutes before the end."""
        since = max((sample.at for sample in self.domains), default=0.0) - 60 * minutes
        self.forget(since, since)

    def forget(self, domains: float, hosts: float) -> None:
        """Forget samples of domains and of hosts that are from earlier than these times."""
        # One that went to sleep says nothing more, and is there.
        asleep = {
            sample.host: sample.asleep
            for sample in sorted((one for one in self.hosts if one.at < hosts), key=lambda one: one.at)
        }
        earlier = {sample.host for sample in self.domains if sample.at < domains} | asleep.keys()
        self.left |= {name for name in earlier if not asleep.get(name)}
        self.domains = [sample for sample in self.domains if sample.at >= domains]
        self.hosts = [sample for sample in self.hosts if sample.at >= hosts]


class Read(t.NamedTuple):
    """A recording, and a sentence about each thing that had to be assumed for it."""

    recording: Recording
    notes: list[str]


def recording_of(samples: Samples, step: float | None = None) -> Read:
    """Make a recording with times ``step`` seconds apart, None = as the samples are, and at least 5 minutes.

    The value at a time is the mean of the samples that are nearest to it. Where nobody looked at a host for a while,
    its domains are taken to have gone on as they were; where nobody looked at any host for hours, only what came after
    that counts. Raises SnapshotError where it cannot be made.
    """
    if not samples.domains:
        raise SnapshotError("There is no sample of any domain, so there is nothing to replay.")
    if step is not None and _figure(step) is None:
        raise SnapshotError(f"The step must be a number of seconds above 0, not {shown(step)}.")
    seconds = max(STEP_SECONDS, _spacing(samples)) if step is None else float(step)
    notes: list[str] = []
    begin, end = _without_holes(samples, seconds, notes)
    steps = math.floor((end - begin) / seconds + 0.5) + 1
    if begin == end:
        raise SnapshotError("There is one time only to replay; at least two runs are needed.")
    if steps < 2:
        raise SnapshotError(
            f"The samples cover {(end - begin) / 60:g} minutes, which is less than one step of {seconds:g} seconds. "
            "Record for longer, or name a shorter step with -e backtest_step=SECONDS."
        )
    if steps > _MOST_STEPS:
        raise SnapshotError(
            f"The samples cover {(end - begin) / 86400:.0f} days, {steps} steps of {seconds:g} seconds. "
            "Check their times, or name a longer step with -e backtest_step=SECONDS."
        )
    grid = _Grid(begin, seconds, steps)
    hosts = _hosts(samples, grid, notes)
    columns = _columns(samples, grid, hosts, notes)
    domains = _domains(columns, samples, hosts, notes)
    _tell_what_cannot_be(columns, domains, hosts, grid, notes)
    hosts = _with_own_load(hosts, columns, domains, grid)
    recording = Recording(
        begins_at=datetime.fromtimestamp(begin, tz=UTC), step=seconds, steps=steps, hosts=hosts, domains=domains
    )
    return Read(recording, notes)


@dataclass(frozen=True, slots=True)
class _Grid:
    begin: float
    step: float
    steps: int

    def index(self, at: float) -> int:
        return min(self.steps - 1, max(0, math.floor((at - self.begin) / self.step + 0.5)))


def _spacing(samples: Samples) -> float:
    """How many seconds samples of a host are usually apart."""
    times: dict[str, set[float]] = {}
    for sample in samples.domains:
        times.setdefault(sample.host, set()).add(sample.at)
    gaps = []
    for found in times.values():
        ordered = sorted(found)
        if len(ordered) > 1:
            gaps.append(statistics.median_low(b - a for a, b in itertools.pairwise(ordered)))
    # In whole minutes, whatever the jitter of a schedule.
    return 60.0 * round(statistics.median_low(gaps) / 60.0) if gaps else 0.0


def _without_holes(samples: Samples, step: float, notes: list[str]) -> tuple[float, float]:
    """Leave out what was sampled before the last hole, and return when the rest begins and ends."""
    times = sorted({sample.at for sample in samples.domains})
    most = max(_HOLE_SECONDS, _HOLE_STEPS * step)
    begin = next((later for now, later in itertools.pairwise(reversed(times)) if now - later > most), None)
    if begin is None:
        return times[0], times[-1]
    first = next(at for at in times if at > begin)
    samples.forget(first, first - step)
    notes.append(
        f"Nothing was recorded for {(first - begin) / 3600:.0f} hours before {_utc(first)}: what was recorded earlier "
        "is left out."
    )
    return first, times[-1]


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")


def _hosts(samples: Samples, grid: _Grid, notes: list[str]) -> dict[str, RecordedHost]:
    """The hosts whose threads are known, without their own load."""
    used = {name: _Means(grid.steps) for name in samples.host_facts}
    asleep: dict[str, list[bool]] = {}
    for sample in sorted(samples.hosts):
        place = grid.index(sample.at)
        used.setdefault(sample.host, _Means(grid.steps)).add(place, sample.usage)
        asleep.setdefault(sample.host, [False] * grid.steps)[place] = sample.asleep
    having = {sample.host for sample in samples.domains}
    # Hosts of another time, or of another fleet, are nowhere that a domain could go.
    gone = sorted(samples.left - having - {sample.host for sample in samples.hosts})
    if gone:
        notes.append(
            f"Hosts left out, because nothing of them was recorded in this time: {several(gone, _MOST_NAMED)}."
        )
    named = sorted({*samples.host_facts, *having}.difference(gone))
    hosts, unknown = {}, []
    for name in named:
        facts = samples.host_facts.get(name, {})
        threads, memory = _size(facts)
        if threads is None or memory is None:
            unknown.append(name)
            continue
        measured = used[name].values() if name in used else None
        hosts[name] = RecordedHost(
            name=name,
            threads=threads,
            memory_mib=memory,
            speed=_figure(facts.get("speed")) or 1.0,
            own_mib=_own_mib(name, facts, samples),
            power=power(facts.get("power_model"), f"The power_model of host {name!r}"),
            used=measured if measured and any(value is not None for value in measured) else None,
            asleep=_filled(asleep[name], measured) if any(asleep.get(name, ())) else None,
            facts=_lasting(facts),
        )
    lacking = [name for name in unknown if name in having]
    if lacking:
        raise SnapshotError(
            f"The threads and the memory of {several(lacking, _MOST_NAMED)} are not known. Name a saved "
            "snapshot of the "
            "hosts with -e backtest_snapshot=FILE, or a CSV file with the columns host,threads,memory_mib with "
            "-e backtest_hosts=FILE."
        )
    if unknown:
        notes.append(f"Left out, because nothing was ever known of it: {several(unknown, _MOST_NAMED)}.")
    return hosts


def _size(facts: Json) -> tuple[int | None, float | None]:
    """The threads and the memory (MiB) of a host, those from before where it sleeps."""
    before, cpu, memory = _part(facts, "asleep"), _part(facts, "cpu"), _part(facts, "memory")
    threads = _figure(cpu.get("threads")) or _figure(before.get("threads"))
    total = _figure(memory.get("total_mib")) or _figure(before.get("memory_total_mib"))
    return None if threads is None else max(1, int(threads)), total


def _part(facts: Json, key: str) -> Json:
    value = facts.get(key)
    return value if isinstance(value, Mapping) else {}


def _figure(value: t.Any) -> float | None:
    """A number above 0; all else is not known, as in a snapshot."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= LARGEST
    return value if known else None


def _own_mib(name: str, facts: Json, samples: Samples) -> float:
    """The memory that the host itself uses, as its last snapshot says; 0 where it is not known."""
    memory = _part(facts, "memory")
    total, available = _figure(memory.get("total_mib")), _figure(memory.get("available_mib"))
    if total is None or available is None:
        return 0.0
    resident = sum(
        _figure(_part(domain, "memory").get("rss_mib")) or 0.0
        for domain in samples.domain_facts.values()
        if domain.get("host") == name
    )
    return float(max(0.0, total - available - resident))


def _lasting(facts: Json) -> dict[str, t.Any]:
    return {key: value for key, value in facts.items() if key not in _OF_THE_MOMENT}


def _filled(asleep: list[bool], measured: Sequence[float | None] | None) -> list[bool]:
    """Asleep at times between two at which it was, unless something was measured there."""
    filled, now = list(asleep), False
    for place, known in enumerate(asleep):
        now = known or (now and (measured is None or measured[place] is None))
        filled[place] = now
    return filled


class _Means:
    """The mean of what was measured at each time."""

    def __init__(self, steps: int) -> None:
        self.sums: list[float] = [0.0] * steps
        self.counts: list[int] = [0] * steps

    def add(self, place: int, value: float | None) -> None:
        if value is not None:
            self.sums[place] += value
            self.counts[place] += 1

    def values(self) -> list[float | None]:
        return [total / count if count else None for total, count in zip(self.sums, self.counts, strict=True)]


@dataclass(slots=True)
class _Column:
    """A domain over time. Cores are those of a thread of speed 1. waited: is it known how long it waited for a CPU?"""

    name: str
    where: list[str | None]
    got: _Means
    wanted: _Means
    memory_mib: float | None = None
    vcpus: int | None = None
    waited: bool = False
    used: list[float | None] = field(default_factory=list)
    wants: list[float | None] = field(default_factory=list)


def _columns(samples: Samples, grid: _Grid, hosts: Mapping[str, RecordedHost], notes: list[str]) -> dict[str, _Column]:
    columns: dict[str, _Column] = {}
    looked = {(host.host, grid.index(host.at)) for host in samples.hosts if not host.asleep}
    for sample in sorted(samples.domains, key=lambda one: one.at):
        place, speed = grid.index(sample.at), hosts[sample.host].speed
        column = columns.get(sample.uuid)
        if column is None:
            nothing: list[str | None] = [None] * grid.steps
            column = columns[sample.uuid] = _Column(sample.name, nothing, _Means(grid.steps), _Means(grid.steps))
        looked.add((sample.host, place))
        column.name = sample.name
        column.where[place] = sample.host
        if sample.memory_mib is not None:
            column.memory_mib = max(sample.memory_mib, column.memory_mib or 0.0)
        if sample.vcpus is not None:
            column.vcpus = sample.vcpus
        if sample.cores is not None:
            ready = min(sample.ready or 0.0, _MOST_READY)
            column.got.add(place, sample.cores * speed)
            column.wanted.add(place, sample.cores * speed / (1.0 - ready))
        column.waited = column.waited or sample.ready is not None
    filled = 0
    for column in columns.values():
        column.used, column.wants = column.got.values(), column.wanted.values()
        filled += _fill(column, looked)
    if filled:
        share = filled / sum(sum(host is not None for host in column.where) for column in columns.values())
        notes.append(
            f"{share:.1%} of the values are missing, because nobody looked at the host; the value before "
            "stands for them."
        )
    silent = sum(not column.waited for column in columns.values())
    if silent:
        notes.append(
            f"How long {counted(silent, 'domain')} of {len(columns)} waited for a CPU is not known: they "
            "are taken to have wanted what they got."
        )
    return columns


def _fill(column: _Column, looked: t.Container[tuple[str, int]]) -> int:
    """Go on as it was where nobody looked at its host, and return at how many times."""
    filled, last = 0, max(place for place, host in enumerate(column.where) if host is not None)
    for place in range(1, last):
        before = column.where[place - 1]
        if column.where[place] is None and before is not None and (before, place) not in looked:
            column.where[place] = before
        if column.where[place] is not None and column.wants[place] is None:
            column.wants[place] = column.wants[place - 1]
            filled += 1
    return filled


def _domains(
    columns: Mapping[str, _Column], samples: Samples, hosts: Mapping[str, RecordedHost], notes: list[str]
) -> dict[str, RecordedDomain]:
    domains, shapeless, guessed, factless = {}, [], 0, 0
    for uuid, column in sorted(columns.items()):
        facts = samples.domain_facts.get(uuid, {})
        memory = _figure(_part(facts, "memory").get("maximum_mib")) or column.memory_mib
        if memory is None:
            shapeless.append(column.name)
            continue
        count = _figure(facts.get("vcpus"))
        vcpus = column.vcpus if count is None else max(1, int(count))
        if vcpus is None:
            guessed += 1
            vcpus = _guess(column, hosts)
        factless += not facts
        cap = _figure(facts.get("cap")) or 0.0
        most = min(vcpus, cap / 100.0) if cap else float(vcpus)
        domains[uuid] = RecordedDomain(
            uuid=uuid,
            name=column.name,
            vcpus=vcpus,
            memory_mib=memory,
            where=column.where,
            wanted=[
                None if value is None or where is None else min(value, most * hosts[where].speed)
                for value, where in zip(column.wants, column.where, strict=True)
            ],
            used=column.used if column.waited else None,
            cap=cap,
            facts=_lasting(facts) if facts else _SUITS_ANY_HOST,
        )
    if not domains:
        raise SnapshotError(
            "The memory of no domain is known. Name a saved snapshot of the hosts with -e backtest_snapshot=FILE."
        )
    if shapeless:
        notes.append(f"Left out, because their memory is not known: {several(shapeless, _MOST_NAMED)}.")
    if guessed:
        notes.append(
            f"The vCPUs of {counted(guessed, 'domain')} are not known: each is taken to have as many as "
            "it wanted cores at most. Rules that count vCPUs, such as cpu_overcommit, go by that."
        )
    if factless:
        notes.append(
            f"Of {counted(factless, 'domain')} no disks, networks and CPU are known: any host is taken to "
            "suit them, and rules that go by tags do not see them."
        )
    return domains


def _tell_what_cannot_be(
    columns: Mapping[str, _Column],
    domains: Mapping[str, RecordedDomain],
    hosts: Mapping[str, RecordedHost],
    grid: _Grid,
    notes: list[str],
) -> None:
    """Note hosts whose domains have more memory, or use more threads, than the host has: their sizes may be wrong."""
    memory = {name: [0.0] * grid.steps for name in hosts}
    for domain in domains.values():
        for place, where in enumerate(domain.where):
            if where is not None:
                memory[where][place] += domain.memory_mib
    small = {name: most for name, held in memory.items() if (most := max(held)) > hosts[name].memory_mib}
    if small:
        name = next(iter(small))
        notes.append(
            f"The domains of {name} have {small[name]:.0f} MiB at one time, and the host has "
            f"{hosts[name].memory_mib:.0f} MiB{_and_others(small)}. Check what it has: memory_mib is in MiB."
        )
    busy = {
        name: most
        for name, used in _served(hosts, columns, domains, grid).items()
        if (most := max(used)) > _MOST_BUSY * hosts[name].threads
    }
    if busy:
        name = next(iter(busy))
        notes.append(
            f"The domains of {name} use {busy[name]:.1f} threads at one time, and the host has "
            f"{hosts[name].threads}{_and_others(busy)}. Check what it has, and that cores are not in per cent."
        )


def _and_others(names: Mapping[str, float]) -> str:
    others = list(names)[1:]
    return f"; likewise {several(others, _MOST_NAMED)}" if others else ""


def _guess(column: _Column, hosts: Mapping[str, RecordedHost]) -> int:
    most = max((hosts[name].threads for name in column.where if name is not None), default=1)
    wanted = max((value for value in column.wants if value is not None), default=1.0)
    return max(1, min(most, math.ceil(wanted - 1e-9)))


def _with_own_load(
    hosts: Mapping[str, RecordedHost],
    columns: Mapping[str, _Column],
    domains: t.Container[str],
    grid: _Grid,
) -> dict[str, RecordedHost]:
    """The hosts with the threads that they kept busy themselves: what was used, less what their domains got."""
    served = _served(hosts, columns, domains, grid)
    return {name: _with_own_cores(host, served[name]) for name, host in hosts.items()}


def _served(
    hosts: Mapping[str, RecordedHost],
    columns: Mapping[str, _Column],
    domains: t.Container[str],
    grid: _Grid,
) -> dict[str, list[float]]:
    """The threads that domains got of each host, at each time."""
    served = {name: [0.0] * grid.steps for name in hosts}
    for uuid, column in columns.items():
        if uuid in domains:
            for place, (where, got) in enumerate(zip(column.where, column.used, strict=True)):
                if where is not None and got is not None:
                    served[where][place] += got / hosts[where].speed
    return served


def _with_own_cores(host: RecordedHost, served: Sequence[float]) -> RecordedHost:
    if host.used is None:
        return host
    own = [
        None if used is None else max(0.0, used * host.threads - got)
        for used, got in zip(host.used, served, strict=True)
    ]
    return RecordedHost(
        name=host.name,
        threads=host.threads,
        memory_mib=host.memory_mib,
        speed=host.speed,
        own_cores=own,
        own_mib=host.own_mib,
        power=host.power,
        used=host.used,
        asleep=host.asleep,
        facts=host.facts,
    )
