# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""By which figures the moves of a plan were decided, in its data and in words."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.plan import allocation_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._report.plan_table import plan_table
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    TAKEN_AT,
    Json,
    domain,
    host,
    moves,
    snapshot,
)

HOUR = 60
LOW_AND_HIGH = [0.5] * 54 + [5.0] * 6  # 0.95 on average
NOW = {"demand": "observation", "host_demand": "observation"}


def past(cores: t.Sequence[float | None]) -> Json:
    return {"step_seconds": 60, "ends_at": TAKEN_AT, "cpu_cores": list(cores), "cpu_ready": [0.0] * len(cores)}


def full(cores: t.Sequence[float | None], now: float, *, speed: float | None = None, guests: int = 4) -> Json:
    """All domains are on one of two hosts with 8 threads."""
    hosts = {name: host(threads=8, speed=speed) for name in ("kvm1", "kvm2")}
    return snapshot(hosts, *(domain(f"web-{i}", "kvm1", now, vcpus=8, history=past(cores)) for i in range(guests)))


def first(data: Json, **policy: t.Any) -> Json:
    """The figures of the first move."""
    found: Json = moves(plan(data, policy))[0]["figures"]
    return found


def test_what_is_wanted_now_and_by_the_history() -> None:
    found = first(full([1.6] * HOUR, 0.4))
    assert found == {
        "now": 0.4,
        "demand": 1.6,
        "predictor": "mean",
        "minutes": 60.0,
        "peak": 1.6,
        "peaks": {"kvm1": {"before": 0.8, "after": 0.6}, "kvm2": {"before": 0.0, "after": 0.2}},
        "told": "web-0 wants 0.4 cores now, 1.6 on average in the last 60 min",
    }


@pytest.mark.parametrize(
    ("demand", "told"),
    [
        ("mean", "web-0 wants 0.1 cores now, 0.9 on average in the last 60 min"),
        ("quantile", "web-0 wants 0.1 cores now, 5.0 at the 95th percentile in the last 60 min"),
        (
            {"name": "quantile", "parameters": {"quantile": 0.99}},
            "web-0 wants 0.1 cores now, 5.0 at the 99th percentile",
        ),
        (
            {"name": "mean", "parameters": {"minutes": 10}},
            "web-0 wants 0.1 cores now, 3.2 on average in the last 10 min",
        ),
        ("n_sigma", "web-0 wants 0.1 cores now, 3.7 at the mean plus 2 standard deviations in the last 60 min"),
        ("peak", "web-0 wants 0.1 cores now, 5.0 at peak in the last 60 min"),
    ],
)
def test_the_words_are_those_of_the_predictor(demand: t.Any, told: str) -> None:
    found = first(full(LOW_AND_HIGH, 0.1), demand=demand, host_demand="observation", threshold=0.01, minimum_gain=0)
    assert found["told"].startswith(told)


def test_the_window_is_as_long_as_the_history_is() -> None:
    data = full([None] * 40 + [1.6] * 20, 0.4)
    data["domains"]["web-3"]["history"] = past([1.6] * HOUR)
    found = {move["name"]: move["figures"]["minutes"] for move in moves(plan(data, {"max_moves": 4}))}
    assert found["web-0"] == 20.0


def test_cores_are_those_of_the_present_host() -> None:
    found = first(full([1.6] * HOUR, 0.4, speed=2.0))
    assert (found["now"], found["demand"], found["peak"]) == (0.4, 1.6, 1.6)


def test_a_host_that_is_relieved_at_its_peaks_is_told_by_them() -> None:
    made = plan(full(LOW_AND_HIGH, 0.5, guests=3))
    move = moves(made)[0]
    assert made["why"] == "The domains of kvm1 want 188 % of its CPU at their peaks."
    assert move["resource"] == "peak"
    assert move["why"] == "relieves a host at its peaks; kvm1 188 -> 125, kvm2 0 -> 62 % CPU at peak"
    assert move["figures"]["peaks"]["kvm2"] == {"before": 0.0, "after": 0.625}
    assert move["figures"]["told"] == ("web-0 wants 0.5 cores now, 0.9 on average and 5.0 at peak in the last 60 min")
    assert "      web-0 wants 0.5 cores now, 0.9 on average and" in plan_table(made)


def test_two_windows_are_told_each() -> None:
    short = {"name": "mean", "parameters": {"minutes": 12}}
    found = first(full(LOW_AND_HIGH, 0.5, guests=3), demand=short)
    assert found["told"] == (
        "web-0 wants 0.5 cores now, 2.8 on average in the last 12 min and 5.0 at peak in the last 60 min"
    )


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(full([1.6] * HOUR, 1.6), id="the history says the same"),
        pytest.param(full([1.65] * HOUR, 1.6), id="nearly the same"),
        pytest.param(full([None] * HOUR, 1.6), id="there is none"),
    ],
)
def test_nothing_is_told_that_says_nothing(data: Json) -> None:
    found = plan(data)
    assert moves(found)
    assert [move["figures"]["told"] for move in moves(found)] == [None] * len(moves(found))
    assert " wants " not in plan_table(found)


def test_this_moment_has_no_window() -> None:
    found = first(full([1.6] * HOUR, 1.5), **NOW)
    assert found == {
        "now": 1.5,
        "demand": 1.5,
        "predictor": "observation",
        "minutes": None,
        "peak": None,
        "peaks": None,
        "told": None,
    }


def test_a_repair_is_told_by_its_rule_alone() -> None:
    made = plan(full([1.6] * HOUR, 0.4), {"drained_hosts": ["kvm1"], "cpu_limit": 1.0})
    assert moves(made)[0]["figures"]["demand"] == 1.6
    assert {move["figures"]["told"] for move in moves(made)} == {None}


def test_an_allocation_is_not_decided_by_them() -> None:
    wanted = {"web-0": {"cpu_min": 1, "cpu_max": 1, "hosts": ["kvm2"]}}
    made = allocation_plan(full([1.6] * HOUR, 0.4), wanted, {}, {})
    assert [move["figures"] for move in moves(made)] == [None]


@pytest.mark.parametrize(
    ("data", "policy", "words"),
    [
        (full([1.6] * HOUR, 0.4), {}, "what domains wanted on average in the last 60 min"),
        (full([1.6] * HOUR, 0.4), {"demand": "peak"}, "what domains wanted at peak in the last 60 min"),
        (full([None] * 40 + [1.6] * 20, 0.4), {}, "what domains wanted on average in the last 20 min"),
        (snapshot({"a": host(), "b": host()}, domain("x", "a")), {}, "what domains want now: no history is known"),
        (snapshot({"a": host(), "b": host()}, domain("x", "a")), NOW, None),
        (full([1.6] * HOUR, 0.4), {"demand": "observation"}, None),
        (full([None] * HOUR, 0.4), {}, None),
    ],
)
def test_what_the_use_of_cpus_is(data: Json, policy: Json, words: str | None) -> None:
    made = plan(data, policy)
    assert made["cpu_by"] == words
    # A plan without moves is told in few lines.
    told = words is not None and made["waves"] != []
    assert (f"\nCPU % is {words}.\n" in f"{plan_table(made)}\n") == told
    assert ("CPU % is" in plan_table(made)) == told
