# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The best use of max_moves."""

from __future__ import annotations

import random

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._placement.strategies import balance
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    domain,
    host,
    moves,
    snapshot,
)

POLICY = {"max_moves": 6, "target": 0.0, "threshold": 0.02}


def fleet(seed: int) -> Json:
    """Two busy hosts and four with little to do."""
    chance = random.Random(seed)
    guests = (
        domain(f"d{i:02}", chance.choice("aabbcdef"), chance.uniform(0.2, 2.0), chance.randint(200, 1800))
        for i in range(40)
    )
    return snapshot({name: host(threads=16, total=20000) for name in "abcdef"}, *guests)


def test_max_moves_are_spent_a_second_time_where_that_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    fleets = [fleet(seed) for seed in range(12)]
    spent_twice = [plan(data, POLICY) for data in fleets]
    monkeypatch.setattr(balance, "spend_again", lambda search: None)
    spent_once = [plan(data, POLICY) for data in fleets]

    scores = [
        (twice["score"]["after"], once["score"]["after"]) for twice, once in zip(spent_twice, spent_once, strict=True)
    ]
    assert all(len(moves(found)) <= POLICY["max_moves"] for found in spent_twice)
    assert all(twice <= once + 0.02 for twice, once in scores), "worse by more than the moves are cheaper"
    assert sum(twice < 0.95 * once for twice, once in scores) >= 3
