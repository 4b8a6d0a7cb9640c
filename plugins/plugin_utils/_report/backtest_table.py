# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The results of a backtest as text for a terminal and as CSV: a line for what happened, and one for each policy."""

from __future__ import annotations

import csv
import io
import typing as t
from collections.abc import Mapping, Sequence
from datetime import datetime

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._text import (
    NAME_WIDTH,
    clean,
    counted,
    cut,
    padded,
    several,
    shown,
    widest,
    wrapped,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse

Json = Mapping[str, t.Any]

_UNKNOWN = "?"
_REAL = {"what really happened": "what happened"}
_KEYS = frozenset(("schema", "recording", "notes", "results"))
_MOST_WORST = 3
_LEAST_SHOWN = 0.0005
"""A domain that lacked less than this share of what it wanted is not named."""


class Figure(t.NamedTuple):
    """A column: its key in a result, its title in two lines, and how a value is written."""

    key: str
    title: tuple[str, str]
    write: t.Callable[[float], str]


def count(value: float) -> str:
    """12."""
    return f"{value:.0f}"


def size(value: float) -> str:
    """0.4, 12, 1350."""
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def share(value: float) -> str:
    """A fraction in per cent, with as many digits as tell: 12.3 %, 0.04 %, 0 %."""
    points = 100.0 * value
    if points == 0:
        return "0 %"
    if points < 0.0005:
        return "<.001 %"
    return f"{points:.1f} %" if points >= 1 else f"{points:.3f}".rstrip("0").rstrip(".") + " %"


FIGURES = (
    Figure("moves", ("", "moves"), count),
    Figure("gib", ("", "GiB"), size),
    Figure("moved_back", ("back", "in 1 h"), count),
    Figure("most_moves_of_one", ("most", "of one"), count),
    Figure("runs_that_moved", ("runs", "moved"), count),
    Figure("host_time_above_limit", ("above", "limit"), share),
    Figure("host_time_full", ("at", "100 %"), share),
    Figure("unserved", ("", "unserved"), share),
    Figure("kwh", ("kWh", "modelled"), size),
    Figure("cpu_seconds", ("", "CPU s"), size),
)
"""The columns of the table, in its order."""

_MORE_COLUMNS = ("runs", "wakes", "sleeps")


def check(results: t.Any) -> Json:
    """The results as they are. Raises BalanceError for what the filter ``backtest`` did not make."""
    if not isinstance(results, Mapping) or not set(results) >= _KEYS or not results["results"]:
        raise BalanceError(f"The results must be those of a backtest, not {shown(results)}.")
    return results


def written(result: Json, figure: Figure) -> str:
    """A figure of a result as it is shown."""
    value = result.get(figure.key)
    return _UNKNOWN if value is None else figure.write(value)


def span(recording: Json) -> str:
    """What was recorded, in a sentence: 3 hosts, 12 domains, 2026-01-30 12:00 to 2026-01-31 12:00 UTC."""
    begin, end = moment(recording["begins_at"]), moment(recording["ends_at"])
    last = end.strftime("%H:%M" if begin.date() == end.date() else "%Y-%m-%d %H:%M")
    return (
        f"{counted(recording['hosts'], 'host')}, {counted(recording['domains'], 'domain')}, "
        f"{begin.strftime('%Y-%m-%d %H:%M')} to {last} UTC, a run every {_minutes(recording['run_seconds'])}"
    )


def moment(text: str) -> datetime:
    """A time of the results. Raises BalanceError where it is none."""
    found = parse(text)
    if found is None:
        raise BalanceError(f"The results of a backtest have the time {text!r}, which is none.")
    return found


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 120 else f"{seconds:g} seconds"


def backtest_table(results: t.Any) -> str:
    """The results as lines of at most 100 columns. Raises BalanceError if they are none."""
    found = check(results)
    parts = [
        [f"BACKTEST of {span(found['recording'])}", *_whose(found["recording"])],
        figures_table(found["results"], dict.fromkeys(found.get("suggested") or (), "*")),
        _worst([result for result in found["results"] if not one_of_many(found, result)]),
        _front(found.get("suggested")),
        [line for note in found["notes"] for line in wrapped(note, "")],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _whose(recording: Json) -> list[str]:
    """Whose the policy is that has no name of its own."""
    return wrapped(f"policy: {clean(recording['policy'])}", "") if recording.get("policy") else []


def figures_table(results: Sequence[Json], marks: Mapping[str, str] | None = None) -> list[str]:
    """A line for each result, under two lines of titles. ``marks``: what stands behind the line of a policy."""
    rows = [[written(result, figure) for figure in FIGURES] for result in results]
    widths = [widest([*figure.title, *(row[place] for row in rows)]) for place, figure in enumerate(FIGURES)]
    room = 100 - sum(width + 2 for width in widths) - widest((marks or {}).values(), -1) - 1
    width = min(widest((name_of(result) for result in results), 8), max(8, min(room, NAME_WIDTH)))
    lines = []
    for line in (0, 1):
        titles = (f"  {figure.title[line]:>{wide}}" for figure, wide in zip(FIGURES, widths, strict=True))
        lines.append((" " * width + "".join(titles)).rstrip())
    for result, row in zip(results, rows, strict=True):
        cells = "".join(f"  {cell:>{wide}}" for cell, wide in zip(row, widths, strict=True))
        mark = (marks or {}).get(str(result["policy"]), "")
        lines.append(f"{padded(cut(name_of(result), width), width)}{cells} {mark}".rstrip())
    return lines


def name_of(result: Json) -> str:
    """The name of a policy, or of what really happened, safe for a terminal."""
    return clean(_REAL.get(result["policy"], result["policy"]))


def worst(result: Json) -> str:
    """The domains that lacked most: web-1 3.4 %, db-2 1.0 %; empty where none lacked anything that tells."""
    named = [
        f"{clean(domain['name'], NAME_WIDTH)} {share(domain['unserved'])}"
        for domain in result["worst"] or ()
        if domain["unserved"] is not None and domain["unserved"] >= _LEAST_SHOWN
    ]
    return several(named[:_MOST_WORST], _MOST_WORST)


def one_of_many(found: Json, result: Json) -> bool:
    """Is it one of the grid that is not on the front?"""
    return (
        result in found["results"][2:]
        and found.get("suggested") is not None
        and result["policy"] not in found["suggested"]
    )


def written_keys(keys: Json) -> str:
    """Keys of a policy as they are written in one: threshold: 0.4, hold: 3."""
    return ", ".join(f"{key}: {_value(value)}" for key, value in keys.items())


def _value(value: t.Any) -> str:
    if isinstance(value, Mapping):
        return "{" + written_keys({key: one for key, one in value.items() if one != {}}) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else shown(value) if value in (None, True, False) else str(value)


def _front(suggested: Json | None) -> list[str]:
    if suggested is None:
        return []
    lines = wrapped(
        "* No other one has fewer moves and leaves no more unserved. What they differ in from the first policy:", ""
    )
    for name, keys in suggested.items():
        lines += wrapped(f"{cut(clean(name), NAME_WIDTH)}: {written_keys(keys) or 'nothing'}", "  ")
    return [
        *lines,
        *wrapped("No policy was changed. Past load is no promise: try what you choose with --check first.", ""),
    ]


def _worst(results: Sequence[Json]) -> list[str]:
    told = [(name_of(result), worst(result)) for result in results]
    lines = [line for name, named in told if named for line in wrapped(f"{cut(name, NAME_WIDTH)}: {named}", "  ")]
    return ["Worst domains, by the share of what they wanted and did not get:", *lines] if lines else []


def backtest_csv(results: t.Any) -> str:
    """The figures as CSV, a row for each result; a value that is not known is empty."""
    columns = ["policy", *_MORE_COLUMNS, *(figure.key for figure in FIGURES)]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for result in check(results)["results"]:
        writer.writerow([result["policy"], *(result.get(column) for column in columns[1:])])
    return file.getvalue()
