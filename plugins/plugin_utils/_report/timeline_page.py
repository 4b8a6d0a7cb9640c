# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The CPU of each host over time, with marks where domains moved or something else happened, as one HTML page."""

from __future__ import annotations

import itertools
import typing as t
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._report.html_page import (
    Figure,
    Line,
    Mark,
    Section,
    Table,
    page,
    parameters,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.history import Series, read_history
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse, stamp

FIGURE, EVENTS = "cpu-time", "events"
_X_TITLE, _Y_TITLE = "Time (s)", "CPU of the host (%)"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Event(t.NamedTuple):
    """An event: when, what and why."""

    at: datetime
    what: str
    why: str = ""
    is_move: bool = False


def timeline_page(
    snapshot: t.Any,
    runs: t.Any,
    *,
    begin: str | None = None,
    title: str = "Hosts over time",
    events: t.Any = None,
    settings: t.Any = None,
) -> str:
    """Return the page.

    ``snapshot``: a snapshot with the history of its hosts.
    ``runs``: the saved files of runs of rebalance, each a mapping with ``plan``, ``outcome`` and ``after`` (the
    snapshot at the end of the run). ``outcome`` and ``after`` are null if the run moved nothing.
    ``begin``: time 0 of the axis, by default the first sample.
    ``events``: other events, each with ``at`` and ``text``.
    ``settings``: shown as the parameters.
    Raises BalanceError if no host has a history, or plotly is missing.
    """
    facts = Snapshot.from_mapping(snapshot)
    series = {name: found for name, host in facts.raw["hosts"].items() if (found := _series(name, host)) is not None}
    if not series:
        raise BalanceError("No host has a history: the agents must have run, and balance_history must be above 0.")
    zero = _time(begin, "begin") if begin else min(_times(one)[0] for one in series.values())
    happened = sorted([*(move for run in _list(runs, "runs") for move in _moves(run)), *_events(events)])
    labels = _labels(happened)
    marks = [
        Mark(round((event.at - zero).total_seconds(), 1), label, f"{label}: {event.what}")
        for label, event in zip(labels, happened, strict=True)
    ]
    figure = Figure(
        id=FIGURE,
        title=title,
        x_title=_X_TITLE,
        y_title=_Y_TITLE,
        legend="Host",
        lines=[_line(name, one, zero) for name, one in sorted(series.items())],
        marks=marks,
        marks_title="event, see below",
        # Above 100 % there is room for the labels.
        y_most=130.0 if marks else 105.0,
        y_ticks=range(0, 101, 20),
    )
    moved = sum(event.is_move for event in happened)
    summary = (
        f"{len(series)} hosts, {moved} move{'s' * (moved != 1)} of domains."
        f" Time 0 is {stamp(zero)}. A point is the mean of the step that ends there;"
        " where the line has a gap, nothing was sampled."
    )
    rows = [(mark.label, f"{mark.x:g}", event.what, event.why) for mark, event in zip(marks, happened, strict=True)]
    return page(
        title,
        summary,
        [
            Section("CPU of the hosts", figure),
            Section(
                "Events",
                Table(("mark", "time (s)", "what", "why"), rows, EVENTS, True) if rows else "No domain moved.",
            ),
            *([Section("Parameters", parameters(settings))] if settings else []),
        ],
    )


def _labels(events: Sequence[Event]) -> list[str]:
    """The labels of events: numbers for moves, letters for all others."""
    numbers, letters = itertools.count(1), itertools.cycle(_LETTERS)
    return [str(next(numbers)) if event.is_move else next(letters) for event in events]


def _time(text: t.Any, what: str) -> datetime:
    moment = parse(str(text))
    if moment is None:
        raise BalanceError(f"{what} must be a time such as 2026-01-31T12:00:00Z, not {text!r:.60}.")
    return moment


def _events(events: t.Any) -> t.Iterator[Event]:
    for event in _list(events or [], "events"):
        if not isinstance(event, Mapping) or not isinstance(event.get("text"), str):
            raise BalanceError("An event must be a mapping with at and text.")
        yield Event(_time(event.get("at"), "The time of an event"), event["text"])


def _series(name: str, host: Mapping[str, t.Any]) -> Series | None:
    found = read_history(host.get("history"), "cpu", f"The history of {name}")
    return None if found is None or found.ends_at is None or not found.samples else found


def _times(series: Series) -> list[datetime]:
    """The time at which each step ended."""
    if series.ends_at is None:
        return []
    last = len(series.samples) - 1
    return [series.ends_at - timedelta(seconds=series.step * (last - place)) for place in range(last + 1)]


def _line(name: str, series: Series, zero: datetime) -> Line:
    points = [
        ((moment - zero).total_seconds(), None if value is None else round(100 * value, 2))
        for moment, value in zip(_times(series), series.samples, strict=True)
    ]
    # Samples from before time 0 are not shown.
    shown = [point for point in points if point[0] >= 0]
    return Line(name, [point[0] for point in shown], [point[1] for point in shown])


def _list(value: t.Any, what: str) -> Sequence[t.Any]:
    if not isinstance(value, list):
        raise BalanceError(f"{what} must be a list of mappings.")
    return value


def _moves(run: t.Any) -> t.Iterator[Event]:
    """The domains that one run moved."""
    if not isinstance(run, Mapping) or not isinstance(run.get("plan"), Mapping):
        raise BalanceError("A run must be a mapping with plan, outcome and after.")
    if run.get("outcome") is None or run.get("after") is None:
        return
    after = Snapshot.from_mapping(run["after"])
    why = {move["domain"]: _why(move) for wave in run["plan"]["waves"] for move in wave["moves"]}
    for move in run["outcome"]["moves"]:
        domain = after.domains.get(move["domain"])
        at = parse(domain.last_moved_at) if domain is not None and domain.last_moved_at else None
        if move["outcome"] == "moved" and at is not None:
            what = f"{move['name']} from {move['source']} to {move['destination']}"
            yield Event(at, what, why.get(move["domain"], ""), is_move=True)


def _why(move: Mapping[str, t.Any]) -> str:
    """What a planned move does, and the figures that it was decided by where these say more."""
    told = (move.get("figures") or {}).get("told")
    return str(move["why"]) if told is None else f"{move['why']}; {told}"
