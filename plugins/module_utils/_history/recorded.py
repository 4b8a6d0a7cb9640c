# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the history of a host and its domains, in the form of the data model.

Steps end at multiples of their length since 1970, whatever the times of the samples. So the histories of all hosts fit
together without a shift, and those of a domain that moved can be joined step by step.
"""

from __future__ import annotations

import datetime
import itertools
import math
import os
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._history import agent_status
from ansible_collections.virtops.balance.plugins.module_utils._history import store as _store
from ansible_collections.virtops.balance.plugins.module_utils._history.store import Row
from ansible_collections.virtops.balance.plugins.module_utils._option_checks import check_number

# A step of which less than this share was measured is a gap.
_LEAST_COVER = 0.5
# The last step is complete only once the sample at its end has been taken and stored.
_GRACE_SECONDS = 5

_LONGEST_MINUTES = 7 * 24 * 60
# An agent that has stored nothing for so many of its intervals is not at work.
_SILENT_INTERVALS = 3


class Span(t.NamedTuple):
    """RV(steps) steps of RV(step) seconds, the last of which ends at RV(end) seconds since 1970."""

    end: int
    step: int
    steps: int

    @property
    def begin(self) -> int:
        return self.end - self.step * self.steps

    def history(self, columns: t.Mapping[str, t.Sequence[float | None]]) -> dict[str, t.Any] | None:
        """Return columns in the form of the data model, without the gap that all begin with; None = all are a gap."""
        known = [index for column in columns.values() for index, value in enumerate(column) if value is not None]
        if not known:
            return None
        begin = min(known)
        return {
            "step_seconds": self.step,
            "ends_at": _utc(self.end),
            **{name: list(column[begin:]) for name, column in columns.items()},
        }


class Remembered(t.NamedTuple):
    """What a host remembers. RV(problem) is a sentence where that is less than it should be."""

    host: dict[str, t.Any] | None
    domains: dict[str, dict[str, t.Any]]
    problem: str | None


def check_options(*, minutes: int, step: int) -> None:
    """Raise BalanceError where the length of a history or of its steps makes no sense."""
    check_number("history", minutes, 0, _LONGEST_MINUTES)
    check_number("history_step", step, 1, _LONGEST_MINUTES * 60)
    if 0 < minutes * 60 < step:
        raise BalanceError(f"history_step must not be longer than history, but it is {step} seconds.")


def last_span(now: float, *, minutes: int, step: int) -> Span:
    """Return the steps that are complete at RV(now), RV(minutes) of them together."""
    return Span(end=math.floor((now - _GRACE_SECONDS) / step) * step, step=step, steps=minutes * 60 // step)


def remember(span: Span, *, now: float, recorded: bool = False, root: str = "/") -> Remembered:
    """Return what this machine has kept. Never raises: a host without a history is a host.

    Where runs record (RV(recorded)), that little is known yet is no problem.
    """
    try:
        rows = _store.read(os.path.join(root, _store.PATH), since=span.begin)
        newest = next(rows, None)
        host, domains = resample(itertools.chain([] if newest is None else [newest], rows), span)
    except FileNotFoundError:
        problem = (
            "This host keeps no history. Let runs record (balance_record), or install the agent with the role "
            "virtops.balance.agent."
        )
        return Remembered(None, {}, None if recorded else problem)
    except BalanceError as error:
        return Remembered(None, {}, error.message)
    return Remembered(host, domains, _problem(newest, now=now, recorded=recorded, root=root))


def _problem(newest: Row | None, *, now: float, recorded: bool, root: str) -> str | None:
    if recorded and not agent_status.records(now=now, root=root):
        if agent_status.installed(root=root):
            return "The agent does not run. Runs record in its place, the mean of the time between them."
        return None
    said = agent_status.problem_of("history", root=root)
    if said is not None or recorded:
        return said
    if newest is None:
        return "Nothing was recorded in the requested time."
    if now - newest.at > _SILENT_INTERVALS * newest.elapsed + _GRACE_SECONDS:
        return f"Nothing was recorded since {_utc(newest.at)}: the agent does not run, and runs do not record."
    return None


def resample(rows: t.Iterable[Row], span: Span) -> tuple[dict[str, t.Any] | None, dict[str, dict[str, t.Any]]]:
    """Return the history of the host, and those of domains by UUID, from samples, the one stored last first.

    The value of a step is the mean of what was measured in it, by time. Every moment counts once: where a clock was
    set back, what had been stored under a time that then came again gives way to what was stored later.
    """
    host = _Column(span)
    domains: dict[str, dict[str, _Column]] = {}
    newest = math.inf
    for row in rows:
        end = min(row.at, newest)
        begin = row.at - row.elapsed
        # Of a sample that was taken before the clock was set back, nothing may be left.
        if end - begin < row.elapsed * _LEAST_COVER:
            continue
        newest = begin
        shares = list(_shares(begin, end, span))
        if not shares:
            continue
        host.add(row.usage, shares)
        for domain in row.domains:
            columns = domains.setdefault(domain.uuid, {"cpu_cores": _Column(span), "cpu_ready": _Column(span)})
            # One that came in between is known for the last of that time only.
            late = None if domain.elapsed is None else max(begin, row.at - domain.elapsed)
            own = shares if late is None else list(_shares(late, end, span))
            columns["cpu_cores"].add(domain.cpu_cores, own)
            columns["cpu_ready"].add(domain.cpu_ready, own)
    histories = {
        uuid: span.history({name: column.values(3) for name, column in columns.items()})
        for uuid, columns in domains.items()
    }
    return (
        span.history({"cpu": host.values(4)}),
        {uuid: history for uuid, history in sorted(histories.items()) if history is not None},
    )


class _Column:
    """The mean of one figure in each step."""

    def __init__(self, span: Span) -> None:
        self._step = span.step
        self._sums = [0.0] * span.steps
        self._seconds = [0.0] * span.steps

    def add(self, value: float | None, shares: t.Iterable[tuple[int, float]]) -> None:
        if value is None:
            return
        for index, seconds in shares:
            self._sums[index] += value * seconds
            self._seconds[index] += seconds

    def values(self, digits: int) -> list[float | None]:
        least = self._step * _LEAST_COVER
        return [
            round(total / seconds, digits) if seconds >= least else None
            for total, seconds in zip(self._sums, self._seconds)
        ]


def _shares(begin: float, end: float, span: Span) -> t.Iterator[tuple[int, float]]:
    """Yield (index of a step, seconds of it that lie between RV(begin) and RV(end))."""
    first = max(0, math.floor((begin - span.begin) / span.step))
    last = min(span.steps - 1, math.ceil((end - span.begin) / span.step) - 1)
    for index in range(first, last + 1):
        start = span.begin + index * span.step
        yield index, min(end, start + span.step) - max(begin, start)


def _utc(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, tz=datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
