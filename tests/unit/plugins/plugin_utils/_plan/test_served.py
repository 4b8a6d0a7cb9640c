# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""How much of the CPU that domains want they get: before a plan, over the history, after it, and as observed then."""

from __future__ import annotations

import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtops.balance.plugins.plugin_utils._plan.outcome import outcome
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils._plan.test_plan_properties import fleets
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    TAKEN_AT,
    Json,
    carried_out,
    domain,
    host,
    moves,
    snapshot,
)


def past(cores: float, ready: float | None) -> Json:
    return {"step_seconds": 300, "ends_at": TAKEN_AT, "cpu_cores": [cores] * 24, "cpu_ready": [ready] * 24}


def crowded(*, ready: float | None = 0.5, history: Json | None = None, guests: int = 4, **more: t.Any) -> Json:
    """Domains that use half a core each, on the first of two hosts with two threads."""
    hosts = {name: host(threads=2) for name in ("kvm1", "kvm2")}
    data = [domain(f"d{i}", "kvm1", 0.5, cpu_ready=ready, history=history, **more) for i in range(guests)]
    return snapshot(hosts, *data)


def test_now_in_the_past_and_after_the_plan() -> None:
    made = plan(crowded(history=past(0.5, 0.2), vcpus=1), {"demand": "observation", "host_demand": "observation"})
    assert len(moves(made)) == 2
    assert made["served"]["minutes"] == 120.0
    assert made["served"]["domains"] == {f"d{i}": {"now": 0.5, "past": 0.8, "after": 1.0} for i in range(4)}
    gone = {move["name"] for move in moves(made)}
    assert made["served"]["worst"] == [
        {
            "domain": name,
            "name": name,
            "host": "kvm1",
            "destination": "kvm2" if name in gone else None,
            "now": 0.5,
            "past": 0.8,
            "after": 1.0,
        }
        for name in ("d0", "d1", "d2", "d3")
    ]


def test_hosts_that_stay_full_share_what_they_have() -> None:
    # Six domains that want a core each on four threads: three for each host.
    made = plan(crowded(guests=6, vcpus=1))
    assert len(moves(made)) == 3
    assert {shares["after"] for shares in made["served"]["domains"].values()} == {0.6667}


def test_where_nothing_changes_the_share_is_as_it_is() -> None:
    # Half of what they want is what they get, although the host is idle: they are pinned, for example.
    hosts = {name: host(threads=40) for name in ("kvm1", "kvm2")}
    made = plan(snapshot(hosts, *(domain(f"d{i}", f"kvm{1 + i}", 1.0, cpu_ready=0.5) for i in range(2))))
    assert not moves(made)
    assert made["served"]["domains"]["d0"] == {"now": 0.5, "past": None, "after": 0.5}


@pytest.mark.parametrize(
    ("data", "shares"),
    [
        pytest.param(crowded(ready=None), {"now": None, "past": None, "after": None}, id="the wait is not known"),
        pytest.param(
            crowded(ready=None, history=past(0.5, 0.5)), {"now": None, "past": 0.5, "after": None}, id="now it is not"
        ),
        pytest.param(
            crowded(ready=0.0, history=past(0.5, None)), {"now": 1.0, "past": None, "after": 1.0}, id="it was not"
        ),
    ],
)
def test_what_is_not_known_is_null(data: Json, shares: Json) -> None:
    assert plan(data, {"threshold": 1.0, "target": 1.0})["served"]["domains"]["d0"] == shares


@pytest.mark.parametrize(
    ("more", "listed"),
    [
        pytest.param({"cpu_cores": 8.0, "vcpus": 16, "cpu_ready": 0.009}, False, id="nearly all"),
        pytest.param({"cpu_ready": 0.2}, True, id="clearly less"),
        pytest.param({"cpu_cores": 0.04, "cpu_ready": 0.4}, False, id="nearly idle"),
        pytest.param({"cpu_ready": 0.0, "history": past(0.5, 0.2)}, True, id="all now, less before"),
        pytest.param({"cpu_ready": None}, False, id="not known"),
    ],
)
def test_who_is_listed(more: Json, listed: bool) -> None:
    hosts = {name: host() for name in ("kvm1", "kvm2")}
    made = plan(snapshot(hosts, {**domain("a", "kvm1", 0.5), **more}, domain("b", "kvm2", 0.5)))
    assert [one["name"] for one in made["served"]["worst"]] == ["a"] * listed


def test_the_worst_five_come_first() -> None:
    hosts = {name: host(threads=40) for name in ("kvm1", "kvm2")}
    guests = [domain(f"d{i}", "kvm1", 0.5, cpu_ready=0.1 + i / 20) for i in range(8)]
    made = plan(snapshot(hosts, *guests))
    assert [one["name"] for one in made["served"]["worst"]] == ["d7", "d6", "d5", "d4", "d3"]


def test_the_outcome_tells_what_was_observed_again() -> None:
    data = crowded()
    made = plan(data)
    done = carried_out(data, made)
    for guest, ready in zip(done["domains"].values(), (0.0, 0.1, None, 0.0), strict=True):
        guest["cpu_ready"] = ready
    found = outcome(made, [{"move": move, "changed": True} for move in moves(made)], done)["served"]
    assert found["domains"] == {
        "d0": {"before": 0.5, "after": 1.0},
        "d1": {"before": 0.5, "after": 0.9},
        "d2": {"before": 0.5, "after": None},
        "d3": {"before": 0.5, "after": 1.0},
    }
    place = done["domains"]["d0"]["host"]
    assert found["worst"][0] == {"domain": "d0", "name": "d0", "host": place, "before": 0.5, "after": 1.0}


def test_who_is_served_worse_afterwards_is_listed_too() -> None:
    data = crowded(ready=0.0)
    made = plan(data, {"threshold": 0.01, "minimum_gain": 0, "move_cost": 0})
    assert made["served"]["worst"] == []
    done = carried_out(data, made)
    done["domains"]["d1"]["cpu_ready"] = 0.3
    (one,) = outcome(made, [{"move": move, "changed": True} for move in moves(made)], done)["served"]["worst"]
    assert (one["name"], one["before"], one["after"]) == ("d1", 1.0, 0.7)


def test_the_plan_of_an_earlier_version_has_no_shares() -> None:
    data = crowded()
    made = {key: value for key, value in plan(data).items() if key != "served"}
    found = outcome(made, [], data)["served"]
    assert found["domains"]["d0"] == {"before": None, "after": 0.5}


@given(fleets(), st.lists(st.one_of(st.none(), st.floats(0.0, 1.0)), min_size=14, max_size=14))
def test_shares_are_fractions_and_plain_data(drawn: tuple[Json, Json], waits: list[float | None]) -> None:
    data, policy = drawn
    for guest, ready in zip(data["domains"].values(), waits, strict=False):
        guest["cpu_ready"] = ready
        guest["history"] = past(guest["cpu_cores"] or 0.0, ready)
    served = plan(data, policy)["served"]
    for shares in served["domains"].values():
        assert all(share is None or 0.0 <= share <= 1.0 for share in shares.values())
    assert len(served["worst"]) <= 5
    assert all(served["domains"][one["domain"]]["now"] is not None for one in served["worst"])
    json.dumps(served, allow_nan=False)
