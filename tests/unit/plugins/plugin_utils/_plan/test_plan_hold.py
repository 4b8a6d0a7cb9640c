# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""An uneven fleet is left alone until it was found uneven often enough."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._report.plan_table import plan_table
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    domain,
    host,
    moves,
    snapshot,
)


def uneven(rounds: int | None, *, other: int | None = 0) -> Json:
    """Six domains on a of two hosts, which remember so many uneven rounds (None: they remember nothing)."""
    marks = {"a": rounds, "b": other}
    hosts = {name: host(marks=None if n is None else {"uneven_rounds": n}) for name, n in marks.items()}
    return snapshot(hosts, *(domain(f"d{i}", "a") for i in range(6)))


@pytest.mark.parametrize(
    ("rounds", "hold", "verdict", "remembered"),
    [
        (0, 1, "move", 0),
        (None, 1, "move", 0),
        (None, 2, "hold", 1),
        (0, 2, "hold", 1),
        (1, 2, "move", 0),
        (1, 3, "hold", 2),
        (5, 3, "move", 0),
    ],
)
def test_hold(rounds: int | None, hold: int, verdict: str, remembered: int) -> None:
    found = plan(uneven(rounds), {"hold": hold})

    assert (found["verdict"], found["uneven_rounds"]) == (verdict, remembered)
    assert bool(found["waves"]) == (verdict == "move")


def test_one_host_that_remembers_is_enough() -> None:
    assert plan(uneven(0, other=1), {"hold": 2})["verdict"] == "move"


def test_a_level_fleet_forgets() -> None:
    level = snapshot({"a": host(marks={"uneven_rounds": 4}), "b": host()}, domain("x", "a"), domain("y", "b"))

    assert plan(level, {"hold": 9})["uneven_rounds"] == 0


def test_rules_are_repaired_at_once() -> None:
    policy: dict[str, t.Any] = {"hold": 3, "pins": [{"domains": "domains[?name=='d0']", "hosts": ["b"]}]}

    found = plan(uneven(0), policy)

    assert [move["name"] for move in moves(found)] == ["d0"]
    assert found["uneven_rounds"] == 1


def test_it_is_told() -> None:
    text = plan_table(plan(uneven(1), {"hold": 3}))

    assert text.startswith("WAITING: nothing moves yet.")
    assert "The fleet was uneven in 2 runs in a row; the policy acts after 3 runs (hold)." in " ".join(text.split())
