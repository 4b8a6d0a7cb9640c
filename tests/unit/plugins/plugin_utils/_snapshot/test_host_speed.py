# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What one thread of each host does, and what a plan makes of it."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import SnapshotError
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.best_host import best_host
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.host_speed import host_speeds
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    TAKEN_AT,
    Json,
    domain,
    host,
    moves,
    snapshot,
    ways,
)


def at(mhz: t.Any, state: str = "active") -> Json:
    return {"state": state, "asleep" if state == "asleep" else "cpu": {"max_mhz": mhz}}


@pytest.mark.parametrize(
    ("hosts", "given", "expected"),
    [
        pytest.param([at(3000), at(3000)], {}, [1.0, 1.0], id="equal"),
        pytest.param([at(3000), at(3100), at(3000)], {}, [1.0, 1.0, 1.0], id="a few per cent are nothing"),
        pytest.param([at(3000), at(2000), at(2040)], {}, [1.5, 1.0, 1.0], id="against the slowest"),
        pytest.param([at(2000), at(3000), at(3100)], {}, [1.0, 1.5, 1.5], id="two fast ones are alike"),
        pytest.param([at(3000), at(None)], {}, [None, None], id="one has no rate"),
        pytest.param([at(3000), {"state": "active"}], {}, [None, None], id="one has no CPU"),
        pytest.param([at(3000), at(2000, "asleep")], {}, [1.5, 1.0], id="one sleeps"),
        pytest.param([at(3000), at(2000), {"state": "unknown"}], {}, [1.5, 1.0, None], id="one does not answer"),
        pytest.param([at(3000), at(2000)], {"0": 2}, [2.0, None], id="the inventory counts, for all"),
        pytest.param([at(3000), at(2000)], {"0": "1.25", "1": None}, [1.25, None], id="as a text"),
        pytest.param([{"state": "unknown"}], {}, [None], id="nobody answers"),
    ],
)
def test_speeds(hosts: list[Json], given: Json, expected: list[float | None]) -> None:
    found = host_speeds({str(number): about for number, about in enumerate(hosts)}, given)
    assert list(found.values()) == expected


@pytest.mark.parametrize("value", [0, -1, True, "fast", [1.5], float("nan"), float("inf")])
def test_a_speed_that_is_none(value: t.Any) -> None:
    with pytest.raises(SnapshotError, match=r"balance_host_speed of kvm1 is .* must be a number above 0"):
        host_speeds({"kvm1": at(3000)}, {"kvm1": value})


def fleet(speed: float) -> Json:
    """Eight cores of a's ten are used; b has as many threads and is idle."""
    guests = [domain(f"d{number}", "a", 1.0) for number in range(8)]
    return snapshot({"a": host(), "b": host(speed=speed)}, *guests)


def test_a_fast_host_takes_more() -> None:
    after = plan(fleet(2.0))["hosts"]
    assert [after[name]["after"]["domains"] for name in "ab"] == [3, 5]
    assert [after[name]["after"]["cpu"] for name in "ab"] == [0.3, 0.25]


def test_what_runs_on_a_fast_host_is_more_on_a_slow_one() -> None:
    guests = [domain(f"d{number}", "a", 4.0, vcpus=8) for number in range(2)]
    data = snapshot({"a": host(speed=2.0), "b": host()}, *guests)
    assert plan(data, {"drained_hosts": ["a"]})["hosts"]["b"]["after"]["cpu"] == 1.6
    refused = best_host(data, {"name": "new", "vcpus": 10, "memory_mib": 100})["refused"]
    assert [found["constraint"] for found in refused["b"]] == ["cpu"]


def test_a_history_counts_at_the_speed_of_its_host() -> None:
    past = {"step_seconds": 60, "ends_at": TAKEN_AT, "cpu_cores": [4.0] * 10}
    guests = [domain(f"d{number}", "a", 4.0, vcpus=8, history=past) for number in range(2)]
    data = snapshot({"a": host(speed=2.0), "b": host(), "c": host()}, *guests)
    found = plan(data, {"drained_hosts": ["a"]})
    assert [found["hosts"][name]["after"]["cpu"] for name in "bc"] == [0.8, 0.8]


@pytest.mark.parametrize("strategy", ["balance", "optimal", "consolidate"])
def test_equal_hosts_of_any_speed_are_planned_alike(strategy: str) -> None:
    if strategy == "optimal":
        pytest.importorskip("ortools")
    plain = fleet(1.0)
    fast = copy.deepcopy(plain)
    for about in fast["hosts"].values():
        about["speed"] = 1.5
    assert ways(plan(fast, {"strategy": strategy})) == ways(plan(plain, {"strategy": strategy}))


def test_optimal_counts_speeds() -> None:
    pytest.importorskip("ortools")
    found = plan(fleet(2.0), {"strategy": "optimal"})["hosts"]
    assert found["b"]["after"]["domains"] >= 5


def test_consolidate_fills_a_fast_host_further() -> None:
    guests = [domain(f"d{number}", "a", 1.0) for number in range(2)]
    guests += [domain(f"e{number}", "b", 1.0) for number in range(6)]
    hosts = {"a": host(may_sleep=True), "b": host(), "c": host(may_sleep=True)}
    policy = {"strategy": "consolidate", "cpu_overcommit": None}
    assert not moves(plan(snapshot(copy.deepcopy(hosts), *copy.deepcopy(guests)), policy))
    hosts["b"]["speed"] = 1.0
    for name in "ac":
        hosts[name]["speed"] = 0.5
    assert {way[2] for way in ways(plan(snapshot(hosts, *guests), policy))} == {"b"}
