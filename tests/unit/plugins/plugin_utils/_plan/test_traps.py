# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Saved snapshots with a trap in each, planned without a host, and what the plan must be."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import Json, carried_out, moves, ways

APART = {"anti_affinity": [{"name": "db", "domains": {"tag": "db"}}]}


def saved(name: str) -> Json:
    text = (Path(__file__).parents[1] / "snapshots" / f"{name}.json").read_text(encoding="utf-8")
    return t.cast(Json, json.loads(text))


def refused(found: Json) -> dict[str, set[str]]:
    """Who wanted to move and could not, and which rules say so."""
    return {
        wish["name"]: {reason["constraint"] for why in wish["reasons"].values() for reason in why}
        for wish in found["refused"]
    }


def test_cycle_goes_over_a_third_host() -> None:
    # The memory of kvm1 and kvm2 is full. A busy domain has to change places with an idle one; kvm3 has room for one.
    data = saved("cycle")

    found = plan(data)

    assert found["verdict"] == "move"
    assert [len(wave["moves"]) for wave in found["waves"]] == [1, 1, 1]
    assert ways(found) == [("idle-0", "kvm2", "kvm3"), ("busy-0", "kvm1", "kvm2"), ("idle-0", "kvm3", "kvm1")]
    assert [move["resource"] for move in moves(found)] == ["parking", "cpu", "memory"]
    assert found["spread"]["after"]["cpu"] < 0.01
    assert found["refused"] == []
    assert plan(carried_out(data, found))["verdict"] == "balanced"


@pytest.mark.parametrize(
    "policy", [{"ignore_hosts": ["kvm3"]}, {"reserves": [{"hosts": ["kvm3"], "memory_mib": 220000}]}]
)
def test_cycle_without_a_third_host_is_reported(policy: Json) -> None:
    found = plan(saved("cycle"), policy)

    assert (found["verdict"], found["waves"]) == ("stuck", [])
    assert {"busy-0", "busy-1"} <= set(refused(found))


def test_five_that_avoid_each_other_on_four_hosts_are_reported_once() -> None:
    data = saved("five_on_four")

    found = plan(data, APART)

    assert (found["verdict"], found["waves"]) == ("stuck", [])
    assert found["notes"] == ["Anti-affinity 'db' cannot be kept: 5 domains, 4 hosts that can take them."]
    assert refused(found) == {"db-4": {"anti_affinity"}, "db-5": {"anti_affinity"}}


def test_one_that_has_no_other_host_stays_on_a_full_one() -> None:
    data = saved("five_on_four")
    for guest in data["domains"].values():
        guest["cpu_cores"] = 3.5
    data["hosts"]["kvm1"]["cpu"]["usage"] = 0.95

    found = plan(data, APART)

    # What db-1 avoids is everywhere, so it stays on the host that is too full, and the reasons say so.
    assert found["waves"] == []
    assert refused(found)["db-1"] == {"anti_affinity"}


def test_a_giant_stays_and_others_make_way() -> None:
    # No host has room for it below the limit, and it alone is most of what kvm1 carries.
    data = saved("giant")

    found = plan(data)

    assert {move["source"] for move in moves(found)} == {"kvm1"}
    assert "giant" not in {move["name"] for move in moves(found)}
    assert found["hosts"]["kvm1"]["after"]["cpu"] <= 0.9
    assert refused(found) == {"giant": {"cpu"}}
    again = plan(carried_out(data, found))
    assert (again["verdict"], again["waves"]) == ("stuck", [])


def test_a_giant_does_not_go_to_and_fro() -> None:
    data = saved("giant")
    for guest in data["domains"].values():
        if guest["name"] != "giant":
            guest["cpu_cores"] = 0.0
    for name in data["hosts"]:
        data["hosts"][name]["cpu"]["usage"] = 13.5 / 16 if name == "kvm1" else 0.0

    assert plan(data)["waves"] == []


@pytest.mark.parametrize("policy", [{}, {"drained_hosts": ["kvm-haswell"]}])
def test_unlike_cpus_with_a_model_that_both_offer(policy: Json) -> None:
    # As KVM guests are: with "hypervisor", which no host lists, and features that the newer host's model implies.
    data = saved("mixed_cpu")

    found = plan(data, policy)

    assert len(moves(found)) == (4 if policy else 2)
    assert {move["destination"] for move in moves(found)} == {"kvm-cascadelake"}


@pytest.mark.parametrize(
    ("policy", "left"),
    [
        ({}, "stuck"),  # both hosts accept 80 %, and x is 15 %
        ({"placement": {"name": "best_fit_decreasing", "parameters": {"cpu_fill": 1.0}}}, "stuck"),
        ({"overload": {"name": "threshold", "parameters": {"threshold": 0.75}}}, "stuck"),
        ({"overload": {"name": "threshold", "parameters": {"threshold": 0.85}}}, "balanced"),
    ],
)
def test_relief_does_not_pass_an_overload_on(policy: Json, left: str) -> None:
    data = saved("pingpong")
    moved = 0

    for _run in range(30):
        found = plan(data, {"strategy": "consolidate", "consolidation": policy})
        moved += len(moves(found))
        data = carried_out(data, found)

    assert (found["verdict"], moved) == (left, 0)


def test_relief_goes_where_there_is_room_once() -> None:
    data = saved("pingpong")
    data["hosts"]["kvm2"]["cpu"]["threads"], data["hosts"]["kvm2"]["cpu"]["usage"] = 16, 0.35

    found = plan(data, {"strategy": "consolidate"})

    assert ways(found) == [("x", "kvm1", "kvm2")]
    assert plan(carried_out(data, found), {"strategy": "consolidate"})["waves"] == []
