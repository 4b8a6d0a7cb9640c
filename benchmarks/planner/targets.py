# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What the engine should reach, judged from the rows of one run."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from .table import Row

AGAINST_HBAL = (40, 400)
FASTER = 50
SMALL, LARGE = (100, 2000), (1000, 20000)
GROWTH = 30
PEAK_MIB = 1024
_POINT = 1e-9


class Verdict(t.NamedTuple):
    """``reached`` is None where the run did not measure what it takes."""

    target: str
    reached: bool | None
    figures: str

    def __str__(self) -> str:
        word = {True: "reached", False: "MISSED", None: "not measured"}[self.reached]
        return f"{word}: {self.target}: {self.figures}"


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """One for each target and kind of fleet."""
    found = []
    for kind in sorted({row["kind"] for row in rows}):
        of_kind = [row for row in rows if row["kind"] == kind]
        found += [*_hbal(of_kind, kind), *_growth(of_kind, kind), *_proxlb(of_kind, kind)]
    return found


def _row(rows: Iterable[Row], engine: str, size: tuple[int, int]) -> Row | None:
    """The finished row of an engine at a size."""
    for row in rows:
        if row["engine"] == engine and (row["hosts"], row["domains"]) == size and row["cpu_seconds"] is not None:
            return row
    return None


def _hbal(rows: Sequence[Row], kind: str) -> Iterator[Verdict]:
    size = "x".join(map(str, AGAINST_HBAL))
    ours, theirs = _row(rows, "virtops-hbal-moves", AGAINST_HBAL), _row(rows, "hbal", AGAINST_HBAL)
    wanted = (
        ("no worse a score than hbal's", "hbal_score", 1, 4),
        ("no more moves than hbal", "moves", 1, 0),
        (f"at most 1/{FASTER} of hbal's CPU seconds", "cpu_seconds", FASTER, 3),
    )
    for target, key, factor, digits in wanted:
        what = f"{size} {kind}, {target}"
        if ours is None or theirs is None:
            yield Verdict(what, None, "needs a finished row of hbal")
            continue
        figures = f"{ours[key]:.{digits}f} against {theirs[key]:.{digits}f}"
        if factor > 1 and ours[key] > 0:
            figures += f", 1/{theirs[key] / ours[key]:.0f}"
        yield Verdict(what, ours[key] * factor <= theirs[key], figures)


def _growth(rows: Sequence[Row], kind: str) -> Iterator[Verdict]:
    small_size, large_size = ("x".join(map(str, size)) for size in (SMALL, LARGE))
    for engine in ("virtops", "virtops-onward", "virtops-as-hbal"):
        small, large = _row(rows, engine, SMALL), _row(rows, engine, LARGE)
        time = f"{large_size} {kind}, {engine} within {GROWTH} times the CPU seconds of {small_size}"
        if small is None or large is None:
            yield Verdict(time, None, f"needs the sizes {small_size} and {large_size}")
            continue
        if not large["moves"]:
            # The time of a plan that is thrown away says nothing about growth.
            yield Verdict(time, None, f"no move at {large_size} ({large['note']})")
            continue
        factor = large["cpu_seconds"] / small["cpu_seconds"]
        seconds = f"{large['cpu_seconds']:.2f} s against {small['cpu_seconds']:.2f} s"
        yield Verdict(time, factor <= GROWTH, f"{seconds}, {factor:.1f} times")
        memory = f"{large_size} {kind}, {engine} under {PEAK_MIB} MiB"
        yield Verdict(memory, large["peak_mib"] < PEAK_MIB, f"{large['peak_mib']:.0f} MiB")


def _proxlb(rows: Sequence[Row], kind: str) -> Iterator[Verdict]:
    """An equal or better spread for no more GiB: our row follows the row of ProxLB that it is asked to equal."""
    found = False
    for theirs, ours in pairwise(rows):
        if not ours["engine"].startswith("virtops-as-proxlb") or ours["cpu_seconds"] is None:
            continue
        found = True
        spread = f"spread {ours['memory_spread']:.1%} against {theirs['memory_spread']:.1%}"
        yield Verdict(
            f"{ours['hosts']}x{ours['domains']} {kind}, no more GiB than {theirs['engine']} for no worse a spread",
            ours["moved_gib"] <= theirs["moved_gib"] and ours["memory_spread"] <= theirs["memory_spread"] + _POINT,
            f"{ours['moved_gib']:.0f} GiB against {theirs['moved_gib']:.0f}, {spread}",
        )
    if not found:
        yield Verdict(f"{kind}, no more GiB than proxlb for no worse a spread", None, "needs a finished row of proxlb")
