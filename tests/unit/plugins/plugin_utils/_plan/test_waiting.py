# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Moves that failed are not planned again before their wait is over; others are, and the plan tells."""

from __future__ import annotations

import copy
import json
import typing as t

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.plan import allocation_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.draining import left, objections
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.left_out import left_out
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.maintenance_rounds import rounds
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.revalidate import objections as plan_objections
from ansible_collections.virtops.balance.plugins.plugin_utils._run.policy import for_run
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils._plan.test_plan_properties import fleets
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    domain,
    host,
    moves,
    snapshot,
    ways,
)

FORGET = " With -e balance_forget=true nothing is waited for."


def refusal(domain: str, destination: str, at: str = "11:55", times: int = 1, reason: str = "no bridge") -> Json:
    day = "" if "T" in at else "2026-01-31T"
    return {"domain": domain, "destination": destination, "reason": reason, "at": f"{day}{at}:00Z", "times": times}


def fleet(*domains: Json, hosts: str = "abc", **refusals: list[Json]) -> Json:
    """``refusals`` by host. It is 12:00 on 2026-01-31."""
    marked = {name: host(marks={"refusals": refusals.get(name, [])}) for name in hosts}
    return snapshot(marked, *domains)


def crowd(on: str, count: int = 6) -> list[Json]:
    return [domain(f"d{number}", on, cores=1.5) for number in range(count)]


def to_b(count: int = 6) -> list[Json]:
    return [refusal(f"d{number}", "b") for number in range(count)]


def test_another_destination_is_taken_and_the_plan_names_what_is_waited_for() -> None:
    found = plan(fleet(*crowd("a"), a=to_b()))
    assert {move["destination"] for move in moves(found)} == {"c"}
    waited = ", ".join(f"d{number} to b (after 12:25 UTC)" for number in range(3))
    assert found["notes"] == [f"Moves that failed are not tried again yet: {waited} and 3 more.{FORGET}"]


def test_another_domain_is_taken_and_its_neighbour_says_why_it_stays() -> None:
    data = fleet(*crowd("a", 2), domain("x", "a", cores=5.0), a=[refusal("x", "b")], hosts="ab")
    found = plan(data)
    assert {name for name, _source, _destination in ways(found)} <= {"d0", "d1"}
    assert ways(found)
    assert found["notes"] == [f"A move that failed is not tried again yet: x to b (after 12:25 UTC).{FORGET}"]


@pytest.mark.parametrize(
    ("policy", "at", "times", "waits"),
    [
        # By default as long as the cooldown, which is half an hour.
        ({}, "11:31", 1, True),
        ({}, "11:30", 1, False),
        ({"cooldown_seconds": 600}, "11:51", 1, True),
        ({"cooldown_seconds": 600}, "11:50", 1, False),
        ({"cooldown_seconds": 0}, "11:59", 3, False),
        # Twice as long after each further failure, and at most a day.
        ({"retry_after_seconds": 600}, "11:41", 2, True),
        ({"retry_after_seconds": 600}, "11:40", 2, False),
        ({"retry_after_seconds": 600}, "11:20", 3, False),
        ({"retry_after_seconds": 600}, "11:21", 3, True),
        ({}, "2026-01-30T12:01", 1000000, True),
        ({}, "2026-01-30T12:00", 1000000, False),
        ({"retry_after_seconds": 1000000}, "2026-01-30T12:01", 1, True),
        ({"retry_after_seconds": 1000000}, "2026-01-30T12:00", 1, False),
        ({"retry_after_seconds": 0}, "11:59", 5, False),
    ],
)
def test_how_long_is_waited(policy: Json, at: str, times: int, waits: bool) -> None:
    data = fleet(domain("x", "a"), a=[refusal("x", "b", at, times)], hosts="ab")
    drained = {**policy, "drained_hosts": ["a"], "strategy": "drain"}
    assert (ways(plan(data, drained)) == []) == waits


def test_without_a_time_nothing_is_waited_for() -> None:
    data = {**fleet(domain("x", "a"), a=[refusal("x", "b")]), "taken_at": None}
    assert len(moves(plan(data, {"drained_hosts": ["a"]}))) == 1
    assert ways(plan(data, {"drained_hosts": ["a"]}, now="2026-01-31T12:00:00Z")) == [("x", "a", "c")]


@pytest.mark.parametrize(
    "more",
    [
        # It was moved by hand, and what its old host remembers is about another way.
        {"b": [refusal("x", "c")]},
        {"a": [refusal("y", "c")]},
        {"a": [refusal("x", "c", at="once upon a timeT")]},
        # It was remembered while the clock of the host was wrong.
        {"a": [refusal("x", "c", at="12:01")]},
        {"a": [refusal("x", "c", at="9999-12-31T23:59")]},
        {"a": [{**refusal("x", "c"), "at": "0001-01-01T00:00:00+14:00"}]},
        {"a": [refusal("x", "elsewhere")]},
    ],
)
def test_what_does_not_matter_is_not_waited_for(more: dict[str, list[Json]]) -> None:
    data = fleet(domain("x", "a"), hosts="ac" if "b" not in more else "abc", **more)
    found = plan(data, {"drained_hosts": ["a", *(["b"] if "b" in more else [])], "strategy": "drain"})
    assert ways(found) == [("x", "a", "c")]


DRAIN = {"drained_hosts": ["a"], "strategy": "drain"}


def test_a_drain_tries_another_host_and_waits_where_there_is_none() -> None:
    data = fleet(domain("x", "a"), domain("y", "b", cores=0.1), a=[refusal("x", "b")], b=[refusal("y", "c")])
    assert ways(plan(data, DRAIN)) == [("x", "a", "c")]
    data["hosts"]["a"]["marks"]["refusals"].append(refusal("x", "c", "11:58", 2, "it did not finish"))

    found = plan(data, DRAIN)

    assert (found["verdict"], ways(found)) == ("stuck", [])
    assert found["why"] == (
        "a is drained and has 1 domain. No permitted move changes that; what failed before is tried again after "
        "12:25 UTC."
    )
    # What another host waits for does not matter here.
    assert found["notes"] == [
        f"Moves that failed are not tried again yet: x to b (after 12:25 UTC), x to c (after 12:58 UTC).{FORGET}"
    ]
    (refused,) = found["refused"]
    assert refused["reasons"] == {
        "b": [
            {
                "constraint": "refused_before",
                "message": "the move to b failed at 11:55 UTC (no bridge); it is tried again after 12:25 UTC",
            }
        ],
        "c": [
            {
                "constraint": "refused_before",
                "message": "the move to c failed 2 times, the last time at 11:58 UTC (it did not finish); it is tried "
                "again after 12:58 UTC",
            }
        ],
    }
    assert "x is still on a: b: the move to b failed at 11:55 UTC (no bridge)" in left(found, data, ["a"])[0]


def test_a_time_of_another_day_has_its_date() -> None:
    data = fleet(domain("x", "a"), a=[refusal("x", "b", "2026-01-30T23:59", 6)], hosts="ab")
    (refused,) = plan(data, DRAIN)["refused"]
    assert refused["reasons"]["b"][0]["message"] == (
        "the move to b failed 6 times, the last time at 2026-01-30 23:59 UTC (no bridge); it is tried again after "
        "15:59 UTC"
    )


def test_a_wait_is_never_told_shorter_than_it_is() -> None:
    data = fleet(domain("x", "a"), a=[{**refusal("x", "b"), "at": "2026-01-31T11:55:20Z"}], hosts="ab")
    assert "after 12:26 UTC" in plan(data, DRAIN)["notes"][0]


def test_forgetting_tries_all_and_has_the_hosts_forget() -> None:
    data = fleet(domain("x", "a"), a=[refusal("x", "b"), refusal("x", "c")], c=[refusal("z", "b")])
    policy = for_run(plan(data)["policy"], drain=["a"], forget=True)

    found = plan(data, policy)

    assert len(moves(found)) == 1
    assert found["notes"] == []
    assert found["marks"] == {"a": {"refusals": []}, "c": {"refusals": []}}
    data["hosts"]["c"].update(marks=None, marks_problem="It is not known.")
    assert plan(data, policy)["marks"] == {"a": {"refusals": []}}
    assert plan(data, DRAIN)["marks"] == {}


def test_an_even_fleet_tells_nothing() -> None:
    found = plan(fleet(domain("x", "a"), domain("y", "b"), domain("z", "c"), a=[refusal("x", "b")]))
    assert (found["verdict"], found["notes"], found["marks"]) == ("balanced", [], {})


def test_an_allocation_waits_too() -> None:
    data = fleet(domain("x", "a"), a=[refusal("x", "b"), refusal("x", "c")])
    wanted = {"x": {"cpu_min": 1}}
    found = allocation_plan(data, wanted, {}, {"drained_hosts": ["a"]})
    assert ways(found) == []
    assert found["notes"][-1].startswith("Moves that failed are not tried again yet: x to b")
    found = allocation_plan(data, wanted, {}, {"drained_hosts": ["a"], "retry_after_seconds": 0})
    assert [name for name, _source, _destination in ways(found)] == ["x"]
    assert found["marks"] == {"a": {"refusals": []}}


def test_a_domain_that_cannot_be_moved_live_is_not_shut_down_again_either() -> None:
    blocked = [{"code": "host_cpu", "message": "the CPU mode host-passthrough ties it to its host"}]
    data = fleet(domain("x", "a", blockers=blocked), a=[refusal("x", "b")])
    policy = {**DRAIN, "restart": "domains"}
    assert [one["destination"] for one in plan(data, policy)["restarts"]] == ["c"]
    data["hosts"]["a"]["marks"]["refusals"].append(refusal("x", "c"))
    assert plan(data, policy)["restarts"] == []


def test_what_is_asked_for_another_time_does_not_wait() -> None:
    """Rounds may come much later, an approved plan is what a person wants, and what is left of a plan goes on."""
    data = fleet(domain("x", "a"), a=[refusal("x", "b"), refusal("x", "c")])
    assert objections(data, ["a"]) == []
    assert rounds(data, ["a"])["impossible"] == {}
    approved = plan(fleet(domain("x", "a")), DRAIN)
    assert plan_objections(approved, data) == []
    assert left_out(approved, [], data, 1) == {}


@st.composite
def remembering(draw: st.DrawFn) -> tuple[Json, Json, set[tuple[str, str]]]:
    """A random fleet with refusals, a policy, and the pairs that must not be planned."""
    data, policy = draw(fleets())
    names, uuids = sorted(data["hosts"]), sorted(data["domains"])
    forbidden = set()
    for name in names:
        found = []
        for uuid in uuids:
            for destination in names:
                at = draw(st.sampled_from([None, None, "11:55", "10:00"]))
                if at is not None and destination != name:
                    found.append(refusal(uuid, destination, at))
                    if data["domains"][uuid]["host"] == name and at == "11:55":
                        forbidden.add((uuid, destination))
        data["hosts"][name]["marks"] = {"refusals": found}
    policy = {**policy, "strategy": draw(st.sampled_from(["balance", "drain", "consolidate"]))}
    return data, policy, forbidden


@given(remembering())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_no_plan_has_a_move_that_is_waited_for(case: tuple[Json, Json, set[tuple[str, str]]]) -> None:
    data, policy, forbidden = case
    found = plan(copy.deepcopy(data), policy)
    made: list[t.Any] = [*moves(found), *found["restarts"]]
    assert not {(move["domain"], move["destination"]) for move in made} & forbidden
    assert json.dumps(found) == json.dumps(plan(data, policy))
