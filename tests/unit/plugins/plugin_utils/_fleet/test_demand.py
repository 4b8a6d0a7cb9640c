# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""How far back histories go, and the share of the CPU that domains got of what they wanted."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.demand import Demand, got_now
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    TAKEN_AT,
    Json,
    domain,
    host,
    snapshot,
)

AHEAD = "2026-01-31T13:00:00Z"
SAMPLE = st.one_of(st.none(), st.floats(0.0, 4.0))
READY = st.one_of(st.none(), st.floats(0.0, 1.0))


def past(cores: list[float | None], ready: list[float | None] | None = None, ends_at: str = TAKEN_AT) -> Json:
    waited = {} if ready is None else {"cpu_ready": ready}
    return {"step_seconds": 60, "ends_at": ends_at, "cpu_cores": cores, **waited}


def read(*guests: Json) -> tuple[Demand, list[t.Any]]:
    facts = Snapshot.from_mapping(snapshot({"kvm1": host()}, *guests))
    return Demand(facts, Policy()), list(facts.domains.values())


def got(history: Json, **more: t.Any) -> float | None:
    demand, (guest,) = read(domain("a", "kvm1", history=history, **more))
    found = demand.series(guest, 1.0)
    return None if found is None or found[1] is None else demand.got(guest, *found)


@pytest.mark.parametrize(
    ("cores", "ready", "more", "expected"),
    [
        pytest.param(1.0, 0.0, {}, 1.0, id="it never waits"),
        pytest.param(1.0, 0.25, {}, 0.75, id="it waits a quarter of the time"),
        pytest.param(0.0, 0.0, {}, 1.0, id="it wants nothing"),
        pytest.param(1.0, 0.9, {"vcpus": 2}, 0.5, id="it cannot want more than its vCPUs"),
        pytest.param(1.0, 0.5, {"cap": 100}, 1.0, id="nor more than its cap"),
        pytest.param(1.0, None, {}, None, id="its wait is not known"),
        pytest.param(None, 0.5, {}, None, id="its use is not known"),
    ],
)
def test_the_share_now(cores: float | None, ready: float | None, more: Json, expected: float | None) -> None:
    _demand, (guest,) = read(domain("a", "kvm1", cores, cpu_ready=ready, **more))
    assert got_now(guest) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("cores", "ready", "expected"),
    [
        pytest.param([1.0, 1.0, 1.0], [0.5, 0.0, 0.0], 0.75, id="3 of the 4 that it wanted"),
        pytest.param([1.0, 1.0, 1.0], [0.0, 0.0, 0.0], 1.0, id="it never waited"),
        pytest.param([1.0, 1.0, 1.0], [None, 0.5, 0.5], 0.6, id="a step without its wait counts as without wait"),
        pytest.param([1.0, 1.0, 1.0], [None, None, 0.5], None, id="too little is known of its wait"),
        pytest.param([None, 1.0, 1.0, 1.0], [None, 0.5, 0.5, 0.5], 0.5, id="one that came later"),
        pytest.param([1.0, 1.0, 1.0], None, None, id="nothing is known of its wait"),
        pytest.param([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 1.0, id="it wanted nothing"),
    ],
)
def test_the_share_over_the_history(
    cores: list[float | None], ready: list[float | None] | None, expected: float | None
) -> None:
    assert got(past(cores, ready)) == (None if expected is None else pytest.approx(expected))


@given(st.lists(st.tuples(SAMPLE, READY), min_size=1, max_size=12), st.floats(0.0, 4.0), READY, st.integers(1, 8))
def test_shares_are_fractions(
    steps: list[tuple[float | None, float | None]], cores: float, ready: float | None, vcpus: int
) -> None:
    history = past([used for used, _waited in steps], [waited for _used, waited in steps])
    _demand, (guest,) = read(domain("a", "kvm1", cores, cpu_ready=ready, vcpus=vcpus))
    for share in (got_now(guest), got(history, vcpus=vcpus)):
        assert share is None or 0.0 <= share <= 1.0


@pytest.mark.parametrize(
    ("cores", "minutes"), [([1.0] * 6, 6.0), ([None, None, 1.0, None, 1.0, 1.0], 4.0), ([None] * 6, 0.0)]
)
def test_how_far_back_a_history_goes(cores: list[float | None], minutes: float) -> None:
    demand, (guest, _other) = read(
        domain("a", "kvm1", history=past(cores)), domain("b", "kvm1", history=past([1.0] * 6))
    )
    assert demand.reach(guest) == minutes


def test_a_clock_that_is_ahead_takes_the_history_of_nobody_else() -> None:
    demand, (ahead, right) = read(
        domain("a", "kvm1", history=past([1.0] * 9, ends_at=AHEAD)), domain("b", "kvm1", history=past([1.0] * 9))
    )
    assert demand.steps is not None
    assert demand.steps.ends_at == right.history.ends_at
    assert demand.series(right, 1.0) is not None
    assert demand.series(ahead, 1.0) is None


def test_any_number_of_minutes_is_as_far_as_the_history_goes() -> None:
    facts = Snapshot.from_mapping(snapshot({"kvm1": host()}, domain("a", "kvm1", history=past([1.0, 1.0, 4.0]))))
    policy = Policy.from_mapping({"demand": {"name": "mean", "parameters": {"minutes": 1e308}}})
    demand = Demand(facts, policy)
    assert demand.of_domain([1.0, 1.0, 4.0], 9.0) == 2.0


def test_steps_may_be_of_any_length() -> None:
    history = {**past([1.0] * 4), "step_seconds": 5e-324}
    carrier = {**history, "cpu": [0.5] * 4}
    guest = domain("a", "kvm1", history=history, last_moved_at="2026-01-31T11:00:00Z")
    facts = Snapshot.from_mapping(snapshot({"kvm1": host(history=carrier)}, guest))
    assert Demand(facts, Policy()).own(facts.hosts["kvm1"], facts.domains.values(), 0.0) == [4.0] * 4
