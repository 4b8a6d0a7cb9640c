# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The table: a heading and one line for each row, printed as it becomes known. A value that is missing is a dash."""

from __future__ import annotations

import typing as t

Row = dict[str, t.Any]


class Column(t.NamedTuple):
    """One column; a negative width is left-aligned. ``form`` makes text of a value that is there."""

    key: str
    title: str
    width: int
    form: t.Callable[[t.Any], str] = str


def _fixed(digits: int) -> t.Callable[[t.Any], str]:
    return lambda value: f"{value:.{digits}f}"


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


COLUMNS = (
    Column("engine", "engine", -19),
    Column("cpu_seconds", "CPU s", 8, _seconds),
    Column("peak_mib", "MiB", 6, _fixed(0)),
    Column("moves", "moves", 6),
    Column("moved_gib", "GiB", 8, _fixed(0)),
    Column("hbal_score", "score", 7, _fixed(4)),
    Column("max_host_load", "CPU max", 8, _percent),
    Column("max_host_memory", "mem max", 8, _percent),
    Column("memory_spread", "mem spread", 11, _percent),
    Column("violations", "broken", 7),
    Column("note", "note", -1),
)


def heading(columns: t.Sequence[Column] = COLUMNS) -> str:
    """The first line."""
    return _line(columns, [column.title for column in columns])


def line(row: Row, columns: t.Sequence[Column] = COLUMNS) -> str:
    """One row."""
    cells = []
    for column in columns:
        value = row.get(column.key)
        cells.append("-" if value is None else column.form(value))
    return _line(columns, cells)


def _line(columns: t.Sequence[Column], cells: list[str]) -> str:
    padded = [
        cell.ljust(-column.width) if column.width < 0 else cell.rjust(column.width)
        for column, cell in zip(columns, cells, strict=True)
    ]
    return "  ".join(padded).rstrip()
