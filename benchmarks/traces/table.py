# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The tables, in at most 120 columns."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from .cases import Row
from .targets import Target

_HEAD = (
    f"{'load':<24}{'decided by':<16}{'kWh':>8}{'moves':>8}{'back':>7}{'most':>6}"
    f"{'full %':>9}{'unserved %':>12}{'held: full':>12}{'unserved':>10}{'CPU s':>8}"
)


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """A line for each load and who decides: medians over the seeds, of ``most`` the largest."""
    yield _HEAD
    for load, who in dict.fromkeys((row.load, row.who) for row in rows):
        same = [row for row in rows if (row.load, row.who) == (load, who)]

        def median(key: str, same: Sequence[Row] = same) -> float:
            return float(statistics.median([getattr(row, key) or 0.0 for row in same]))

        kwh = f"{median('kwh'):.2f}" if all(row.kwh is not None for row in same) else ""
        yield (
            f"{load:<24}{who:<16}{kwh:>8}{median('moves'):>8.0f}{median('back'):>7.0f}"
            f"{max(row.most for row in same):>6}{100 * median('full'):>9.3f}{100 * median('unserved'):>12.3f}"
            f"{100 * median('held_full'):>12.3f}{100 * median('held_unserved'):>10.3f}{median('cpu_seconds'):>8.1f}"
        )


def target_lines(found: Sequence[Target]) -> Iterator[str]:
    """A line for each target."""
    yield f"{'load':<24}{'what':<34}{'to reach':>12}{'measured':>12}  reached"
    for one in found:
        yield f"{one.load:<24}{one.what:<34}{one.most:>12.6g}{one.measured:>12.6g}  {'yes' if one.reached else 'no'}"
