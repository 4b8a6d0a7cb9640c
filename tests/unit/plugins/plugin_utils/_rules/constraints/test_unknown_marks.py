# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A host of which nobody knows whether it is drained: what the plans of all kinds make of it."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.plan import allocation_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.draining import objections
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.best_host import best_host
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.maintenance_rounds import rounds
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.revalidate import objections as plan_objections
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.build import build_snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.interrupted_restarts import interrupted_restarts
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    domain,
    host,
    moves,
    snapshot,
    ways,
)

WHY = "It is not known whether this host is drained: /var/lib/virtops.balance/marks.json is not valid JSON."
UNKNOWN: Json = {"marks": None, "marks_problem": WHY}


def fleet(*domains: Json, unknown: str = "b", **more: t.Any) -> Json:
    return snapshot({name: host(**more, **(UNKNOWN if name == unknown else {})) for name in "abc"}, *domains)


def crowd(on: str) -> list[Json]:
    return [domain(f"d{number}", on, cores=1.5) for number in range(6)]


def test_what_the_host_said_is_in_the_snapshot() -> None:
    said = {"schema": 1, "taken_at": "2026-01-31T12:00:00Z", "host": {"uuid": "h", **UNKNOWN}, "domains": []}
    found = build_snapshot({"b": {"observation": said}})["hosts"]["b"]
    assert (found["state"], found["marks"], found["marks_problem"]) == ("active", None, WHY)


def test_nothing_goes_there_and_it_is_told() -> None:
    found = plan(fleet(*crowd("a")))
    assert {move["destination"] for move in moves(found)} == {"c"}
    assert found["notes"] == [f"No domain is moved to b, or away from it to level the fleet. {WHY}"]


def test_what_runs_there_stays_unless_something_else_wants_it_away() -> None:
    data = fleet(*crowd("b"))
    assert ways(plan(data)) == []
    pinned = plan(data, {"pins": [{"domains": {"names": ["d0"]}, "hosts": ["a"]}]})
    assert ways(pinned) == [("d0", "b", "a")]
    asked = plan(data, {"drained_hosts": ["b"], "max_moves": None})
    assert {move["source"] for move in moves(asked)} == {"b"}
    assert len(moves(asked)) == 6


def test_what_it_remembers_is_not_written_over() -> None:
    marks = plan(fleet(*crowd("a")), {"hold": 3})["marks"]
    assert marks == {"a": {"uneven_rounds": 1}, "c": {"uneven_rounds": 1}}


def test_it_never_sleeps_and_others_remember_who_does() -> None:
    data = fleet(domain("x", "a", 6.0, vcpus=8), may_sleep=True)
    wanted = {"strategy": "consolidate", "consolidation": {"spare_hosts": 0, "idle_rounds": 0}}
    found = plan(data, wanted)
    assert [act["host"] for act in found["sleep"]] == ["c"]
    assert set(found["marks"]) == {"a"}
    assert set(found["marks"]["a"]["asleep"]) == {"c"}


def test_no_new_domain_is_placed_there() -> None:
    found = best_host(fleet(), {"memory_mib": 100, "vcpus": 1}, {"ignore_hosts": ["a", "c"]})
    assert found["host"] is None
    assert {"constraint": "unknown_marks", "message": "it is not known whether b is drained"} in found["refused"]["b"]


def test_an_allocation_leaves_what_runs_there() -> None:
    figures = {"d0": {"cpu_min": 1}, "d1": {"cpu_min": 1}}
    found = allocation_plan(fleet(domain("d0", "b"), domain("d1", "a")), figures)
    assert ways(found) == []
    (left,) = found["refused"]
    assert (left["name"], left["reasons"]["*"][0]["message"]) == ("d0", "it is not known whether b is drained")
    drained = allocation_plan(fleet(domain("d0", "b")), {"d0": {"cpu_min": 1}}, {}, {"drained_hosts": ["b"]})
    assert [(name, source) for name, source, _destination in ways(drained)] == [("d0", "b")]


def test_it_is_neither_drained_nor_maintained() -> None:
    data = fleet(domain("x", "b"))
    assert objections(data, ["b"]) == [f"b cannot be drained. {WHY}"]
    assert objections(data, ["a"]) == []
    found = rounds(data, ["a", "b", "c"], name="patches")
    assert found["impossible"] == {"b": [f"b cannot be drained. {WHY}"]}
    # Of two hosts, the other has nowhere to go.
    del data["hosts"]["c"]
    assert objections(data, ["a"]) == ["With a drained, no host would be left to take domains."]


def test_an_approved_plan_moves_nothing_there() -> None:
    made = plan(fleet(*crowd("a"), unknown=""))
    assert "b" in {move["destination"] for move in moves(made)}
    told = plan_objections(made, fleet(*crowd("a")))
    assert any("it is not known whether b is drained" in sentence for sentence in told)


@pytest.mark.parametrize(("unknown", "finish"), [("a", "destination"), ("b", "source"), ("c", "destination")])
def test_an_interrupted_restart_is_not_finished_there(unknown: str, finish: str) -> None:
    data = fleet(unknown=unknown)
    note = {"uuid": "x", "name": "x", "source": "a", "destination": "b", "started_at": "2026-01-31T12:00:00Z"}
    data["hosts"]["a"]["interrupted_restarts"] = [note]
    (found,) = interrupted_restarts(data)
    assert (found["finish"], found["problem"]) == (finish, None)
