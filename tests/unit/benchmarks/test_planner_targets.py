# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.benchmarks.planner import table
from ansible_collections.virtops.balance.benchmarks.planner.targets import verdicts


def row(engine: str, hosts: int = 40, **more: t.Any) -> table.Row:
    found: table.Row = {
        "engine": engine,
        "kind": "spread",
        "hosts": hosts,
        "domains": hosts * (20 if hosts >= 100 else 10),
        "cpu_seconds": 1.0,
        "peak_mib": 30.0,
        "moves": 10,
        "moved_gib": 100.0,
        "hbal_score": 0.2,
        "memory_spread": 0.1,
    }
    return {**found, **more}


def reached(*rows: table.Row) -> dict[str, bool | None]:
    """By the last words of the target."""
    return {verdict.target.split(", ", 1)[-1]: verdict.reached for verdict in verdicts(rows)}


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        ({"cpu_seconds": 1.0}, (True, True, True)),
        ({"cpu_seconds": 1.01}, (True, True, False)),
        ({"hbal_score": 0.2001}, (False, True, True)),
        ({"moves": 11}, (True, False, True)),
    ],
)
def test_against_hbal(ours: dict[str, t.Any], expected: tuple[bool, bool, bool]) -> None:
    found = reached(row("hbal", cpu_seconds=50.0), row("virtops-hbal-moves", **ours))
    assert found["no worse a score than hbal's"] is expected[0]
    assert found["no more moves than hbal"] is expected[1]
    assert found["at most 1/50 of hbal's CPU seconds"] is expected[2]


def test_a_peer_that_did_not_finish_decides_nothing() -> None:
    found = reached(row("hbal", cpu_seconds=None), row("virtops-hbal-moves"))
    assert found["no more moves than hbal"] is None


@pytest.mark.parametrize(
    ("large", "linear", "small"),
    [
        ({"cpu_seconds": 30.0, "peak_mib": 1023.0}, True, True),
        ({"cpu_seconds": 30.1, "peak_mib": 1023.0}, False, True),
        ({"cpu_seconds": 30.0, "peak_mib": 1024.0}, True, False),
    ],
)
def test_growth(large: dict[str, t.Any], linear: bool, small: bool) -> None:
    found = reached(row("virtops", 100), row("virtops", 1000, **large))
    assert found["virtops within 30 times the CPU seconds of 100x2000"] is linear
    assert found["virtops under 1024 MiB"] is small
    assert found["virtops-onward within 30 times the CPU seconds of 100x2000"] is None


def test_growth_is_not_shown_by_a_plan_without_moves() -> None:
    found = reached(row("virtops", 100), row("virtops", 1000, moves=0, note="small_gain"))
    assert found["virtops within 30 times the CPU seconds of 100x2000"] is None


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        ({}, True),
        ({"moved_gib": 100.1}, False),
        ({"memory_spread": 0.11}, False),
        ({"moved_gib": 99, "memory_spread": 0.09}, True),
    ],
)
def test_against_proxlb(ours: dict[str, t.Any], expected: bool) -> None:
    found = reached(row("proxlb"), row("virtops-as-proxlb", **ours))
    assert found["no more GiB than proxlb for no worse a spread"] is expected


def test_the_table_shows_what_is_not_known() -> None:
    titles = table.heading().split()
    line = table.line({"engine": "hbal", "note": "not finished: stopped"}).split()
    assert line[: len(titles)] == ["hbal", *["-"] * 9, "not", "finished:", "stopped"][: len(titles)]
