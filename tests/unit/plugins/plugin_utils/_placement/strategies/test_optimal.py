# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The strategy optimal of plans, held against all placements that there are."""

from __future__ import annotations

import itertools
import sys
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError, FleetError
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._report.plan_table import plan_table
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    domain,
    host,
    moves,
    snapshot,
)

OPTIMAL = {"strategy": "optimal", "minimum_gain": 0, "optimal_seconds": 3}
APART = {"anti_affinity": [{"name": "db", "domains": {"tag": "db"}}]}
TOGETHER = {"affinity": [{"name": "pair", "domains": {"names": ["d0", "d1"]}}]}


def fleet(*, total: int = 9000) -> Json:
    """Three hosts and six domains, of which two are databases."""
    cores = (2.9, 2.3, 1.7, 1.3, 0.7, 0.4)
    guests = (
        domain(f"d{i}", "ab"[i > 4], cores=c, mib=500 + 150 * (i * 7 % 5), tags=["db"] * (i in (1, 3)))
        for i, c in enumerate(cores)
    )
    return snapshot({name: host(total=total) for name in "abc"}, *guests)


def least(data: Json, policy: Json) -> float:
    """The least score plus price of all placements that no rule refuses."""
    wanted = Policy.from_mapping(policy)
    found = Fleet(Snapshot.from_mapping(data), wanted)
    rules = Rules(found)
    best = float("inf")
    for placement in itertools.product(found.hosts, repeat=len(found.domains)):
        for guest, end in zip(found.domains, placement, strict=True):
            if guest.host is not end:
                found.move(guest, end)
        moved = [guest for guest in found.domains if guest.moved]
        if len(moved) > (wanted.max_moves or len(moved)) or any(rules.violations(guest) for guest in found.domains):
            continue
        if all(fits(found, rules, guest) for guest in moved):
            price = sum(wanted.move_cost + wanted.move_cost_per_gib * guest.copy_mib / 1024 for guest in moved)
            best = min(best, found.score.value() + price)
    return best


def fits(found: Fleet, rules: Rules, guest: t.Any) -> bool:
    end = guest.host
    found.release(guest, end)
    refused = rules.refuses(guest, end)
    found.occupy(guest, end)
    return refused is None


@pytest.mark.parametrize(
    ("policy", "total"),
    [({}, 9000), ({"max_moves": 2}, 9000), (APART, 9000), (TOGETHER, 9000), ({}, 4300), ({"cpu_limit": 0.4}, 9000)],
)
def test_it_is_the_least_of_all_placements(policy: Json, total: int) -> None:
    data, policy = fleet(total=total), {**OPTIMAL, **policy}

    found = plan(data, policy)

    assert found["optimum"]["found"] == pytest.approx(least(data, policy), abs=2e-5)
    assert found["optimum"]["bound"] <= found["optimum"]["found"]
    assert found["optimum"]["proved"]
    assert found["notes"][-1].endswith("proved to be the lowest.")
    assert plan(data, policy) == found


def test_balance_is_never_better() -> None:
    guests = [domain(f"d{i:02}", "ab"[i % 3 > 1], cores=0.2 + i % 7 / 4, mib=100 + i * 37 % 900) for i in range(14)]
    data = snapshot({name: host(total=20000, threads=8) for name in "abc"}, *guests)
    policy = {"threshold": 0, "target": 0, "max_moves": None, "minimum_gain": 0}

    balanced = plan(data, policy)
    found = plan(data, {**policy, "strategy": "optimal", "optimal_seconds": 0.1})

    price = sum(0.005 + 0.0005 * data["domains"][m["domain"]]["memory"]["rss_mib"] / 1024 for m in moves(balanced))
    assert found["optimum"]["found"] <= balanced["score"]["after"] + price + 1e-5
    assert 0 < found["optimum"]["bound"] <= found["optimum"]["found"]


def test_a_level_fleet_is_left_alone() -> None:
    data = snapshot({"a": host(), "b": host()}, domain("x", "a"), domain("y", "b", cores=2.0))

    found = plan(data, OPTIMAL)

    assert (found["verdict"], found["optimum"]) == ("balanced", None)


def test_the_bound_is_told() -> None:
    text = " ".join(plan_table(plan(fleet(), OPTIMAL)).split())

    assert "Score plus price of moves of the placement found: 0." in text


def test_a_large_fleet_is_refused() -> None:
    names = [f"h{i:03}" for i in range(150)]
    guests = (domain(f"d{i}", names[i % 20], cores=0.5) for i in range(140))
    data = snapshot({name: host() for name in names}, *guests)

    with pytest.raises(FleetError, match="'optimal' is for small fleets: 140 domains that may move times 150 hosts"):
        plan(data, OPTIMAL)


def test_ortools_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)

    with pytest.raises(BalanceError, match="'optimal' needs the Python package ortools on the control node"):
        plan(fleet(), OPTIMAL)
