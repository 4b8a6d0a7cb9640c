# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The results of a backtest as one HTML page that needs no other file and no library: a table, then for what happened
and for each policy the CPU of the hosts over time, with the moves.

Up to ``MOST_LINES`` hosts are lines. More are rows whose colour is the load: a hundred lines are a knot, and a hundred
rows of colours show at a glance which hosts are full, and when.
"""

from __future__ import annotations

import html
import itertools
import re
import typing as t
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from ansible_collections.virtops.balance.plugins.plugin_utils._report import backtest_table as table
from ansible_collections.virtops.balance.plugins.plugin_utils._report.html_page import Drawing, Section, Table, page
from ansible_collections.virtops.balance.plugins.plugin_utils._text import clean, counted

Json = Mapping[str, t.Any]

MOST_LINES = 8
MOST_ROWS = 100
"""Of more hosts, those that are full for longest are shown."""
MOST_CELLS = 480
"""Of more times, so many are put into one that no more are left; the highest load counts."""
MOST_MARKS = 500
"""Of more moves, only how many there were is drawn."""
MOST_LISTED = 200

_WIDTH, _LEFT, _RIGHT = 1100, 110, 20
_HEIGHT, _STRIP = 170, 34
_LONG_NAME = 15
# By Okabe and Ito: everybody can tell these colours apart. The last is not theirs: it must be seen on black and white.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C6D1F", "#888888")
_STEPS = (0.2, 0.4, 0.6)
"""Where the colour of a load changes, beside the limit of the policy and the whole."""
_FULL = 0.995
_TICK_MINUTES, _MOST_TICKS = (1, 2, 5, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080), 13
_STYLE = """
:root { color-scheme: light dark; --faint: #d8d8d8; --c0: #dde8f2; --c1: #bdd5ea; --c2: #8fbcdd; --c3: #4a90c4;
  --c4: #f0a030; --c5: #c8201c; --back: #fff; }
body { background: var(--back); }
svg { width: 100%; height: auto; display: block; font: 11px sans-serif; fill: currentColor; }
svg .faint { stroke: var(--faint); stroke-width: 1; fill: none; }
svg .limit { stroke: var(--c4); stroke-dasharray: 5 3; fill: none; }
svg .line { fill: none; stroke-width: 1.4; stroke-linejoin: round; }
svg .to { stroke: var(--back); stroke-width: .8; }
svg .bar { fill: currentColor; opacity: .65; }
svg .way { stroke: currentColor; opacity: .45; stroke-width: .8; }
.legend { font-size: .8em; margin: .3em 0; }
.legend b { display: inline-block; width: 1.2em; height: .8em; margin: 0 .35em 0 1em; border: 1px solid #8886; }
#figures th, #figures td { white-space: nowrap; }
.facts { margin: .3em 0; font-size: .9em; }
details { margin: .6em 0 1.6em; font-size: .9em; }
@media (prefers-color-scheme: dark) {
  :root { --back: #16181c; --faint: #3a3d44; --c0: #1d2a38; --c1: #22405c; --c2: #2d6591; --c3: #4a9bd4;
    --c4: #e09a2c; --c5: #ff5a4f; }
  body { color: #dcdcdc; }
  th, td { border-color: #3a3d44; }
}
"""


def backtest_page(results: t.Any) -> str:
    """Return the page. Raises BalanceError for what are no results of a backtest."""
    found = table.check(results)
    shown = found["results"]
    hosts, front = _chosen(shown), found.get("suggested")
    sections = [Section("Side by side", _table(found))]
    if front is not None:
        sections.append(Section("Moves against unserved demand", Drawing(_scatter(shown, front))))
    sections += _notes(found["notes"])
    # Of a grid, only those that one would choose.
    drawn = [result for result in shown if not table.one_of_many(found, result)]
    sections += [Section(table.name_of(result), Drawing(_panel(result, hosts))) for result in drawn]
    told = f"{table.span(found['recording'])}, from {clean(found['recording']['source'])}. "
    if len(hosts) < found["recording"]["hosts"]:
        told += f"The plots show the {len(hosts)} hosts that were fullest for longest. "
    told += (
        "What is under a policy did not happen: it is what this policy would have done with the load "
        "that was recorded, where a domain wants the same CPU wherever it is. kWh are modelled, not measured."
    )
    return page("Backtest", told, sections, style=_STYLE)


def _notes(notes: Sequence[str]) -> list[Section]:
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return [Section("What had to be assumed", Drawing(f"<ul>{items}</ul>"))] if notes else []


def _table(found: Json) -> Table:
    front = found.get("suggested") or ()
    head = ["", *(" ".join(filter(None, figure.title)) for figure in table.FIGURES), "worst domains"]
    rows = [
        [
            table.name_of(result) + " *" * (result["policy"] in front),
            *(table.written(result, figure) for figure in table.FIGURES),
            "" if table.one_of_many(found, result) else table.worst(result),
        ]
        for result in found["results"]
    ]
    return Table(head, rows, "figures")


def _scatter(results: Sequence[Json], front: Mapping[str, Json]) -> str:
    """A dot for each policy, those on the front joined: from few moves to little that is unserved."""
    known = [result for result in results[1:] if result["unserved"] is not None]
    most_moves = max([1, *(result["moves"] for result in known)])
    most_unserved = max([1e-6, *(result["unserved"] for result in known)])
    height = 240

    def at(result: Json) -> tuple[float, float]:
        across = (_WIDTH - _LEFT - 260) * result["moves"] / most_moves
        return _LEFT + across, height * (1 - result["unserved"] / most_unserved)

    parts = [
        f'<path class="faint" d="M{_LEFT} 0V{height}H{_WIDTH - _RIGHT}"/>',
        f'<text x="{_LEFT - 6}" y="9" text-anchor="end">{table.share(most_unserved)}</text>',
        f'<text x="{_LEFT - 6}" y="{height}" text-anchor="end">0 %</text>',
        f'<text x="{_LEFT - 6}" y="{height / 2}" text-anchor="end">unserved</text>',
        f'<text x="{_LEFT}" y="{height + 16}">0 moves</text>',
        f'<text x="{_WIDTH - 260}" y="{height + 16}" text-anchor="middle">{counted(most_moves, "move")}</text>',
    ]
    chosen = [result for name in front for result in known if result["policy"] == name]
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in map(at, chosen))
    parts.append(f'<path class="line" stroke="{_COLOURS[3]}" d="M{line}"/>')
    # What is at the same place is drawn first, so that it does not hide what one would choose.
    for result in sorted(known, key=lambda one: (one["policy"] in front, one is known[0])):
        x, y = at(result)
        on_front, base = result["policy"] in front, result is known[0]
        name = html.escape(
            f"{clean(result['policy'])}: {counted(result['moves'], 'move')}, {table.share(result['unserved'])}"
        )
        colour = _COLOURS[3] if on_front else _COLOURS[0] if base else _COLOURS[7]
        parts.append(
            f'<circle class="to" cx="{x:.1f}" cy="{y:.1f}" r="{5 if on_front or base else 3.5}" fill="{colour}">'
            f"<title>{name}</title></circle>"
        )
        if on_front or base:
            label = html.escape(clean(result["policy"]))
            parts.append(f'<text x="{x + 8:.1f}" y="{y - 7 if on_front else y + 14:.1f}">{label}</text>')
    title = "Moves against unserved demand"
    told = "; ".join(
        f"{clean(name)}: {table.written_keys(keys) or 'the first policy itself'}" for name, keys in front.items()
    )
    return (
        f'<svg viewBox="0 -14 {_WIDTH} {height + 38}" role="img" aria-label="{title}"><title>{title}</title>'
        f"{''.join(parts)}</svg>"
        '<p class="legend">Marked with *: no other policy has fewer moves and leaves no more unserved. '
        f"{html.escape(told)}.</p>"
    )


def _chosen(results: Sequence[Json]) -> list[str]:
    """The hosts that the plots show, by name as people sort them."""
    names = list(results[0]["hosts"])
    if len(names) > MOST_ROWS:
        limit = results[0]["limit"]

        def busy(name: str) -> tuple[int, str]:
            loads = (load for result in results for load in result["hosts"].get(name, ()) if load is not None)
            return -sum(load > limit for load in loads), name

        names = sorted(names, key=busy)[:MOST_ROWS]
    return sorted(names, key=_as_people_sort)


def _as_people_sort(name: str) -> list[tuple[bool, int, str]]:
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name) if part]


class _Axis(t.NamedTuple):
    """Time from left to right. ``every``: so many times of the recording are drawn as one."""

    begin: datetime
    step: float
    steps: int
    every: int

    def x(self, seconds: float) -> float:
        """Where so many seconds after the beginning are."""
        whole = self.step * max(1, self.steps - 1)
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(1.0, max(0.0, seconds / whole))

    def place(self, index: int) -> float:
        """Where a time of the recording is."""
        return self.x(index * self.step)


def _panel(result: Json, hosts: Sequence[str]) -> str:
    times = result["times"]
    begin = table.moment(times["begins_at"])
    axis = _Axis(begin, times["step_seconds"], times["steps"], -(-times["steps"] // MOST_CELLS))
    series = {name: _thinned(result["hosts"].get(name, ()), axis.every) for name in hosts}
    moves = [(max(0.0, (table.moment(move["at"]) - begin).total_seconds()), move) for move in result["made"]]
    few = len(hosts) <= MOST_LINES
    height = _HEIGHT if few else max(60, min(16, max(4, 640 // len(hosts))) * len(hosts))
    drawn = _lines(series, axis, result["limit"]) if few else _rows(series, axis, result["limit"], height)
    marks = _marks(moves, axis, hosts, height, few=few) if len(moves) <= MOST_MARKS else ()
    name = html.escape(f"CPU of the hosts over time: {table.name_of(result)}")
    body = "".join([*_clock(axis, height), *drawn, *marks, *_strip(moves, axis, height)])
    svg = (
        f'<svg viewBox="0 -8 {_WIDTH} {height + _STRIP + 28}" role="img" aria-label="{name}">'
        f"<title>{name}</title>{body}</svg>"
    )
    return "\n".join([_facts(result), svg, _legend(hosts, result["limit"], few=few), _listed(moves, begin)])


def _facts(result: Json) -> str:
    told = [counted(int(result["moves"]), "move"), f"{table.size(result['gib'])} GiB"]
    if result["wakes"] or result["sleeps"]:
        told.append(f"hosts put to sleep {result['sleeps']} and woken {result['wakes']} times")
    differs = table.written_keys(result["differs"])
    return f'<p class="facts">{html.escape(", ".join(told))}. {html.escape(_about(result, differs))}</p>'


def _about(result: Json, differs: str) -> str:
    if result.get("cpu_seconds") is None:
        return ""
    return f"Differs from the default policy in {differs}." if differs else "The default policy."


def _thinned(values: Sequence[float | None], every: int) -> list[float | None]:
    if every == 1:
        return list(values)
    parts = (values[place : place + every] for place in range(0, len(values), every))
    return [max((value for value in part if value is not None), default=None) for part in parts]


def _clock(axis: _Axis, height: int) -> Iterator[str]:
    """Lines and names of round hours, and of days where there are many."""
    whole = axis.step * (axis.steps - 1)
    every = next((one for one in _TICK_MINUTES if whole / (60 * one) <= _MOST_TICKS), 43200)
    first = axis.begin.replace(hour=0, minute=0, second=0, microsecond=0)
    for number in itertools.count():
        at = first + timedelta(minutes=every * number)
        seconds = (at - axis.begin).total_seconds()
        if seconds > whole:
            return
        if seconds < 0:
            continue
        x = axis.x(seconds)
        name = at.strftime("%d %b" if (at.hour, at.minute) == (0, 0) else "%H:%M")
        yield f'<path class="faint" d="M{x:.1f} 0V{height + _STRIP}"/>'
        yield f'<text x="{x:.1f}" y="{height + _STRIP + 14}" text-anchor="middle">{name}</text>'


def _lines(series: Mapping[str, Sequence[float | None]], axis: _Axis, limit: float) -> Iterator[str]:
    for share in (0, 25, 50, 75, 100):
        y = _HEIGHT * (1 - share / 100)
        yield f'<path class="faint" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
        yield f'<text x="{_LEFT - 6}" y="{min(max(y + 4, 9), _HEIGHT):.1f}" text-anchor="end">{share} %</text>'
    if limit <= 1:
        yield f'<path class="limit" d="M{_LEFT} {_HEIGHT * (1 - limit):.1f}H{_WIDTH - _RIGHT}"/>'
    for number, (name, values) in enumerate(series.items()):
        path, down = [], False
        for place, value in enumerate(values):
            if value is not None:
                at = f"{axis.place(place * axis.every):.1f} {_HEIGHT * (1 - min(1.0, value)):.1f}"
                path.append(f"{'L' if down else 'M'}{at}")
            down = value is not None
        title = html.escape(clean(name))
        yield f'<path class="line" stroke="{_COLOURS[number]}" d="{"".join(path)}"><title>{title}</title></path>'


def _rows(series: Mapping[str, Sequence[float | None]], axis: _Axis, limit: float, height: int) -> Iterator[str]:
    """A row for each host; all of one colour are one path, so that a page of a hundred hosts stays small."""
    tall = height / len(series)
    paths: list[list[str]] = [[] for _colour in range(len(_STEPS) + 3)]
    for row, (name, values) in enumerate(series.items()):
        y = tall * (row + 0.5)
        place = 0
        for colour, cells in itertools.groupby(values, key=lambda value: _colour(value, limit)):
            count = len(list(cells))
            if colour is not None:
                left, right = (axis.place(min(at, axis.steps) * axis.every) for at in (place, place + count))
                paths[colour].append(f"M{left:.1f} {y:.1f}H{right:.1f}")
            place += count
        if tall >= 9 or row % 5 == 0:
            shown = html.escape(clean(name, _LONG_NAME))
            yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>'
    for colour, path in enumerate(paths):
        if path:
            style = f"stroke:var(--c{colour});stroke-width:{max(1.0, tall - 0.6):.1f};fill:none"
            yield f'<path style="{style}" d="{"".join(path)}"/>'


def _colour(value: float | None, limit: float) -> int | None:
    if value is None:
        return None
    if value >= _FULL:
        return len(_STEPS) + 2
    return len(_STEPS) + 1 if value > limit else sum(value >= step for step in _STEPS)


def _marks(
    moves: Iterable[tuple[float, Json]], axis: _Axis, hosts: Sequence[str], height: int, *, few: bool
) -> Iterator[str]:
    """A move is a dot at the host that it leads to; among rows, a line leads there from the host that it left."""
    rows = {name: number for number, name in enumerate(hosts)}
    for seconds, move in moves:
        x, end, begin = axis.x(seconds), rows.get(move["destination"]), rows.get(move["source"])
        if end is None:
            continue
        title = html.escape(_told(move))
        if few:
            yield (
                f'<circle class="to" cx="{x:.1f}" cy="{height + 8}" r="4" fill="{_COLOURS[end]}"><title>{title}</title>'
                "</circle>"
            )
            continue
        tall = height / len(hosts)
        y = tall * (end + 0.5)
        if begin is not None:
            yield f'<path class="way" d="M{x:.1f} {tall * (begin + 0.5):.1f}V{y:.1f}"/>'
        yield f'<circle class="to" cx="{x:.1f}" cy="{y:.1f}" r="2.6"><title>{title}</title></circle>'


def _told(move: Json) -> str:
    return (
        f"{clean(move['name'])} from {clean(move['source'])} to {clean(move['destination'])}, {move['at'][11:16]} UTC"
    )


def _strip(moves: Sequence[tuple[float, Json]], axis: _Axis, height: int) -> Iterator[str]:
    """How many moves there were in each part of the time, as bars."""
    parts = min(axis.steps, 120)
    whole = axis.step * max(1, axis.steps - 1)
    counts = [0] * parts
    for seconds, _move in moves:
        counts[min(parts - 1, int(seconds / whole * parts))] += 1
    most = max(counts)
    base, room = height + _STRIP, _STRIP - 16
    yield f'<text x="{_LEFT - 6}" y="{base - 4}" text-anchor="end">moves</text>'
    yield f'<path class="faint" d="M{_LEFT} {base}H{_WIDTH - _RIGHT}"/>'
    wide = (_WIDTH - _LEFT - _RIGHT) / parts
    for number, count in enumerate(counts):
        if count:
            tall = room * count / max(most, 4)
            title = counted(count, "move")
            yield (
                f'<rect class="bar" x="{_LEFT + wide * number:.1f}" y="{base - tall:.1f}" '
                f'width="{max(1.5, wide - 1):.1f}" height="{tall:.1f}"><title>{title}</title></rect>'
            )


def _legend(hosts: Sequence[str], limit: float, *, few: bool) -> str:
    if few:
        parts = [(f"background:{_COLOURS[number]}", clean(name)) for number, name in enumerate(hosts)]
        return _legend_of(
            parts, "Dots below are moves, in the colour of the host that they lead to; the dashed line is the limit."
        )
    names = ["0 %", *(f"{step:.0%}" for step in _STEPS), f"above the limit of {limit:.0%}", "100 %"]
    return _legend_of(
        [(f"background:var(--c{number})", name) for number, name in enumerate(names)],
        "Nothing is drawn where a host sleeps. Dots are moves, at the host that they lead to.",
    )


def _legend_of(parts: Iterable[tuple[str, str]], more: str) -> str:
    shown = "".join(f'<b style="{style}"></b>{html.escape(name)}' for style, name in parts)
    return f'<p class="legend">{shown}<br>{html.escape(more)}</p>'


def _listed(moves: Sequence[tuple[float, Json]], begin: datetime) -> str:
    if not moves:
        return ""
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td>{html.escape(clean(cell))}</td>"
            for cell in (move["at"].replace("T", " ").rstrip("Z"), move["name"], move["source"], move["destination"])
        )
        + "</tr>\n"
        for _seconds, move in moves[:MOST_LISTED]
    )
    more = f"<p>{len(moves) - MOST_LISTED} more are in backtest.json.</p>" if len(moves) > MOST_LISTED else ""
    return (
        "<details><summary>The moves</summary><div class='wide'><table class='texts'>"
        f"<tr><th>time (UTC)</th><th>domain</th><th>from</th><th>to</th></tr>\n{rows}</table></div>{more}</details>"
    )
