# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The figures of a replay and of what really happened."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.recording import Recording
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.result import happened, result
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.world import Copy, World
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils._backtest.recordings import (
    STEP,
    domain,
    host,
    recording,
)

Json = dict[str, t.Any]
TWO = [host("a"), host("b")]


def test_moves_are_counted() -> None:
    of = recording(TWO, domain("x", "a", [1.0] * 20), domain("y", "a", [1.0] * 20))
    world = World(of, keep=0, limit=0.9)
    ways = [("x", "a", "b", 0.0), ("x", "b", "a", 3599.0), ("y", "a", "b", 0.0), ("x", "a", "b", 9000.0)]
    made = [Copy(name, source, end, 1024.0, at, at + 10.0) for name, source, end, at in ways]
    found = result(world, made, name="p", runs=3, runs_that_moved=2)
    figures = ("policy", "runs", "runs_that_moved", "moves", "gib", "moved_back", "most_moves_of_one")
    assert [found[key] for key in figures] == ["p", 3, 2, 4, 4.0, 1, 3]
    assert found["made"][1] == {
        "at": "2026-01-31T12:59:59Z",
        "domain": "x",
        "name": "x",
        "source": "b",
        "destination": "a",
        "mib": 1024.0,
        "seconds": 10.0,
    }
    assert found["times"] == {"begins_at": "2026-01-31T12:00:00Z", "step_seconds": STEP, "steps": 20}
    assert found["cpu_seconds"] is None
    assert (found["unserved"], found["host_time_full"], found["worst"]) == (0.0, 0.0, [])
    json.dumps(found)


def test_the_worst_domains_come_first() -> None:
    names = [f"d{number}" for number in range(7)]
    of = recording(TWO, *(domain(name, "a", [0.5 + number] * 2) for number, name in enumerate(names)))
    world = World(of, keep=0, limit=0.9)
    world.advance()
    world.domains["d3"].unserved *= 2.0
    found = result(world, [], name="p", runs=0, runs_that_moved=0)
    # A domain of more than its four vCPUs does not get what is beyond them either.
    assert [one["name"] for one in found["worst"]] == ["d3", "d6", "d5", "d4", "d0"]
    assert found["host_time_full"] == found["host_time_above_limit"] == 0.5


def happening() -> Recording:
    hosts = [
        host("a", used=[0.5, 0.5, None, 1.0]),
        host("b", asleep=[True, False, False, False]),
        host("c", asleep=[False, False, True, True]),
    ]
    return recording(
        hosts,
        domain("x", ["a", "b", "b", "a"], [2.0, 2.0, 4.0, 4.0], used=[2.0, 1.0, 4.0, None]),
        domain("y", ["a", None, "b", "b"], [1.0, None, 1.0, 1.0], used=[1.0, None, 0.5, 1.0]),
    )


def test_what_really_happened() -> None:
    found = happened(happening(), 0.9)
    assert [(m["name"], m["source"], m["destination"], m["at"][11:16], m["seconds"]) for m in found["made"]] == [
        ("x", "a", "b", "12:05", None),
        ("x", "b", "a", "12:15", None),
    ]
    assert (found["moves"], found["moved_back"], found["runs"], found["wakes"], found["sleeps"]) == (2, 1, None, 1, 1)
    # x got 7 of 8, y 2.5 of 3.
    assert found["unserved"] == pytest.approx(1.5 / 11.0, abs=1e-6)
    assert [one["name"] for one in found["worst"]] == ["y", "x"]
    assert found["hosts"] == {
        "a": [0.5, 0.5, None, 1.0],
        "b": [None, 0.5, 1.0, 0.25],
        "c": [0.0, 0.0, None, None],
    }
    # a is awake for three steps, b for two, c for two.
    assert found["kwh"] == pytest.approx(_joules() / 3.6e6, abs=1e-6)


def _joules() -> float:
    idle = 7 * 100.0 * STEP
    cores = 2.0 + 1.0 + 3.0 + 4.0
    return idle + 25.0 * cores * STEP


def test_what_cannot_be_known_is_null() -> None:
    unknown = recording([host("a", power=None), host("b")], domain("x", "a", [2.0, 2.0]))
    found = happened(unknown, 0.9)
    assert (found["unserved"], found["worst"], found["kwh"]) == (None, [], None)
    assert found["hosts"]["a"] == [0.5, 0.5]
