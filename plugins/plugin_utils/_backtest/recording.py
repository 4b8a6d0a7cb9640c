# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A recording: what hosts had, where domains were and what they wanted, at equally distant times.

It is plain data that any source can be read into. What is not known is None, never 0. Cores are those of a thread of
speed 1, unless it says otherwise.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import SnapshotError
from ansible_collections.virtops.balance.plugins.plugin_utils._power_model import Power

Facts = Mapping[str, t.Any]
"""What else the last snapshot that knew it says of a host or a domain, plain JSON: networks, pools, disks, tags …"""

LEAST_TIMES = 2


@dataclass(frozen=True, slots=True)
class RecordedHost:
    """A host.

    threads, memory_mib: what it has. speed: what one of its threads does, against a thread of speed 1.
    own_cores: threads that it kept busy itself, at each time or always. own_mib: memory that it uses itself.
    power: its power by load. used: the fraction of its CPU that was in use at each time, as measured.
    asleep: was it known to be asleep at each time?
    """

    name: str
    threads: int
    memory_mib: float
    speed: float = 1.0
    own_cores: Sequence[float | None] | float = 0.0
    own_mib: float = 0.0
    power: Power | None = None
    used: Sequence[float | None] | None = None
    asleep: Sequence[bool] | None = None
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordedDomain:
    """A domain.

    where: the name of its host at each time, None where it did not run.
    wanted: the cores that it wanted at each time, cores / (1 - ready), at most its vCPUs and its cap.
    used: the cores that it got at each time, as measured; None if nobody knows how long it waited for more.
    cap: the most that it may use, % of one thread, 0 = all it has.
    """

    uuid: str
    name: str
    vcpus: int
    memory_mib: float
    where: Sequence[str | None]
    wanted: Sequence[float | None]
    used: Sequence[float | None] | None = None
    cap: float = 0.0
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recording:
    """Hosts by name, and domains by UUID, at ``steps`` times: ``begins_at`` (UTC) and each ``step`` seconds later."""

    begins_at: datetime
    step: float
    steps: int
    hosts: Mapping[str, RecordedHost]
    domains: Mapping[str, RecordedDomain]

    def time(self, index: int) -> datetime:
        """The time with this number."""
        return self.begins_at + timedelta(seconds=index * self.step)


def check(recording: Recording) -> None:
    """Raise SnapshotError with all that is wrong with it, one sentence a line."""
    problems = list(_problems(recording))
    if problems:
        raise SnapshotError("\n".join(problems))


def _problems(recording: Recording) -> Iterator[str]:
    if recording.steps < LEAST_TIMES:
        yield f"The recording has {recording.steps} times; it needs at least {LEAST_TIMES}."
    if not recording.step > 0:
        yield f"The times of the recording are {recording.step:g} s apart; it must be more than 0."
    if not recording.hosts:
        yield "The recording has no host."
    for host in recording.hosts.values():
        own = host.own_cores if isinstance(host.own_cores, Sequence) else None
        series: dict[str, Sequence[t.Any] | None] = {"own_cores": own, "used": host.used, "asleep": host.asleep}
        yield from _lengths(f"host {host.name}", series, recording.steps)
    for domain in recording.domains.values():
        whose = f"domain {domain.name}"
        columns = {"where": domain.where, "wanted": domain.wanted, "used": domain.used}
        yield from _lengths(whose, columns, recording.steps)
        unknown = sorted({name for name in domain.where if name is not None} - recording.hosts.keys())
        if unknown:
            yield f"The recording has the {whose} on {', '.join(unknown)}, but not that host."


def _lengths(whose: str, columns: Mapping[str, Sequence[t.Any] | None], steps: int) -> Iterator[str]:
    for name, values in columns.items():
        if values is not None and len(values) != steps:
            yield f"The recording has {len(values)} values of {name} of {whose}, and {steps} times."
