# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What is to be reached, and whether it was. Figures of made loads are medians over the seeds."""

from __future__ import annotations

import statistics
import typing as t
from collections.abc import Iterator, Sequence

from .cases import Row
from .policies import HISTORY, MOMENT, SAVING


class Target(t.NamedTuple):
    """unit: for people. reached: at most ``most``?"""

    load: str
    what: str
    most: float
    measured: float

    @property
    def reached(self) -> bool:
        """Is it?"""
        return self.measured <= self.most + 1e-9


DAYS: dict[str, tuple[float, float, float]] = {
    "20110303": (21.6, 6585, 0.0006),
    "20110306": (18.8, 5491, 0.0012),
}
"""Of the days that are known: kWh of the best policy before there was a history, moves of the reference (THR, MMT,
PABFD), both at 1/8 scale, and the share of demand that may be unserved."""
_SCALE = 8
_FULL = 0.0005
_LESS_MOVES = 8.0

_MADE: dict[str, tuple[float, float | None, float]] = {
    "steady .1": (5, 0, 0.0006),
    "steady .5": (25, 0, 0.0006),
    "halves": (20, None, 0.001),
}
"""Moves, moves back within an hour, unserved."""


def targets(rows: Sequence[Row], scale: int) -> list[Target]:
    """All targets that these rows tell something about."""
    found: list[Target] = []
    for row in rows:
        if row.who == SAVING:
            found += _of_day(row, rows, scale)
    for load in dict.fromkeys(row.load for row in rows if row.seed):
        found += _of_made(load, [row for row in rows if row.load == load])
    return found


def _of_day(row: Row, rows: Sequence[Row], scale: int) -> Iterator[Target]:
    known = next((figures for day, figures in DAYS.items() if day in row.load), None)
    before = [one for one in rows if one.load == row.load]
    if known is not None:
        kwh, reference, unserved = known[0] * _SCALE / scale, known[1] * _SCALE / scale, known[2]
    else:
        kwh = min((one.kwh or 0.0 for one in before if one.who == MOMENT), default=0.0)
        reference = next((float(one.moves) for one in before if one.who == "reference THR"), 0.0)
        unserved = min((one.unserved for one in before if one.who == MOMENT), default=0.0)
    yield Target(row.load, "kWh", round(kwh, 2), round(row.kwh or 0.0, 2))
    yield Target(row.load, "moves", reference // _LESS_MOVES, row.moves)
    yield Target(row.load, "host-time full, %", 100.0 * _FULL, 100.0 * row.full)
    yield Target(row.load, "  if demand is held", 100.0 * _FULL, 100.0 * row.held_full)
    yield Target(row.load, "unserved, %", 100.0 * unserved, 100.0 * row.unserved)


def _of_made(load: str, rows: Sequence[Row]) -> Iterator[Target]:
    moves, back, unserved = (_median(rows, HISTORY, key) for key in ("moves", "back", "unserved"))
    if load in _MADE:
        most_moves, most_back, most_unserved = _MADE[load]
        yield Target(load, "moves", most_moves, moves)
        if most_back is not None:
            yield Target(load, "moves back in an hour", most_back, back)
        yield Target(load, "unserved, %", 100.0 * most_unserved, 100.0 * unserved)
    yield Target(load, "moves, against the moment", _median(rows, MOMENT, "moves"), moves)
    yield Target(load, "unserved, against the moment, %", 100.0 * _median(rows, MOMENT, "unserved"), 100.0 * unserved)


def exceptions(rows: Sequence[Row]) -> list[str]:
    """The seeds of made loads with which a history is worse than the moment, in a clause each."""
    found = []
    by_key = {(row.load, row.seed, row.who): row for row in rows}
    for (load, seed, who), row in by_key.items():
        before = by_key.get((load, seed, MOMENT))
        if who != HISTORY or before is None:
            continue
        if row.moves > before.moves:
            found.append(f"{load}, seed {seed}: {row.moves} moves, by the moment {before.moves}")
        if row.unserved > before.unserved:
            found.append(f"{load}, seed {seed}: unserved {row.unserved:.4%}, by the moment {before.unserved:.4%}")
    return found


def _median(rows: Sequence[Row], who: str, key: str) -> float:
    return float(statistics.median([getattr(row, key) for row in rows if row.who == who] or [0.0]))
