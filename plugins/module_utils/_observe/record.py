# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what is stored of samples, and how a run stores what it observed.

A run takes seconds and the next one comes minutes later. So that the history has what happened in between, a run leaves
its counters to the next one, which stores the means of all that time.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import sqlite3
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._domain import state as domain_state
from ansible_collections.virtops.balance.plugins.module_utils._history import agent_status
from ansible_collections.virtops.balance.plugins.module_utils._history import store as _store
from ansible_collections.virtops.balance.plugins.module_utils._observe import domain as observed_domain
from ansible_collections.virtops.balance.plugins.module_utils._observe import procfs, rates
from ansible_collections.virtops.balance.plugins.module_utils._observe.sampler import DomainSample, Sample, Sampler

# A mean of more would hide what the hours in between were like. An hourly run does not come to the second.
_LONGEST_SECONDS = 65 * 60
# The clock of the day and that of the kernel go apart by less than this in that time, unless one was set or the host
# was suspended: then it is not known which time the counters are about.
_CLOCKS_APART_SECONDS = 5.0
_KEPT_COUNTERS = re.compile(r"cpu\.time|vcpu\.\d+\.(time|delay)")

Marks = t.Mapping[str, t.Any]


class Counters(t.NamedTuple):
    """What rates are calculated from: RV(at) is a monotonic time in seconds.

    RV(domains) has by UUID the number that a domain has in libvirt for as long as it runs on a host, and its counters.
    """

    at: float
    host: t.Mapping[str, int] | None
    domains: t.Mapping[str, tuple[int, t.Mapping[str, t.Any]]]

    @classmethod
    def of(cls, sample: Sample) -> Counters:
        """Return the counters of a sample. A domain that was still on its way here counts from when it runs here."""
        domains = {
            uuid: (domain.handle.ID(), domain.stats)
            for uuid, domain in sample.domains.items()
            if not _is_incoming(domain)
        }
        return cls(sample.at, sample.host_counters, domains)

    def stats(self, uuid: str, number: int) -> t.Mapping[str, t.Any] | None:
        """Return the counters of a domain. One that was started anew, or went and came back, counts from zero."""
        known = self.domains.get(uuid)
        return known[1] if known is not None and known[0] == number else None


class Also(t.NamedTuple):
    """What a run knows beside its samples. RV(dirty_mib_s) is by UUID."""

    watts: float | None
    cpu_watts: float | None
    dirty_mib_s: t.Mapping[str, float]
    marks: Marks | None


_NOTHING_ELSE = Also(None, None, {}, None)


def describe(
    sampler: Sampler,
    before: Counters,
    after: Sample,
    *,
    at: float,
    latest: Counters | None = None,
    also: Also = _NOTHING_ELSE,
) -> _store.Row:
    """Return what happened between two samples, by the same rules as an observation.

    RV(at) is when the second one was taken, in seconds since 1970. A domain that is not in the first one is measured
    from RV(latest), counters of less time ago.
    """
    memory = sampler.memory()
    cpu = sampler.host_cpu(Sample(before.at, before.host, {}), after)
    return _store.Row(
        at=at,
        elapsed=after.at - before.at,
        usage=cpu["usage"],
        iowait=cpu["iowait"],
        total_mib=memory["total_mib"],
        available_mib=memory["available_mib"],
        swap_used_mib=memory["swap_used_mib"],
        threads=sampler.threads(),
        watts=also.watts,
        cpu_watts=also.cpu_watts,
        domains=[
            _describe_domain(uuid, sample, before, latest, now=after.at, at=at, dirty_mib_s=also.dirty_mib_s.get(uuid))
            for uuid, sample in sorted(after.domains.items())
            if not _is_incoming(sample)
        ],
    )


def _describe_domain(
    uuid: str,
    sample: DomainSample,
    before: Counters,
    latest: Counters | None,
    *,
    now: float,
    at: float,
    dirty_mib_s: float | None,
) -> _store.DomainRow:
    number = sample.handle.ID()
    stats, since = before.stats(uuid, number), before.at
    short = False
    recent = None if latest is None else latest.stats(uuid, number)
    if stats is None and latest is not None and recent is not None:
        stats, since, short = recent, latest.at, True
    stats = stats or {}
    memory = observed_domain.describe_memory(recent or stats, sample.stats, None, now=at)
    return _store.DomainRow(
        uuid=uuid,
        name=sample.handle.name(),
        cpu_cores=rates.cpu_cores(stats, sample.stats, now - since),
        cpu_ready=rates.cpu_ready(stats, sample.stats),
        current_mib=memory["current_mib"],
        rss_mib=memory["rss_mib"],
        usable_mib=memory["usable_mib"],
        vcpus=sample.stats.get("vcpu.current"),
        maximum_mib=memory["maximum_mib"],
        dirty_mib_s=dirty_mib_s,
        elapsed=now - since if short else None,
    )


def _is_incoming(sample: DomainSample) -> bool:
    """Return whether a domain is still on its way to this host: then it runs, and is measured, on another one."""
    state, reason = (sample.stats.get(f"state.{name}") for name in ("state", "reason"))
    return (
        sample.held
        and domain_state.state_name(state) == "paused"
        and domain_state.reason_name(state, reason) in ("migration", "starting_up")
    )


def events(states: t.Mapping[str | None, str], marks: Marks | None, *, at: float) -> list[_store.Event]:
    """Return what became of this host (None) and those that sleep since RV(states) were stored, by the marks here."""
    if marks is None:
        return []
    drained, asleep = marks["drained"], marks["asleep"]
    found = []
    if drained is not None and states.get(None) != "drained":
        found.append(_store.Event(_since(drained, at), "drained"))
    if drained is None and states.get(None) == "drained":
        found.append(_store.Event(at, "undrained"))
    for host, mark in sorted(asleep.items()):
        if states.get(host) != "asleep":
            found.append(_store.Event(_since(mark, at), "asleep", host))
    for host, kind in states.items():
        if kind == "asleep" and host not in asleep:
            found.append(_store.Event(at, "awake", host))
    return found


def _since(mark: t.Any, at: float) -> float:
    """Return since when a mark is there, and RV(at) where it does not say."""
    try:
        text = str(mark["since"])
        return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()
    except (TypeError, KeyError, ValueError):
        return at


def record_run(
    sampler: Sampler, before: Counters | None, after: Sample, *, at: float, also: Also, root: str = "/"
) -> str | None:
    """Store what a run observed, unless an agent does that. Returns one sentence where it cannot be stored, else None.

    RV(before) is the first of the two samples of the run itself, None where it took one only. Where another run is
    storing at this moment, nothing is stored: that one knows the same.
    """
    path = os.path.join(root, _store.PATH)
    try:
        if agent_status.records(now=at, root=root):
            return None
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        kept = agent_status.settings(root=root)
        with contextlib.closing(
            _store.Store(
                path,
                keep_samples=max(2, round(kept["keep_hours"] * 3600 / kept["interval"])),
                keep_seconds=kept["keep_hours"] * 3600,
                max_bytes=round(kept["max_mib"] * 1024 * 1024),
                wait_seconds=0,
            )
        ) as store:
            with store.alone():
                _record(store, sampler, before, after, at=at, also=also, boot_id=procfs.read_boot_id(root=root))
            aside = store.set_aside
    except _store.NewerError as error:
        return f"Nothing is recorded: {path} is left alone, because {error}."
    except (sqlite3.OperationalError, OSError) as error:
        if isinstance(error, sqlite3.Error) and _store.is_busy(error):
            return None
        return f"Nothing is recorded: {path} cannot be written ({error})."
    except sqlite3.DatabaseError as error:
        return _set_aside(path, error)
    except (ArithmeticError, TypeError, ValueError) as error:
        # The observation is worth more than its place in the history.
        return f"Nothing is recorded: what is to be stored in {path}, or is there already, makes no sense ({error})."
    return None if aside is None else f"{path} could not be used and is now {aside}. The history begins anew."


def _set_aside(path: str, error: sqlite3.Error) -> str:
    try:
        aside = _store.set_aside(path)
    except OSError as second:
        return f"Nothing is recorded: {path} is damaged ({error}), and cannot be renamed ({second.strerror})."
    return f"{path} is damaged ({error}). It is now {aside}, and the history begins anew."


def _record(
    store: _store.Store,
    sampler: Sampler,
    before: Counters | None,
    after: Sample,
    *,
    at: float,
    also: Also,
    boot_id: str | None,
) -> None:
    """Store a row for the time since the last run, or since RV(before), and the counters for the next run."""
    last = store.last_run()
    begin = before
    if last is not None and last.boot_id == boot_id and _one_stretch(last, monotonic=after.at, at=at):
        begin = Counters(last.monotonic, last.host, last.domains)
    if begin is not None:
        row = describe(sampler, begin, after, at=at, latest=before, also=also)
        store.add(row, events(store.states(), also.marks, at=at))
    if boot_id is not None:
        now = Counters.of(after)
        domains = {uuid: (number, _kept(stats)) for uuid, (number, stats) in now.domains.items()}
        store.keep_run(_store.LastRun(boot_id, at, after.at, now.host, domains))


def _one_stretch(last: _store.LastRun, *, monotonic: float, at: float) -> bool:
    """Return whether the time since the last run is short enough, and went by without a break."""
    elapsed = monotonic - last.monotonic
    return 0 < elapsed <= _LONGEST_SECONDS and abs(at - last.at - elapsed) <= _CLOCKS_APART_SECONDS


def _kept(stats: t.Mapping[str, t.Any]) -> dict[str, int]:
    return {name: value for name, value in stats.items() if _KEPT_COUNTERS.fullmatch(name)}
