# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""One note tells who is judged by this moment, although the policy says by the history."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    TAKEN_AT,
    Json,
    domain,
    host,
    snapshot,
)

NOW = {"demand": "observation", "host_demand": "observation"}


def past(*cores: float | None, ends_at: str = TAKEN_AT) -> Json:
    return {"step_seconds": 60, "ends_at": ends_at, "cpu_cores": list(cores)}


def fleet(*pasts: Json | None, **problems: str | None) -> Json:
    """Two hosts, and a domain for each of the histories."""
    hosts = {name: host(history_problem=problems.get(name)) for name in ("kvm1", "kvm2")}
    guests = [
        domain(f"web-{i}", f"kvm{1 + i % 2}", 0.1, history=one and {**one, "cpu_cores": [*one["cpu_cores"]]})
        for i, one in enumerate(pasts)
    ]
    return snapshot(hosts, *guests)


KNOWN = past(0.1, 0.1, 0.1, 0.1)
OLD = past(0.1, 0.1, 0.1, ends_at="2026-01-31T11:50:00Z")
YESTERDAY = past(0.1, 0.1, 0.1, ends_at="2026-01-30T11:50:00Z")
AHEAD = past(0.1, 0.1, 0.1, ends_at="2026-01-31T12:30:00Z")
TOO_LITTLE = "because too little of their history is known"


@pytest.mark.parametrize(
    ("data", "policy", "note"),
    [
        pytest.param(fleet(KNOWN, KNOWN), {}, None, id="all is known"),
        pytest.param(fleet(None, None), {}, None, id="no history is known, which is normal"),
        pytest.param(fleet(None, KNOWN), NOW, None, id="the policy wants this moment"),
        pytest.param(
            fleet(None, KNOWN, KNOWN),
            {},
            "1 of 3 domains is judged by this moment, because too little of its history is known: web-0.",
            id="a new domain",
        ),
        pytest.param(
            fleet(KNOWN, past(None, None, 0.1, 0.1), OLD, KNOWN),
            {"demand": "observation"},
            f"2 of 4 domains are judged by this moment, {TOO_LITTLE}: web-1, web-2.",
            id="gaps, and one that ends too early; only sums go by the history",
        ),
        pytest.param(
            fleet(KNOWN, *[None] * 7),
            {},
            f"7 of 8 domains are judged by this moment, {TOO_LITTLE}: web-1, web-2, web-3, web-4, web-5 and 2 more.",
            id="many",
        ),
        pytest.param(
            fleet(past(None, None, 0.1), past(None, 0.1, 0.1)),
            {},
            f"All domains are judged by this moment, {TOO_LITTLE}.",
            id="all",
        ),
        pytest.param(
            fleet(OLD, OLD),
            {},
            "All domains are judged by this moment: their history ends at 11:50 UTC, too long before the snapshot "
            "(12:00 UTC).",
            id="nothing is recorded any more",
        ),
        pytest.param(
            fleet(YESTERDAY, None),
            {},
            "All domains are judged by this moment: their history ends at 2026-01-30 11:50 UTC, too long before "
            "the snapshot (12:00 UTC).",
            id="since yesterday",
        ),
        pytest.param(
            fleet(AHEAD, AHEAD),
            {},
            "All domains are judged by this moment: their history ends at 12:30 UTC, too long after the snapshot "
            "(12:00 UTC).",
            id="clocks are wrong",
        ),
        pytest.param(
            fleet(KNOWN, None, kvm2="No agent."),
            {},
            "1 of 2 domains is judged by this moment, because too little of its history is known: web-1. "
            "kvm2 has less history than requested. No agent.",
            id="and why",
        ),
        pytest.param(
            fleet(KNOWN, KNOWN, kvm1="No agent.", kvm2="No agent."),
            {},
            "kvm1, kvm2 have less history than requested. No agent.",
            id="hosts that say the same",
        ),
    ],
)
def test_the_note(data: Json, policy: Json, note: str | None) -> None:
    assert plan(data, policy)["notes"] == ([] if note is None else [note])


def test_domains_of_hosts_that_do_not_answer_are_not_judged() -> None:
    data = fleet(KNOWN, None, None, None)
    data["hosts"]["kvm3"] = host()
    data["hosts"]["kvm2"] = {"state": "unknown", "problem": "ssh: timed out"}
    notes = plan(data)["notes"]
    assert notes[1:] == ["1 of 2 domains is judged by this moment, because too little of its history is known: web-2."]


def test_hosts_with_less_history_than_was_asked_for_are_named_together() -> None:
    hosts = {f"kvm{number:02}": host(history_problem="No agent.") for number in range(1, 25)}
    hosts |= {f"kvm{number}": host(history_problem=f"It was lost at {number}.") for number in range(30, 36)}
    (note,) = plan(snapshot({**hosts, "kvm25": host()}))["notes"]
    assert note == (
        "kvm01, kvm02, kvm03, kvm04, kvm05 and 19 more have less history than requested. No agent. "
        "kvm30 has less history than requested. It was lost at 30. "
        "kvm31 has less history than requested. It was lost at 31. "
        "4 more hosts have less history than requested."
    )


def test_consolidate_does_not_tell_it_twice() -> None:
    data: t.Any = fleet(None, None)
    assert not [note for note in plan(data, {"strategy": "consolidate"})["notes"] if "history" in note]
