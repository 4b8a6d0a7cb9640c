# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Which hosts are unknown, whether that is news, and whether enough others are left."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.filter.snapshot import unknown_hosts as look
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.plan import allocation_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.outcome import outcome
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._report.outcome_table import outcome_table
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.build import build_snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.unknown_hosts import (
    MOST_NAMED,
    too_few,
    too_few_shown,
    unknown_hosts,
)
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import Json, domain, host, snapshot

NO_ROUTE = "ssh: No route to host."
WHY = "It is not known whether this host is drained: marks.json is not valid JSON"
UNCLEAR = host(marks_problem=f"{WHY}.")
ASLEEP = {"state": "asleep", "problem": None, "asleep": {"since": "2026-01-31T11:00:00Z"}}


def silent(known_last: bool = False, problem: str | None = NO_ROUTE) -> Json:
    return {"state": "unknown", "problem": problem, "known_last": known_last}


def facts(**hosts: Json) -> Snapshot:
    return Snapshot.from_mapping({"schema": 1, "taken_at": None, "hosts": hosts, "domains": {}})


def test_those_of_which_it_is_news_come_first() -> None:
    found = unknown_hosts(facts(a=silent(), b=host(), c=silent(True), d=dict(ASLEEP), e=silent(problem=None)))
    assert found == {
        "lost": ["c"],
        "others": ["a", "e"],
        "told": "Lost since the last run: c (ssh: No route to host). "
        "Unknown: a (ssh: No route to host), e (no reason was given).",
    }
    assert unknown_hosts(facts(a=host(), b=dict(ASLEEP))) == {"lost": [], "others": [], "told": None}


def test_no_more_are_named_than_anybody_reads() -> None:
    names = [f"h{number:04}" for number in range(1000)]
    found = unknown_hosts(facts(**{name: silent(True) for name in names}))
    assert found["lost"] == names
    assert found["told"].count("No route") == MOST_NAMED
    assert found["told"].endswith(f" and {1000 - MOST_NAMED} more.")


@pytest.mark.parametrize(
    ("hosts", "few"),
    [
        ([host(), host()], None),
        ([host(), host(state="drained")], None),
        ([host(), host(), silent()], None),
        ([host(), silent()], "Only 1 of 2 hosts can be used."),
        ([host(state="drained"), silent(), silent()], "Only 1 of 3 hosts can be used."),
        ([silent(), silent(), silent()], "None of 3 hosts can be used."),
        # Who sleeps was put to sleep, and can be woken by somebody who is awake.
        ([host(), dict(ASLEEP)], None),
        ([host(), dict(ASLEEP), silent()], None),
        ([dict(ASLEEP), silent()], "None of 2 hosts can be used."),
        ([dict(ASLEEP), dict(ASLEEP)], "None of 2 hosts can be used."),
        # It answers, but nothing may be moved to it.
        ([host(), UNCLEAR], f"May be drained: h1 ({WHY}). Only 1 of 2 hosts can be used."),
        ([UNCLEAR, UNCLEAR], f"May be drained: h0 ({WHY}), h1 ({WHY}). None of 2 hosts can be used."),
        ([UNCLEAR, host(), host()], None),
        # What one host alone is good for is said elsewhere.
        ([host()], None),
        ([silent()], "None of 1 host can be used."),
        ([], None),
    ],
)
def test_two_have_to_be_left(hosts: list[Json], few: str | None) -> None:
    assert too_few(facts(**{f"h{number}": one for number, one in enumerate(hosts)})) == few


def test_people_read_one_host_a_line() -> None:
    long = "Failed to connect to the host via ssh: ssh: connect to host 192.0.2.1 port 22: No route to host"
    hosts = {
        "a": host(),
        "b": silent(problem=long.replace("ssh: connect", "ssh:\n  connect")),
        "c": silent(True),
        "d": silent(problem=None),
    }
    assert too_few_shown(facts(**hosts)) == (
        "Only 1 of 4 hosts can be used.\n"
        "  c, lost since the last run: ssh: No route to host\n"
        f"  b: {long}\n"
        "  d: no reason was given"
    )
    assert too_few_shown(facts(**hosts, e=host())) is None
    assert too_few_shown(facts(a=host(), b=UNCLEAR)) == f"Only 1 of 2 hosts can be used.\n  b, may be drained: {WHY}"
    many = too_few_shown(facts(**{f"h{number}": silent() for number in range(9)})) or ""
    assert many.splitlines()[0] == "None of 9 hosts can be used."
    assert many.splitlines()[-2:] == ["  h4: ssh: No route to host", "  and 4 more"]


def test_the_filter_says_both() -> None:
    data: Json = {"schema": 1, "taken_at": None, "hosts": {"a": host(), "b": silent(True)}, "domains": {}}
    found = look(json.dumps(data))
    assert found == look(data)
    assert found["problem"] == f"{found['told']} Only 1 of 2 hosts can be used."
    assert found["shown"] == "Only 1 of 2 hosts can be used.\n  b, lost since the last run: ssh: No route to host"
    data["hosts"]["c"] = host()
    assert look(data)["problem"] is None
    assert look({**data, "hosts": {"a": dict(ASLEEP)}})["problem"] == "None of 1 host can be used."


@pytest.mark.parametrize(
    ("last", "known"),
    [
        (None, False),
        ({}, False),
        ({"b": "active"}, False),
        ({"a": "unknown"}, False),
        ({"a": "active"}, True),
        ({"a": "drained"}, True),
        ({"a": "asleep"}, True),
    ],
)
def test_the_snapshot_knows_what_was_known_in_the_last_run(last: Json | None, known: bool) -> None:
    found = build_snapshot({"a": {"unreachable": True, "msg": "gone"}}, last_states=last)["hosts"]["a"]
    assert (found["state"], found["known_last"]) == ("unknown", known)


def test_a_host_that_could_not_be_leased_is_unknown_whatever_was_seen_there() -> None:
    seen = {"observation": {"schema": 1, "taken_at": "2026-01-31T12:00:00Z", "host": {}, "domains": [{"uuid": "u"}]}}
    full = {"failed": True, "unusable": True, "msg": "The lease cannot be used: No space left on device."}
    gone = {"unreachable": True, "msg": "No route\nto host"}
    memory = {"asleep": {name: {"since": "2026-01-31T11:00:00Z"} for name in ("full", "gone")}}
    awake = {"observation": {**seen["observation"], "host": {"marks": memory}, "domains": []}}
    found = build_snapshot(
        {"full": seen, "gone": seen, "other": seen, "awake": awake}, leases={"full": full, "gone": gone, "other": {}}
    )
    assert {name: facts["state"] for name, facts in found["hosts"].items()} == {
        "awake": "active",
        "full": "unknown",  # it answers, so it does not sleep
        "gone": "asleep",
        "other": "active",
    }
    assert found["hosts"]["full"]["problem"] == f"It answers, but it cannot be leased. {full['msg']}"
    assert (found["domains"]["u"]["host"], found["doubts"]) == ("other", [])
    alone = build_snapshot({"gone": seen}, leases={"gone": gone})["hosts"]["gone"]
    assert (alone["state"], alone["problem"]) == ("unknown", "No route to host")


def lit(**more: Json) -> Json:
    return snapshot({"a": host(), "b": host(), **more}, domain("x", "a"))


def test_plans_name_them() -> None:
    data = lit()
    data["hosts"].update(c=silent(), d=silent(True))
    found = plan(data)
    assert found["unknown_hosts"]["lost"] == ["d"]
    assert found["notes"][:2] == [
        f"d is unknown since the last run: no domain is moved from or to it. ({NO_ROUTE})",
        f"c is unknown: no domain is moved from or to it. ({NO_ROUTE})",
    ]
    assert allocation_plan(data, {})["unknown_hosts"] == found["unknown_hosts"]


@pytest.mark.parametrize("known_last", [True, False])
def test_the_outcome_names_first_who_was_lost_before_the_run_or_in_it(known_last: bool) -> None:
    before, after = lit(), lit()
    before["hosts"].update(c=host(), d=silent(known_last))
    after["hosts"].update(c=silent(), d=silent(known_last))
    found = outcome(plan(before), [], after)
    assert found["unknown_hosts"]["lost"] == (["c", "d"] if known_last else ["c"])
    assert found["problem"] is None
    lines = outcome_table(found).splitlines()
    assert lines[0].startswith("Lost since the last run: c (ssh: No route to host)")
    assert "NOTHING HAD TO MOVE." in lines[1:3]


def test_a_move_that_was_not_started_because_its_host_was_lost_is_a_problem() -> None:
    guests = [domain(f"d{number}", "a", 1.5) for number in range(4)]
    before: t.Any = snapshot({name: host() for name in "abc"}, *guests)
    made = plan(before, {"max_moves_out": 1, "minimum_gain": 0})
    moves = [move for wave in made["waves"] for move in wave["moves"]]
    (lost,) = {move["destination"] for move in moves} - {moves[0]["destination"]}
    waits = sum(move["destination"] == lost for move in moves)
    assert waits >= 1
    before["hosts"][lost] = silent()
    found = outcome(made, [{"move": moves[0], "changed": True}], before)
    assert found["count"]["not_started"] == len(moves) - 1
    assert found["problem"].count(f": {lost} is unknown ({NO_ROUTE}).") == waits
    assert outcome_table(found).splitlines()[1].startswith("FAILED: 1 moved")


def test_an_outcome_after_which_too_few_are_left_is_a_problem() -> None:
    after: t.Any = lit()
    after["hosts"]["b"] = silent()
    found = outcome(plan(lit()), [], after)
    assert found["problem"] == "Only 1 of 2 hosts can be used."
    assert outcome_table(found).startswith("Lost since the last run: b (")
