# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Domains that have to wait, on hosts below every limit and level with the others."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    TAKEN_AT,
    Json,
    carried_out,
    domain,
    host,
    moves,
    snapshot,
    ways,
)

ON_A = "relieves a, whose domains wait for 20 % of the CPU they want"


def ran(cores: float, ready: float | None, steps: int = 10) -> Json:
    """An hour and more in which nothing changed."""
    known = {} if ready is None else {"cpu_ready": [ready] * steps}
    return {"step_seconds": 600, "ends_at": TAKEN_AT, "cpu_cores": [cores] * steps, **known}


def waits(name: str, on: str, cores: float, ready: float, **more: t.Any) -> Json:
    """A domain that has to wait, as ever."""
    return domain(name, on, cores, 100, **{"cpu_ready": ready, "history": ran(cores, ready), **more})


def fleet(*more: Json, ready: float = 0.2, hosts: Json | None = None, **guest: t.Any) -> Json:
    """Two domains on a that wait, one on b and one on c that do not: 25, 15 and 18 % of the hosts' CPU are wanted."""
    here = [waits(f"d{number}", "a", 1.0, ready, **guest) for number in (1, 2)]
    there = [waits("e1", "b", 1.5, 0.0), waits("f1", "c", 1.8, 0.0)]
    return snapshot({name: host() for name in "abc"} | (hosts or {}), *here, *there, *more)


def test_one_domain_leaves_a_contended_host() -> None:
    found = plan(fleet())
    assert ways(found) == [("d1", "a", "b")]
    assert found["why"] == "On a, domains wait for 20 % of the CPU they want."
    assert moves(found)[0]["why"] == f"{ON_A}; a 25 -> 12, b 15 -> 28 % CPU"
    assert moves(found)[0]["resource"] == "contention"


def test_that_ends_it() -> None:
    data = fleet()
    after = carried_out(data, plan(data))
    for guest in after["domains"].values():
        guest["cpu_ready"] = 0.0
    assert plan(after)["verdict"] == "balanced"


@pytest.mark.parametrize("ready", [0.0, 0.05, 0.1])
def test_waiting_a_little_moves_nothing(ready: float) -> None:
    assert plan(fleet(ready=ready))["verdict"] == "balanced"


def test_a_share_of_next_to_nothing_is_noise() -> None:
    here = [waits(f"d{number}", "a", 0.05, 0.5) for number in (1, 2)]
    assert plan(snapshot({name: host() for name in "ab"}, *here))["verdict"] == "balanced"


@pytest.mark.parametrize(
    ("ready_before", "ready_now", "acts"),
    [
        pytest.param(0.2, 0.2, True, id="then and now"),
        pytest.param(0.0, 0.4, False, id="it has just begun"),
        pytest.param(0.4, 0.0, False, id="it is over"),
        pytest.param(None, 0.19, False, id="nobody knows how it was"),
        pytest.param(None, 0.21, True, id="nobody knows how it was, and it is twice as much"),
    ],
)
def test_it_has_to_last(ready_before: float | None, ready_now: float, acts: bool) -> None:
    data = fleet(ready=ready_now, history=ran(1.0, ready_before))
    assert bool(moves(plan(data))) == acts


@pytest.mark.parametrize(
    ("pressure", "acts"),
    [
        pytest.param(None, True, id="the kernel has none"),
        pytest.param(0.3, True, id="something waited"),
        pytest.param(0.01, False, id="next to nothing waited in the last minute"),
    ],
)
def test_the_pressure_of_the_cpu_has_to_agree(pressure: float | None, acts: bool) -> None:
    data = fleet(hosts={"a": host(cpu={"pressure": pressure})})
    assert bool(moves(plan(data))) == acts


def test_the_pressure_of_the_cpu_alone_is_no_reason() -> None:
    assert plan(fleet(ready=0.0, hosts={"a": host(cpu={"pressure": 0.9})}))["verdict"] == "balanced"


@pytest.mark.parametrize(
    "guest",
    [
        pytest.param({"cap": 200}, id="it waits for its own cap"),
        pytest.param({"cpu_ready": None}, id="nobody knows"),
    ],
)
def test_what_no_move_changes_is_no_reason(guest: Json) -> None:
    data = fleet()
    for name in ("d1", "d2"):
        data["domains"][name] |= guest
    found = plan(data)
    assert (found["verdict"], found["notes"]) == ("balanced", [])


def test_one_that_waits_again_after_its_move_stays_and_another_goes() -> None:
    data = fleet()
    data["domains"]["d1"]["last_moved_at"] = "2026-01-31T01:00:00Z"
    assert ways(plan(data)) == [("d2", "a", "b")]


def test_a_domain_that_does_not_wait_stays() -> None:
    data = fleet(waits("big", "a", 0.3, 0.0))
    assert ways(plan(data)) == [("d1", "a", "b")]


def test_nothing_goes_where_domains_wait_too_and_one_note_says_so() -> None:
    data = fleet(waits("d3", "b", 0.6, 0.3), waits("d4", "c", 0.6, 0.3))
    found = plan(data)
    assert (found["verdict"], moves(found)) == ("balanced", [])
    (note,) = found["notes"]
    assert note.startswith(
        "No move helps where domains have to wait: on a, domains wait for 20 % of the CPU they want; on"
    )


@pytest.mark.parametrize(("busy", "acts"), [(7.0, True), (7.4, False)])
def test_the_peaks_of_the_other_host_have_to_leave_room(busy: float, acts: bool) -> None:
    past = {**ran(1.3, 0.0), "cpu_cores": [0.0] * 8 + [busy] * 2}
    here = [waits(f"d{number}", "a", 1.0, 0.2) for number in (1, 2)]
    there = [domain("e1", "b", 0.5), domain("e2", "b", 0.0, vcpus=8, history=past)]
    found = plan(snapshot({name: host() for name in "ab"}, *here, *there))
    assert ways(found) == ([("d1", "a", "b")] if acts else [])


def test_one_host_near_its_limit_does_not_relieve_another() -> None:
    """At their peaks a wants 99 % and b would want 97, which is less, but above the limit."""
    past = {**ran(0.0, 0.0), "cpu_cores": [0.0] * 8 + [7.4] * 2}
    here = [waits(f"d{number}", "a", 1.0, 0.2) for number in (1, 2)]
    here.append(domain("d3", "a", 0.0, vcpus=8, history=past))
    there = [waits("e1", "b", 1.0, 0.0), domain("e2", "b", 0.0, vcpus=8, history=past)]
    found = plan(snapshot({name: host() for name in "ab"}, *here, *there))
    assert (found["verdict"], moves(found)) == ("balanced", [])


def test_the_fleet_stays_level() -> None:
    # 25 % on a, 43 % on b: b would come to 55 %, and a to 12.
    data = snapshot(
        {name: host() for name in "ab"},
        *[waits(f"d{number}", "a", 1.0, 0.2) for number in (1, 2)],
        waits("e1", "b", 4.3, 0.0, vcpus=8),
    )
    found = plan(data)
    assert (found["verdict"], moves(found)) == ("balanced", [])
    assert found["notes"] == [
        "No move helps where domains have to wait: on a, domains wait for 20 % of the CPU they want."
    ]


def test_a_host_that_is_levelled_loses_no_more() -> None:
    # It has to give d3 away, and d1 and d2 wait; the others are level with it afterwards.
    data = fleet(waits("d3", "a", 0.6, 0.2))
    pinned = {"pins": [{"domains": {"names": ["d3"]}, "hosts": ["b"]}]}
    assert ways(plan(data, pinned)) == [("d3", "a", "b")]
    assert ways(plan(data, {"exclude": {"names": ["d3"]}})) == [("d1", "a", "b")]


def test_hold_and_max_moves_count() -> None:
    assert plan(fleet(), {"hold": 2})["verdict"] == "hold"
    two = fleet(*[waits(f"g{number}", "d", 1.0, 0.2) for number in (1, 2)], hosts={"d": host()})
    assert len(moves(plan(two))) == 2
    assert len(moves(plan(two, {"max_moves": 1}))) == 1


def test_optimal_relieves_where_the_fleet_is_level() -> None:
    pytest.importorskip("ortools")
    assert ways(plan(fleet(), {"strategy": "optimal"})) == [("d1", "a", "b")]


def test_it_may_be_no_reason() -> None:
    assert plan(fleet(), {"trigger": ["limit", "spread"]})["verdict"] == "balanced"


def short(pressure: float, used: float = 6000, **there: t.Any) -> Json:
    """Two domains on a, which is short of memory, and one on b."""
    here = [domain("d1", "a", 0.1, 1500), domain("d2", "a", 0.1, 1000), domain("d3", "a", 0.1, 99)]
    hosts = {"a": host(used=used - 2599, memory={"pressure": pressure}), "b": host(**there)}
    return snapshot(hosts, *here, domain("e1", "b", 0.1, 4500))


def test_memory_that_is_waited_for_moves_a_tenth_of_it() -> None:
    found = plan(short(0.3))
    assert ways(found) == [("d2", "a", "b")]
    assert found["why"] == "On a, domains had to wait for memory during 30 % of the last minute."
    assert moves(found)[0]["why"] == (
        "relieves a, whose domains had to wait for memory during 30 % of the last minute; "
        "a 60 -> 50, b 45 -> 55 % memory"
    )


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(short(0.1), id="little is waited for"),
        pytest.param(short(0.3, used=5000), id="the other host would be fuller than this one was"),
        pytest.param(short(0.3, memory={"pressure": 0.2}), id="the other is short of memory too"),
    ],
)
def test_memory_moves_nothing_to_no_purpose(data: Json) -> None:
    assert not moves(plan(data))
