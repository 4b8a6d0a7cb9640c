# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Plans that are made by what was: no constraint is broken at any step, and the peaks of hosts are one of them."""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Sequence

from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils._plan.test_plan_properties import (
    Wants,
    check_steps,
    fleets,
    observed,
    own_cores,
)
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    TAKEN_AT,
    Json,
    carried_out,
    moves,
)

STEPS = 8
TOO_FEW = 3
STEP = {"step_seconds": 300, "ends_at": TAKEN_AT}
Samples = list[float | None]


def mean(samples: Sequence[float]) -> float:
    return sum(samples) / len(samples)


PREDICTORS: dict[str, tuple[t.Any, Callable[[Sequence[float]], float] | None]] = {
    "observation": ("observation", None),
    "mean": ({"name": "mean"}, mean),
    "maximum": ({"name": "quantile", "parameters": {"quantile": 1.0}}, max),
}


def samples(*values: float | None) -> st.SearchStrategy[Samples]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=STEPS)


@st.composite
def fleets_with_a_past(draw: st.DrawFn) -> tuple[Json, Json, str, str]:
    """A random fleet whose hosts and domains have a random past, and the names of the predictors of the policy."""
    data, policy = draw(fleets())
    for host in data["hosts"].values():
        own = draw(st.one_of(st.none(), samples(0.0, 0.2, 0.8, None)))
        if own is not None:
            host["history"] = {**STEP, "cpu": [0.5] * len(own), "own_cores": own}
    for guest in data["domains"].values():
        past = draw(st.one_of(st.none(), *[samples(0.0, 0.3, 0.9, 1.7, 2.0, None)] * 3))
        if past is not None:
            guest["history"] = {**STEP, "cpu_cores": past}
    demand, host_demand = draw(st.sampled_from(sorted(PREDICTORS))), draw(st.sampled_from(sorted(PREDICTORS)))
    policy |= {"demand": PREDICTORS[demand][0], "host_demand": PREDICTORS[host_demand][0]}
    return data, policy, demand, host_demand


def length(data: Json) -> int:
    """The number of steps of the longest history of the fleet."""
    pasts = [one["history"]["cpu_cores"] for one in data["domains"].values() if one.get("history")]
    pasts += [one["history"]["cpu"] for one in data["hosts"].values() if one.get("history")]
    return max(map(len, pasts), default=0)


def series(guest: Json, steps: int) -> list[float] | None:
    """What a domain used in each step, its mean where a step is missing; None if too little is known."""
    past = guest.get("history")
    if not past:
        return None
    column = [None] * (steps - len(past["cpu_cores"])) + past["cpu_cores"]
    known = [cores for cores in column if cores is not None]
    if len(known) < TOO_FEW or column[-3:] == [None] * 3:
        return None
    return [mean(known) if cores is None else cores for cores in column]


def wants_by(name: str, steps: int) -> Wants:
    """The demand of domains by a predictor."""
    predict = PREDICTORS[name][1]

    def wants(guest: Json) -> float:
        past = series(guest, steps)
        return observed(guest) if past is None or predict is None else predict(past)

    return wants


def own_series(data: Json, policy: Json, name: str, steps: int) -> list[float]:
    now, past = own_cores(data, policy, name), data["hosts"][name].get("history")
    if not past:
        return [now] * steps
    column = [None] * (steps - len(past["own_cores"])) + past["own_cores"]
    if column[-3:] == [None] * 3:
        return [now] * steps
    return [now if cores is None else cores for cores in column]


def peak(
    data: Json, policy: Json, at: t.Iterable[str], name: str, predict: Callable[[Sequence[float]], float]
) -> float:
    """What all that is on a host wants together, as a fraction of it."""
    steps = length(data)
    columns = [own_series(data, policy, name, steps)]
    for uuid in at:
        guest = data["domains"][uuid]
        columns.append(series(guest, steps) or [observed(guest)] * steps)
    return predict([sum(step) for step in zip(*columns, strict=True)]) / float(data["hosts"][name]["cpu"]["threads"])


def check_peaks(data: Json, policy: Json, found: Json, predict: Callable[[Sequence[float]], float]) -> None:
    """No move brings a host above the limit at its peaks, except as with the limit of CPU."""
    where = {uuid: guest["host"] for uuid, guest in data["domains"].items()}
    for wave in found["waves"]:
        before = {name: {uuid for uuid, on in where.items() if on == name} for name in data["hosts"]}
        for name in {move["destination"] for move in wave["moves"]}:
            coming = [move for move in wave["moves"] if move["destination"] == name]
            beyond = any(one["constraint"] == "peaks" for move in coming for one in move["gives_way"])
            sources = {move["source"] for move in coming} - set(policy["drained_hosts"])
            highest = max((peak(data, policy, before[source], source, predict) for source in sources), default=0.0)
            limit = 0.9 if policy["cpu_limit_strict"] else max(0.9, highest)
            after = peak(data, policy, before[name] | {move["domain"] for move in coming}, name, predict)
            assert after <= limit + 1e-6 or (beyond and not policy["cpu_limit_strict"])
        where |= {move["domain"]: move["destination"] for move in wave["moves"]}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(fleets_with_a_past())
def test_plans_by_history_are_safe(case: tuple[Json, Json, str, str]) -> None:
    data, policy, demand, host_demand = case
    found = plan(data, policy)
    event(f"moves: {bool(found['waves'])}, relieves: {any(move['resource'] == 'peak' for move in moves(found))}")
    check_steps(data, policy, found, wants_by(demand, length(data)))
    predict = PREDICTORS[host_demand][1]
    if predict is not None and length(data):
        check_peaks(data, policy, found, predict)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(fleets_with_a_past())
def test_a_fleet_planned_by_history_is_left_alone(case: tuple[Json, Json, str, str]) -> None:
    data, policy, _demand, _host_demand = case
    policy["max_moves"] = None
    found = plan(data, policy)
    # As without history: what is refused now may be possible from the new placement.
    assume(not found["refused"])
    assert plan(carried_out(data, found), policy)["waves"] == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(fleets_with_a_past())
def test_a_fleet_that_cannot_be_relieved_comes_to_rest(case: tuple[Json, Json, str, str]) -> None:
    data, policy, _demand, _host_demand = case
    policy["max_moves"] = None
    for _round in range(4):
        found = plan(data, policy)
        data = carried_out(data, found)
    assert found["waves"] == []
