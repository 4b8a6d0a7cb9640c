# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import typing as t

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.plan import allocation_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._report.plan_table import plan_table
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils._plan.test_plan_properties import (
    check_steps,
    fleets,
)
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    answer,
    domain,
    host,
    moves,
    refusal,
    snapshot,
    ways,
)

ALIKE = ("machine", "cpu", "bridge")
# Kinds with what they are about in these tests, and what domains say that need it.
ABOUT: dict[str, str | int] = {"secret": "s", "pool": "ssd", "pins": "3", "hugepages": 2048, "free_hugepages": 2048}
NEEDY: dict[str, list[t.Any]] = {
    "secrets": [["s"]],
    "disks": [[{"target": "vda", "type": "volume", "source": "ssd/x", "shared": True, "readonly": False}]],
    "bound": [{"cpus": [3], "cells": []}],
    "hugepage_sizes": [[{"size_kib": 2048, "mib": 100}], [{"size_kib": 2048, "mib": 200}]],
}
CANNOT = {"check": "cpu", "ok": None, "message": "c cannot compare CPUs", "kind": "cpu", "about": None}


def two_to_go() -> Json:
    """Host a is full, b and c are empty."""
    return snapshot({"a": host(), "b": host(), "c": host()}, *(domain(f"d{i}", "a", cores=2.0) for i in range(3)))


def test_nobody_was_asked() -> None:
    found = plan(two_to_go())
    assert [(move["agreed"], move["not_known"]) for move in moves(found)] == [(None, []), (None, [])]
    assert "\nNOT ASKED: no host was asked whether these moves can be made.\n" in plan_table(found)


def test_a_refused_pair_is_planned_around() -> None:
    first = plan(two_to_go())
    assert ways(first) == [("d0", "a", "b"), ("d1", "a", "c")]
    no = refusal("d0", "b", "b already has another domain of this name", kind=None)
    found = plan(two_to_go(), answers=[no, answer("d1", "c")])
    assert ("d0", "a", "b") not in ways(found)
    assert {move["destination"] for move in moves(found)} == {"b", "c"}
    assert found["notes"] == ["Asked and refused: d0 to b: b already has another domain of this name."]
    assert found["score"] == first["score"]


def test_one_refusal_of_a_kind_closes_the_host_for_all_that_need_the_same() -> None:
    no = refusal("d0", "b", "b has no bridge br0", kind="bridge", about="br0")
    found = plan(two_to_go(), answers=[no, answer("d1", "c")])
    assert {move["destination"] for move in moves(found)} == {"c"}


def test_each_move_says_whether_it_was_agreed() -> None:
    # d0 goes to b unasked, because it was asked about another host.
    answers = [answer("d1", "c", True, CANNOT), answer("d0", "c")]
    found = plan(two_to_go(), answers=answers)
    told = {move["name"]: (move["agreed"], move["not_known"]) for move in moves(found)}
    assert told == {
        "d0": (
            None,
            ["the rounds of questions were used up (agree_rounds)"],
        ),
        "d1": (True, ["c cannot compare CPUs"]),
    }
    table = plan_table(found)
    # That a single check could not be made speaks neither for a move nor against it, and is in plan.json.
    assert "c cannot compare CPUs" not in table
    assert "could not be asked: the rounds of questions were used up (agree_rounds)" in table
    assert "NOT ASKED" not in table


def test_where_all_refuse_the_reasons_are_the_hosts_own() -> None:
    answers = [refusal("d0", name, f"{name} has no such bridge", kind="bridge", about="br0") for name in "bc"]
    found = plan(two_to_go(), {"drained_hosts": ["a"]}, answers=answers)
    assert found["verdict"] == "stuck"
    assert {refused["name"] for refused in found["refused"]} == {"d0", "d1", "d2"}
    for refused in found["refused"]:
        for name in "bc":
            about = "" if refused["name"] == "d0" else f"{name} answered about d0: "
            message = f"{about}{name} has no such bridge"
            assert {"constraint": "agreement", "message": message} in refused["reasons"][name]


def test_what_is_in_the_domain_is_told_once() -> None:
    answers = [refusal("d0", "b", "a device of this host is passed through (pci)", kind="domain")]
    found = plan(two_to_go(), {"drained_hosts": ["a"]}, answers=answers)
    assert {move["name"] for move in moves(found)} == {"d1", "d2"}
    reasons = [{"constraint": "agreement_of_source", "message": "a device of this host is passed through (pci)"}]
    assert [(refused["name"], refused["reasons"]) for refused in found["refused"]] == [("d0", {"*": reasons})]


def test_refusals_are_told_in_few_lines() -> None:
    guests = [domain(f"d{i:02d}", "a", cores=0.5) for i in range(12)]
    data = snapshot({"a": host(), "b": host()}, *guests)
    alike = [refusal(guest["name"], "b", "b has no bridge br0") for guest in guests[:5]]
    others = [refusal(guest["name"], "b", f"b has {guest['name']}") for guest in guests[5:]]
    found = plan(data, answers=alike + others)
    assert found["notes"][:2] == [
        "Asked and refused: d00, d01, d02 and 2 more to b: b has no bridge br0.",
        "Asked and refused: d05 to b: b has d05.",
    ]
    assert found["notes"][5] == "3 more answers were refusals."


@pytest.mark.parametrize(("mode", "restarts"), [("host-model", ["d0"]), ("custom", [])])
def test_another_cpu_is_no_obstacle_to_a_restart(mode: str, restarts: list[str]) -> None:
    guest = domain("d0", "a", type="kvm", cpu={"mode": mode, "model": "Haswell", "features": []})
    data = snapshot({"a": host(), "b": host()}, guest)
    policy = {"strategy": "drain", "drained_hosts": ["a"], "restart": "domains"}
    found = plan(data, policy, answers=[refusal("d0", "b", "b cannot offer its CPU", kind="cpu")])
    assert moves(found) == []
    assert [restart["name"] for restart in found["restarts"]] == restarts


def test_a_refused_pair_is_no_part_of_an_allocation() -> None:
    data = snapshot({"a": host(threads=2), "b": host(), "c": host()}, domain("x", "a"), domain("y", "a"))
    wanted = {name: {"cpu_min": 1, "cpu_max": 4} for name in "xy"}
    settings_of = {"strategy": "greedy_max"}
    first = allocation_plan(data, wanted, settings_of)
    assert ways(first)
    name, _source, destination = ways(first)[0]
    no = refusal(name, destination, f"{destination} has no bridge br0", kind="bridge", about="br0")
    found = allocation_plan(data, wanted, settings_of, answers=[no])
    assert destination not in {move["destination"] for move in moves(found)}
    assert f"Asked and refused: {name} to {destination}: {destination} has no bridge br0." in found["notes"]


@st.composite
def asked(draw: st.DrawFn, data: Json) -> list[Json]:
    """Answers to any questions about the fleet, of every kind."""
    answers: list[Json] = []
    for _number in range(draw(st.integers(0, 12)) if data["domains"] else 0):
        guest, name = draw(st.sampled_from(sorted(data["domains"]))), draw(st.sampled_from(sorted(data["hosts"])))
        kinds: list[tuple[str | None, t.Any]] = [(None, None), ("machine", None), ("cpu", None), ("bridge", "br0")]
        kind, about = draw(
            st.sampled_from([*kinds, ("domain", None), *ABOUT.items()])
            | st.tuples(st.just("memory"), st.integers(0, 3000))
        )
        if draw(st.booleans()):
            answers.append(refusal(guest, name, f"{name} says no", kind=kind, about=about))
        else:
            check = {"check": kind, "ok": True, "message": "", "kind": kind, "about": about}
            answers.append(answer(guest, name, draw(st.sampled_from([True, None])), check))
    return list({(one["domain"], one["destination"]): one for one in answers}.values())


def need_the_same(kind: str, asked_about: Json, other: Json) -> bool:
    """Does a refusal of a kind in ABOUT hold for the other domain?"""
    if kind == "secret":
        return bool(other.get("secrets"))
    if kind == "pool":
        return any(disk.get("type") == "volume" for disk in other["disks"])
    if kind == "pins":
        return bool(other.get("bound"))
    (mine, its) = (sum(size["mib"] for size in guest.get("hugepage_sizes", ())) for guest in (asked_about, other))
    return its > 0 and (kind == "hugepages" or 0 < mine <= its)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.data())
def test_plans_are_safe_and_have_no_refused_pair(drawn: st.DataObject) -> None:
    data, policy = drawn.draw(fleets())
    for guest in data["domains"].values():
        for key in drawn.draw(st.sets(st.sampled_from(sorted(NEEDY)))):
            guest[key] = drawn.draw(st.sampled_from(NEEDY[key]))
    answers = drawn.draw(asked(data))
    found = plan(data, policy, answers=answers)
    check_steps(data, policy, found)
    assert plan(data, policy, answers=list(reversed(answers))) == found
    last = {(one["domain"], one["destination"]): one for one in answers}
    rooms: dict[str, float] = {}
    for one in answers:
        for check in one["checks"]:
            if check["kind"] == "memory":
                rooms[one["destination"]] = min(check["about"], rooms.get(one["destination"], check["about"]))
    alike = {one["destination"] for one in answers if one["ok"] is False and one["checks"][0]["kind"] in ALIKE}
    of_kind = [(one, one["checks"][0]["kind"]) for one in answers if one["ok"] is False]
    lacking = [(one, kind) for one, kind in of_kind if kind in ABOUT]
    stuck = {one["domain"] for one in answers if one["ok"] is False and one["checks"][0]["kind"] == "domain"}
    never = {(one["domain"], one["destination"]) for one in answers if one["ok"] is False}
    for wave in found["waves"]:
        for move in wave["moves"]:
            pair = (move["domain"], move["destination"])
            assert pair not in never
            assert move["domain"] not in stuck
            # All domains of these fleets need the same CPU, machine type and bridge.
            assert move["destination"] not in alike
            for one, kind in lacking:
                if move["destination"] == one["destination"]:
                    assert not need_the_same(kind, data["domains"][one["domain"]], data["domains"][move["domain"]])
            assert move["agreed"] == (last[pair]["ok"] if pair in last else None)
        for move in wave["moves"]:
            rss = data["domains"][move["domain"]]["memory"]["rss_mib"]
            if move["destination"] in rooms:
                rooms[move["destination"]] -= rss
                assert rooms[move["destination"]] >= 0
        for move in wave["moves"]:
            if move["source"] in rooms:
                rooms[move["source"]] += data["domains"][move["domain"]]["memory"]["rss_mib"]
