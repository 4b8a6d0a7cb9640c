# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.suggest import front, grid
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy


def result(policy: str, moves: int, unserved: float | None) -> dict[str, t.Any]:
    return {"policy": policy, "moves": moves, "unserved": unserved}


def test_the_front_is_what_no_other_one_beats() -> None:
    given = [
        result("policy", 10, 0.02),
        result("worse", 10, 0.03),
        result("same", 10, 0.02),
        result("calm", 2, 0.05),
        result("beaten by calm", 3, 0.05),
        result("eager", 40, 0.001),
        result("unknown", 0, None),
    ]
    assert front(given) == ["calm", "policy", "eager"]


def test_what_looks_the_same_is_the_same() -> None:
    """Only one of .022 % and .022 % is marked, and less than .001 % is still more than nothing."""
    given = [
        result("policy", 5, 0.000221),
        result("eager", 8, 0.000219),
        result("busy", 9, 1e-6),
        result("all", 10, 0.0),
    ]
    assert front(given) == ["policy", "busy", "all"]
    assert front([result("base", 5, 0.12341), result("first", 5, 0.12339), result("more", 6, 0.1229)]) == ["base"]


def test_nothing_known_is_no_front() -> None:
    assert front([result("unknown", 0, None)]) == []


@pytest.mark.parametrize(
    ("policy", "count", "keys"),
    [
        ({}, 24, {"threshold", "hold", "demand", "cooldown_seconds"}),
        ({"strategy": "consolidate"}, 12, {"quiet_minutes", "demand", "cooldown_seconds"}),
        ({"threshold": 0.15}, 24, {"threshold", "hold", "demand", "cooldown_seconds"}),
    ],
)
def test_the_grid_is_of_policies_that_differ_in_these_keys_only(
    policy: dict[str, t.Any], count: int, keys: set[str]
) -> None:
    complete = Policy.from_mapping(policy).to_mapping()
    found = grid(complete)
    # The default policy is one of its own grid.
    assert len(found) in (count, count - 1)
    assert complete not in found.values()
    assert {key for one in found.values() for key in one if one[key] != complete[key]} <= keys
    for one in found.values():
        assert Policy.from_mapping(one).to_mapping() == one


def test_names_say_what_differs() -> None:
    complete = Policy.from_mapping({}).to_mapping()
    calm = grid(complete)["t0.4 h3 peak c120"]
    assert (calm["threshold"], calm["hold"], calm["demand"]["name"], calm["cooldown_seconds"]) == (
        0.4,
        3,
        "peak",
        7200.0,
    )


def test_a_target_above_the_threshold_gives_way() -> None:
    complete = Policy.from_mapping({"threshold": 0.3, "target": 0.25}).to_mapping()
    targets = {one["threshold"]: one["target"] for one in grid(complete).values()}
    assert targets == {0.1: None, 0.2: None, 0.4: 0.25}
