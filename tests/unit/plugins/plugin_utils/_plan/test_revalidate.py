# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What stands against a plan of earlier: nothing while the fleet is the same, and each way in which it can differ."""

from __future__ import annotations

import copy
import typing as t

import pytest
from hypothesis import HealthCheck, given, settings

from ansible_collections.virtops.balance.plugins.filter.plan import plan_objections
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.plan import allocation_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.revalidate import objections
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils._plan.test_plan_properties import fleets
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    carried_out,
    domain,
    host,
    moves,
    snapshot,
)

LATER = "2026-01-31T13:00:00Z"


def uneven() -> Json:
    """Three hosts, all domains on the first."""
    return snapshot({name: host(threads=8) for name in "abc"}, *(domain(f"d{i}", "a", 1.2, vcpus=2) for i in range(6)))


@pytest.fixture
def planned() -> Json:
    made = plan(uneven(), {"anti_affinity": [{"name": "first", "domains": {"names": ["d0", "d1"]}}]})
    assert {(move["source"], move["destination"]) for move in moves(made)} == {("a", "b"), ("a", "c")}
    return made


def first(made: Json, destination: str = "b") -> Json:
    return next(move for move in moves(made) if move["destination"] == destination)


def test_nothing_stands_against_it_while_the_fleet_is_the_same(planned: Json) -> None:
    assert objections(planned, uneven()) == []


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(fleets())
def test_a_plan_fits_the_fleet_that_it_was_made_from_and_not_the_one_after_it(given_fleet: tuple[Json, Json]) -> None:
    data, policy = given_fleet
    made = plan(data, policy)

    assert objections(made, data) == []
    if moves(made):
        assert objections(made, carried_out(data, made))


def test_a_little_more_load_is_no_objection(planned: Json) -> None:
    now = uneven()
    for guest in now["domains"].values():
        guest["cpu_cores"] *= 1.1
    now["hosts"]["b"]["cpu"]["usage"] = 0.05
    assert objections(planned, now) == []


def gone_to_c(now: Json, move: Json) -> None:
    now["domains"][move["domain"]]["host"] = "c"


def ended(now: Json, move: Json) -> None:
    del now["domains"][move["domain"]]


def moved_and_back(now: Json, move: Json) -> None:
    now["domains"][move["domain"]]["last_moved_at"] = "2026-01-31T12:30:00Z"


def blocked(now: Json, move: Json) -> None:
    now["domains"][move["domain"]]["blockers"] = [{"code": "snapshot", "message": "has a snapshot"}]


def silent_source(now: Json, move: Json) -> None:
    now["hosts"]["a"] = {**now["hosts"]["a"], "state": "unknown", "problem": "no answer"}
    now["domains"] = {}


def silent_destination(now: Json, move: Json) -> None:
    now["hosts"]["b"] = {**now["hosts"]["b"], "state": "unknown", "problem": "no answer"}


def no_destination(now: Json, move: Json) -> None:
    del now["hosts"]["b"]


def drained_destination(now: Json, move: Json) -> None:
    now["hosts"]["b"]["state"] = "drained"


def no_memory(now: Json, move: Json) -> None:
    now["hosts"]["b"]["memory"]["available_mib"] = 1050


def a_full_destination(now: Json, move: Json) -> None:
    now["hosts"]["b"]["cpu"]["usage"] = 0.95


def doubt(now: Json, move: Json) -> None:
    now["doubts"] = [
        {"kind": "domain_on_two_hosts", "message": "d5 runs on a and b.", "hosts": ["a", "b"], "domain": "d5"}
    ]


def an_enemy(now: Json, move: Json) -> None:
    """Somebody put the other one of the pair where this one is to go."""
    other = {"d0": "d1", "d1": "d0"}[move["domain"]]
    now["domains"][other]["host"] = move["destination"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (gone_to_c, "{name} is on c, not on a as the plan expects."),
        (ended, "{name} no longer runs."),
        (moved_and_back, "{name} was moved after the plan was made."),
        (blocked, "{name} cannot go to b: has a snapshot."),
        (silent_source, "a is unknown: it is not known whether {name} still runs there."),
        (silent_destination, "{name} cannot go to b: b is unknown."),
        (no_destination, "{name} is to move to b, which is no longer one of the hosts."),
        (drained_destination, "{name} cannot go to b: b is drained."),
        (no_memory, "{name} cannot go to b: may grow to 100 MiB of memory, and b has 50 MiB left."),
        (a_full_destination, "{name} cannot go to b: b would be at 110 % CPU, the limit is 90 %."),
        (doubt, "d5 runs on a and b."),
    ],
)
def test_what_has_changed(planned: Json, change: t.Callable[[Json, Json], None], sentence: str) -> None:
    now, move = uneven(), first(planned)
    change(now, move)
    assert sentence.format(**move) in objections(planned, now)


def test_a_rule_that_would_be_violated(planned: Json) -> None:
    now = uneven()
    move = next(move for move in moves(planned) if move["domain"] in ("d0", "d1"))
    an_enemy(now, move)
    found = " ".join(objections(planned, now))
    assert f"{move['name']} cannot go to {move['destination']}: " in found
    assert "first" in found


def test_a_rule_that_holds_only_at_the_end() -> None:
    data = uneven()
    made = plan(data, {"affinity": [{"name": "pair", "domains": {"tag": "pair"}}]})
    now = copy.deepcopy(data)
    stays = next(uuid for uuid in now["domains"] if uuid not in {move["domain"] for move in moves(made)})
    for uuid in (stays, first(made)["domain"]):
        now["domains"][uuid]["tags"] = ["pair"]
    found = " ".join(objections(made, now))
    assert "would violate a placement rule" in found
    assert "pair" in found


def test_a_plan_that_has_become_useless(planned: Json) -> None:
    now = uneven()
    # They sleep: what is left of the load was on the hosts that they would go to.
    for guest in now["domains"].values():
        guest["cpu_cores"] = 0.4
    now["hosts"]["a"]["cpu"]["usage"] = 0.3
    for name in "bc":
        now["hosts"][name]["cpu"]["usage"] = 0.55
    (sentence,) = objections(planned, now)
    assert sentence.startswith("It would no longer level the fleet: score ")


def test_a_host_that_is_to_sleep_and_has_a_guest_again() -> None:
    data = snapshot({name: host(threads=8, may_sleep=True) for name in "abc"}, domain("d0", "a", 2.0))
    policy = {"strategy": "consolidate", "consolidation": {"idle_rounds": 0, "spare_hosts": 0}}
    made = plan(data, policy)
    assert [act["host"] for act in made["sleep"]] == ["b", "c"]
    assert objections(made, data) == []

    data["domains"]["d1"] = domain("d1", "c", 0.1)
    assert objections(made, data) == ["c is to be put to sleep and would not be empty: d1."]
    del data["hosts"]["b"]
    assert "b is to be put to sleep and is no longer one of the hosts." in objections(made, data)


def test_work_inside_a_host_for_a_domain_that_has_left(planned: Json) -> None:
    action = {
        "host": "a",
        "action": "weight",
        "domains": ["d5"],
        "weights": {"d5": 2.0},
        "why": "",
        "instead_of_moves": False,
    }
    planned["inside"] = [action]
    assert objections(planned, uneven()) == []
    now = uneven()
    now["domains"]["d5"]["host"] = "c"
    assert "d5 is on c, not on a as the plan expects." in objections(planned, now)


def test_waking_cannot_be_approved(planned: Json) -> None:
    planned["wake"] = [{"host": "c", "why": "room"}]
    (sentence,) = objections(planned, uneven())
    assert sentence.startswith("It wakes hosts")


@pytest.mark.parametrize(
    ("approved", "sentence"),
    [
        ({}, "is not a plan of rebalance"),
        ([], "is not a plan of rebalance"),
        ("not JSON", "The approved plan is a text that is not valid JSON"),
        (allocation_plan(uneven(), {"d0": {"cpu_min": 0.1, "cpu_max": 1}}), "is not a plan of rebalance"),
        ({**plan(uneven()), "schema": 7}, "has schema 7"),
    ],
)
def test_what_is_no_plan_is_an_objection(approved: t.Any, sentence: str) -> None:
    (found,) = plan_objections(approved, uneven())
    assert sentence in found


def test_a_policy_that_names_a_host_which_has_gone() -> None:
    made = plan(uneven(), {"drained_hosts": ["a"]})
    now = uneven()
    for guest in now["domains"].values():
        guest["host"] = "b"
    del now["hosts"]["a"]
    (found,) = plan_objections(made, now)
    assert "drained_hosts" in found
