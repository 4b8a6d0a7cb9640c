# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Which interrupted restarts are brought to their end, and which are left alone."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.plan import allocation_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.outcome import outcome
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.interrupted_restarts import interrupted_restarts
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils import fleets
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import Json

BEGUN = "The restart of x from a to b was interrupted"


def note(source: str = "a", destination: str = "b", minute: int = 0) -> Json:
    started = f"2026-01-31T12:{minute:02}:00Z"
    return {"uuid": "X", "name": "x", "source": source, "destination": destination, "started_at": started}


def fleet(*on: str, states: Json | None = None, runs_on: str | None = None) -> Json:
    """Hosts a, b and c; the note is on those that are named."""
    hosts = {
        name: fleets.host(
            state=(states or {}).get(name, "active"), interrupted_restarts=[note()] if name in on else None
        )
        for name in "abc"
    }
    return fleets.snapshot(hosts, *([fleets.domain("x", runs_on)] if runs_on else []))


def one(snapshot: Json, *drained: str) -> t.Any:
    (found,) = interrupted_restarts(snapshot, drained)
    return found


def test_none() -> None:
    assert interrupted_restarts(fleet()) == []


@pytest.mark.parametrize("runs_on", [None, "a", "b"])
@pytest.mark.parametrize("on", ["a", "b", "ab"])
def test_both_hosts_answer(on: str, runs_on: str | None) -> None:
    wanted = {**note(), "uuid": "x", "seen_on": list(on), "finish": "destination", "problem": None}
    assert one(fleet(*on, runs_on=runs_on)) == wanted


def test_plan_and_outcome_tell_of_it() -> None:
    made = plan(fleet("a"))
    sentence = f"{BEGUN}, and is not finished yet."
    assert made["notes"] == [sentence]
    assert outcome(made, [], fleet("a"))["problem"] == sentence
    assert outcome(made, [], fleet())["problem"] is None


@pytest.mark.parametrize("figures", [{}, {"xml_path": "x.xml"}])
def test_an_allocation_starts_nothing_that_is_brought_to_its_end_in_the_same_run(figures: Json) -> None:
    with pytest.raises(PolicyError, match=r"balance_domains.x is shut off because its restart from a to b was"):
        allocation_plan(fleet("a", "b"), {"x": {"cpu_max": 1, "memory_mib": 100, **figures}})
    assert allocation_plan(fleet("a", runs_on="b"), {"x": {"cpu_max": 1}})["verdict"] == "allocate"


def test_nothing_is_started_on_a_host_that_is_drained_or_about_to_be() -> None:
    assert one(fleet("a", "b"), "b")["finish"] == "source"
    assert one(fleet("a", "b", states={"b": "drained"}))["finish"] == "source"
    assert one(fleet("a", "b", states={"a": "drained"}))["finish"] == "destination"


@pytest.mark.parametrize("state", ["unknown", "asleep"])
@pytest.mark.parametrize("silent", ["a", "b"])
def test_one_of_both_does_not_answer(silent: str, state: str) -> None:
    found = one(fleet({"a": "b", "b": "a"}[silent], states={silent: state}))
    assert found["finish"] is None
    assert found["problem"] == (
        f"{BEGUN}. It cannot be finished before {silent} answers whether the domain runs there."
    )


def test_a_host_that_is_not_in_this_run() -> None:
    snapshot = fleet("a")
    snapshot["hosts"].pop("b")
    assert "before b answers" in one(snapshot)["problem"]


def test_it_runs_elsewhere() -> None:
    found = one(fleet("a", runs_on="c"))
    assert (found["finish"], found["problem"]) == (
        None,
        f"{BEGUN}, and it runs on c: undefine it on a, where it is shut off.",
    )


def test_it_may_run_elsewhere() -> None:
    problem = one(fleet("a", states={"c": "unknown"}))["problem"]
    assert problem == f"{BEGUN}. It cannot be finished before it is known whether the domain runs on c."
    # What has both definitions has not been moved on, and a host that sleeps runs nothing.
    assert one(fleet("a", "b", states={"c": "unknown"}))["problem"] is None
    assert one(fleet("a", states={"c": "asleep"}))["problem"] is None


def test_of_two_restarts_only_the_newer_one_counts() -> None:
    snapshot = fleet("a")
    for host in "bc":
        snapshot["hosts"][host]["interrupted_restarts"] = [note("b", "c", minute=1)]
    found = one(snapshot)
    assert (found["source"], found["destination"], found["seen_on"]) == ("b", "c", ["b", "c"])
