# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The strategy consolidate: small fleets whose answer can be seen by looking."""

from __future__ import annotations

import copy
import typing as t

import pytest
from hypothesis import HealthCheck, given, settings

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError, SnapshotError
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.moves import Move
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import _halved, plan
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._report.plan_table import plan_table
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils._plan.test_plan_properties import (
    check_steps,
    fleets,
)
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    TAKEN_AT,
    Json,
    domain,
    host,
    moves,
    snapshot,
    ways,
)

WATTS = {"idle_watts": 60, "max_watts": 140}
BLOCKED = [{"code": "host_device", "message": "has a device of the host"}]


def sleepy(**more: t.Any) -> Json:
    """A host of 10 threads that may sleep."""
    return host(may_sleep=True, power_model=WATTS, **more)


def asleep(threads: int = 10, total: int = 10000, **more: t.Any) -> Json:
    """A host that sleeps, with the same watts for each thread whatever its size."""
    known = {"since": "2026-01-31T11:00:00Z", "threads": threads, "memory_total_mib": total}
    watts = {"idle_watts": 6 * threads, "max_watts": 14 * threads}
    return {"state": "asleep", "problem": None, "asleep": known, "may_sleep": True, "power_model": watts, **more}


def past(*cpu: float | None, ends_at: str = TAKEN_AT) -> Json:
    return {"step_seconds": 60, "ends_at": ends_at, "cpu": list(cpu)}


def ran(*cores: float | None) -> Json:
    return {"step_seconds": 60, "ends_at": TAKEN_AT, "cpu_cores": list(cores)}


def fleet(hosts: dict[str, Json], *domains: Json) -> Json:
    """A snapshot that may have hosts that sleep."""
    every = copy.deepcopy(hosts)
    found = snapshot({name: facts for name, facts in every.items() if facts["state"] == "active"}, *domains)
    return {**found, "hosts": every}


def consolidated(data: Json, *, policy: Json | None = None, **consolidation: t.Any) -> Json:
    """A plan that by default keeps no spare host and lets hosts sleep at once."""
    wanted = {"spare_hosts": 0, "idle_rounds": 0, **consolidation}
    return plan(data, {"strategy": "consolidate", "consolidation": wanted, **(policy or {})})


def light() -> tuple[dict[str, Json], list[Json]]:
    return (
        {"a": sleepy(), "b": sleepy(), "c": sleepy()},
        [domain("x", "a"), domain("y", "a"), domain("z", "b"), domain("w", "c", 0.5)],
    )


def hosts_of(acts: list[Json]) -> list[str]:
    return [act["host"] for act in acts]


# --- Emptying -----------------------------------------------------------------------------------------------------


def test_light_hosts_are_emptied_onto_the_fullest_and_sleep() -> None:
    hosts, domains = light()
    found = consolidated(fleet(hosts, *domains))
    assert found["verdict"] == "move"
    assert sorted(ways(found)) == [("w", "c", "a"), ("z", "b", "a")]
    assert {move["resource"] for move in moves(found)} == {"underload"}
    assert hosts_of(found["sleep"]) == ["b", "c"]
    known = {"since": TAKEN_AT, "threads": 10, "memory_total_mib": 10000}
    assert found["marks"] == {"a": {"asleep": {"b": known, "c": known}}}
    assert found["why"] == "c, b can be emptied."
    assert found["watts"] == {"before": 208.0, "after": 88.0, "source": "modelled"}


def test_a_host_that_sleeps_since_nobody_knows_when_stays_asleep() -> None:
    hosts, domains = light()
    hosts["d"] = {**asleep(), "asleep": None}
    found = consolidated(fleet(hosts, *domains))
    assert found["marks"]["a"]["asleep"]["d"] == {"since": None, "threads": None, "memory_total_mib": None}


def test_all_or_nothing() -> None:
    hosts, domains = light()
    domains.append(domain("stuck", "b", blockers=BLOCKED))
    found = consolidated(fleet(hosts, *domains))
    assert ways(found) == [("w", "c", "a")]
    assert "b is underloaded and left alone: stuck has to stay (has a device of the host)." in found["notes"]


def test_a_host_whose_domains_do_not_all_fit_is_left_alone() -> None:
    hosts = {"a": sleepy(), "b": sleepy()}
    data = fleet(hosts, *(domain(f"x{i}", "a") for i in range(6)), domain("y", "b"), domain("z", "b", 0.5))
    found = consolidated(data)
    assert (found["verdict"], found["waves"], found["sleep"]) == ("balanced", [], [])
    assert "no host has room for it within cpu_fill and memory_fill" in str(found["notes"])
    fuller = {"name": "best_fit_decreasing", "parameters": {"cpu_fill": 0.75}}
    assert len(moves(consolidated(data, placement=fuller))) == 2


def test_of_underloaded_hosts_the_one_with_the_most_watts_per_core_is_emptied() -> None:
    """There is room for the domains of one of them only."""
    hosts = {"a": sleepy(), "b": sleepy(), "c": sleepy()}
    domains = [domain(name, name[0], cores) for name, cores in (("a0", 4.5), ("b0", 2.0), ("c0", 3.0))]
    policy = {"cpu_limit": 0.75}
    assert {source for _name, source, _end in ways(consolidated(fleet(hosts, *domains), policy=policy))} == {"b"}
    hosts["c"]["power_model"] = {"idle_watts": 90, "max_watts": 190}
    assert {source for _name, source, _end in ways(consolidated(fleet(hosts, *domains), policy=policy))} == {"c"}
    hosts["b"]["power_model"] = None
    assert {source for _name, source, _end in ways(consolidated(fleet(hosts, *domains), policy=policy))} == {"b"}


def test_hard_constraints_keep_a_host_from_being_emptied() -> None:
    hosts, domains = light()
    apart = [{"name": "pair", "domains": "domains[?name == 'x' || name == 'z']"}]
    found = consolidated(fleet(hosts, *domains), policy={"anti_affinity": apart})
    assert [("z", "a") not in [(name, end) for name, _source, end in ways(found)]] == [True]
    assert found["hosts"]["a"]["after"]["domains"] + found["hosts"]["b"]["after"]["domains"] == 4


def test_what_must_stay_together_moves_together() -> None:
    hosts = {"a": sleepy(), "b": sleepy(), "c": sleepy()}
    domains = [*(domain(f"x{i}", "a") for i in range(5)), *(domain(f"y{i}", "b") for i in range(5))]
    domains += [domain("p", "c"), domain("q", "c"), domain("r", "c")]
    together = [{"name": "pqr", "domains": "domains[?name == 'p' || name == 'q' || name == 'r']"}]
    free = consolidated(fleet(hosts, *domains), underload={"name": "threshold", "parameters": {"threshold": 0.4}})
    assert {end for _name, _source, end in ways(free)} == {"a", "b"}
    bound = consolidated(
        fleet(hosts, *domains),
        underload={"name": "threshold", "parameters": {"threshold": 0.4}},
        policy={"affinity": together},
    )
    assert bound["waves"] == []


def test_only_hosts_that_can_be_woken_are_emptied() -> None:
    hosts, domains = light()
    hosts["b"]["may_sleep"] = hosts["c"]["may_sleep"] = False
    assert {source for _name, source, _end in ways(consolidated(fleet(hosts, *domains)))} == {"a"}
    hosts["a"]["may_sleep"] = False
    found = consolidated(fleet(hosts, *domains))
    assert found["waves"] == []
    assert "balance_power_control" in str(found["notes"])


def test_a_host_that_received_a_domain_is_not_emptied() -> None:
    hosts = {name: sleepy() for name in "abcd"}
    domains = [
        domain(f"{name}{i}", name, 1.0) for name, count in zip("abcd", (4, 3, 2, 1), strict=True) for i in range(count)
    ]
    found = consolidated(fleet(hosts, *domains))
    ends = {end for _name, _source, end in ways(found)}
    assert not ends & {source for _name, source, _end in ways(found)}
    assert "on its way" not in str(found["notes"])


def test_no_more_moves_than_max_moves_and_no_host_half_empty() -> None:
    hosts, domains = light()
    domains.append(domain("v", "c", 0.1))
    found = consolidated(fleet(hosts, *domains), policy={"max_moves": 2})
    assert len(moves(found)) == 2
    assert len({source for _name, source, _end in ways(found)}) == 1
    assert "max_moves: 2" in str(found["notes"])


def test_the_threshold_of_underload_counts() -> None:
    hosts, domains = light()
    low = {"name": "threshold", "parameters": {"threshold": 0.07}}
    assert ways(consolidated(fleet(hosts, *domains), underload=low)) == [("w", "c", "a")]


def test_history_decides_before_the_observation() -> None:
    hosts, domains = light()
    hosts["c"]["history"] = past(0.9, 0.7, 0.7)
    found = consolidated(fleet(hosts, *domains))
    assert ways(found) == [("z", "b", "a")]
    assert found["detection"]["c"]["underload"] == {"detector": "threshold", "usage": 0.7, "threshold": 0.5}
    assert (found["detection"]["c"]["history"], found["detection"]["b"]["history"]) == (True, False)
    assert "Judged by one observation, because there is no history: a, b." in found["notes"]


def test_an_old_history_does_not_count() -> None:
    hosts, domains = light()
    hosts["c"]["history"] = past(0.9, 0.7, 0.7, ends_at="2026-01-31T11:50:00Z")
    found = consolidated(fleet(hosts, *domains))
    assert len(moves(found)) == 2
    assert found["detection"]["c"]["history"] is False


# --- Relieving ----------------------------------------------------------------------------------------------------


def busy(**more: t.Any) -> tuple[dict[str, Json], list[Json]]:
    hosts = {"a": sleepy(**more), "b": sleepy(), "c": sleepy()}
    return hosts, [
        domain("big", "a", 4.0, 4000),
        domain("mid", "a", 3.0, 2000),
        domain("small", "a", 1.5, 500),
        domain("y", "b", 4.0, 1000),
    ]


@pytest.mark.parametrize(
    ("selection", "leaves"),
    [("minimum_migration_time", "small"), ("minimum_utilization", "small"), ("random", "big")],
)
def test_the_selection_says_who_leaves_and_the_fullest_host_takes_it(selection: str, leaves: str) -> None:
    hosts, domains = busy()
    parameters = {"seed": 4} if selection == "random" else {}
    found = consolidated(fleet(hosts, *domains), selection={"name": selection, "parameters": parameters})
    relieving = [move for move in moves(found) if move["resource"] == "overload"]
    assert [(move["name"], move["source"]) for move in relieving] == [(leaves, "a")]
    if leaves == "small":
        assert relieving[0]["destination"] == "b"
        assert relieving[0]["why"].startswith("relieves an overloaded host; a 85 -> 70, b 40 -> 55 % CPU")


def test_no_more_leave_than_it_takes() -> None:
    hosts, domains = busy()
    found = consolidated(fleet(hosts, *domains), overload={"name": "threshold", "parameters": {"threshold": 0.6}})
    # The selection names small first, but mid alone is enough.
    assert [way[0] for way in ways(found)] == ["mid"]
    assert found["hosts"]["a"]["after"]["cpu"] == pytest.approx(0.55)
    found = consolidated(fleet(hosts, *domains), overload={"name": "threshold", "parameters": {"threshold": 0.5}})
    assert sorted(way[0] for way in ways(found)) == ["mid", "small"]
    assert found["hosts"]["a"]["after"]["cpu"] == pytest.approx(0.4)


def test_overload_in_the_history_alone_is_enough() -> None:
    """Quiet now, but the trend of the last half hour leads above 1: without the one that makes it, it does not."""
    ramp = [0.2 + 0.026 * step for step in range(30)]
    hosts = {"a": sleepy(history=past(*ramp)), "b": sleepy()}
    domains = [
        domain("steady", "a", 2.0, 400, history=ran(*[2.0] * 30)),
        domain("growing", "a", 6.0, 300, history=ran(*[10 * u - 2.0 for u in ramp])),
        domain("y", "b", 1.0),
    ]
    data = fleet(hosts, *domains)
    found = consolidated(data, overload="local_regression")
    assert ways(found) == [("growing", "a", "b")]
    assert found["detection"]["a"]["overload"]["detector"] == "local_regression"
    assert found["detection"]["a"]["overload"]["prediction"] == pytest.approx(0.954, abs=0.01)
    assert found["why"].startswith("a is overloaded (local_regression: prediction 0.9")
    assert consolidated(data)["why"] != found["why"]


def test_a_host_without_a_domain_that_came_later_was_as_busy_before_as_it_was() -> None:
    """The domain was busy elsewhere for 20 minutes, here for 10."""
    cpu = [0.95] * 20 + [0.95] * 10
    hosts = {"a": sleepy(history=past(*cpu)), "b": sleepy(), "c": sleepy()}
    domains = [
        domain("old", "a", 5.0, 900, vcpus=8, history=ran(*[9.5] * 20, *[5.0] * 10)),
        domain("new", "a", 4.0, 100, history=ran(*[4.0] * 30), last_moved_at="2026-01-31T11:50:00Z"),
    ]
    mean = {"name": "average", "parameters": {"samples": 30, "threshold": 0.85}}
    found = consolidated(fleet(hosts, *domains), overload=mean, policy={"cooldown_seconds": 0})
    # Taking 0.4 off ten steps of 30 leaves 0.95 - 0.4 / 3 = 0.817.
    assert [way[0] for way in ways(found)] == ["new"]
    less = {"name": "average", "parameters": {"samples": 30, "threshold": 0.8}}
    found = consolidated(fleet(hosts, *domains), overload=less, policy={"cooldown_seconds": 0, "cpu_overcommit": None})
    # Without new it is still too much, and without old new may stay.
    assert [way[0] for way in ways(found)] == ["old"]


def test_limits_count_whatever_the_detector_says() -> None:
    """All of the CPU is used, but more is wanted; and memory, which no detector looks at."""
    waiting = {"a": sleepy(history=past(0.5, 0.5, 0.5)), "b": sleepy()}
    calm: Json = {"history": ran(1.2, 1.2, 1.2)}
    found = consolidated(
        fleet(
            waiting,
            *(domain(f"x{i}", "a", 1.5, cpu_ready=0.5, **calm) for i in range(4)),
            domain("y", "b", 5.5, history=ran(5.5, 5.5, 5.5)),
        ),
        policy={"demand": "observation"},
    )
    assert found["why"].startswith("a is overloaded (its domains want 120 % of its CPU, the limit is 90 %).")
    full = {"a": sleepy(), "b": sleepy()}
    found = consolidated(fleet(full, *(domain(f"x{i}", "a", 0.1, 950) for i in range(10)), domain("y", "b", 6.0)))
    assert found["why"].startswith("a is overloaded (it uses 95 % of its memory, the limit is 90 %).")
    assert len(moves(found)) == 1


def test_where_nobody_can_be_woken_hosts_are_filled_until_they_would_be_overloaded() -> None:
    hosts = {"a": sleepy(), "b": sleepy()}
    data = fleet(hosts, *(domain(f"x{i}", "a") for i in range(10)), *(domain(f"y{i}", "b") for i in range(7)))
    found = consolidated(data)
    assert found["verdict"] == "move"
    assert found["hosts"]["b"]["after"]["cpu"] == pytest.approx(0.8)
    assert "b would be at 90 % CPU, and is overloaded above 80 %" in str(found["refused"])


def test_who_finds_no_host_says_why() -> None:
    hosts = {"a": sleepy(), "b": sleepy()}
    data = fleet(hosts, *(domain(f"x{i}", "a") for i in range(9)), *(domain(f"y{i}", "b") for i in range(9)))
    found = consolidated(data)
    assert (found["verdict"], found["waves"]) == ("stuck", [])
    assert {wish["name"][0] for wish in found["refused"]} == {"x", "y"}
    assert "b would be at 100 % CPU, the limit is 90 %" in str(found["refused"])


# --- Waking ---------------------------------------------------------------------------------------------------------


def crowded(**more: Json) -> Json:
    """b has room by the limits, but not within cpu_fill."""
    hosts = {"a": sleepy(), "b": sleepy(), **more}
    return fleet(hosts, *(domain(f"x{i}", "a") for i in range(9)), *(domain(f"y{i}", "b") for i in range(7)))


def test_the_smallest_host_that_suffices_is_woken_and_nothing_moves_to_it_before() -> None:
    found = consolidated(crowded(big=asleep(64), tiny=asleep(1), fit=asleep(4)))
    assert (found["verdict"], found["waves"]) == ("power", [])
    assert found["wake"] == [{"host": "fit", "why": "no host that is awake has room for x0."}]
    assert found["sleep"] == []
    assert set(found["marks"]["a"]["asleep"]) == {"big", "tiny", "fit"}


def test_the_host_with_the_fewest_watts_per_core_is_woken() -> None:
    sparing = asleep(16, power_model={"idle_watts": 60, "max_watts": 140})
    assert hosts_of(consolidated(crowded(small=asleep(4), sparing=sparing))["wake"]) == ["sparing"]
    fast = {**asleep(4), "speed": 2.0}
    assert hosts_of(consolidated(crowded(small=asleep(4), fast=fast))["wake"]) == ["fast"]


def test_a_reserve_of_threads_counts_at_the_speed_of_the_host() -> None:
    """x0 wants one core: of 2 threads of speed 3, 70 % are filled, and 1 is reserved."""
    fast = {**asleep(2), "speed": 3.0}
    reserves = [{"hosts": ["fast"], "cpu_cores": 1}]
    assert hosts_of(consolidated(crowded(fast=fast), policy={"reserves": reserves})["wake"]) == ["fast"]
    reserves[0]["cpu_cores"] = 1.2
    assert consolidated(crowded(fast=fast), policy={"reserves": reserves})["wake"] == []


def test_how_fast_a_host_was_is_known_while_it_sleeps() -> None:
    remembered = asleep()
    remembered["asleep"]["max_mhz"] = 3700
    found = consolidated(fleet({"a": sleepy(), "b": remembered}, domain("x", "a")))
    assert found["marks"]["a"]["asleep"]["b"]["max_mhz"] == 3700


def test_the_smallest_host_is_woken_where_the_watts_of_one_are_not_known() -> None:
    sparing = asleep(16, power_model={"idle_watts": 60, "max_watts": 140})
    found = consolidated(crowded(small=asleep(4), sparing=sparing, unknown=asleep(64, power_model=None)))
    assert hosts_of(found["wake"]) == ["small"]


def test_after_waking_the_domains_go_there() -> None:
    found = consolidated(crowded(fit=sleepy(marks={"idle_rounds": 5, "asleep": {}})))
    assert ways(found) == [("x0", "a", "fit")]
    assert (found["wake"], found["sleep"]) == ([], [])
    assert found["marks"] == {"fit": {"idle_rounds": 6}}


def test_a_host_that_may_not_be_woken_is_not() -> None:
    for closed in ({"ignore_hosts": ["c"]}, {"drained_hosts": ["c"]}, {}):
        sleeper = asleep(may_sleep=bool(closed))
        found = consolidated(crowded(c=sleeper), policy=closed)
        assert found["wake"] == []
        # Nobody can be woken, so b is filled.
        assert ways(found) == [("x0", "a", "b")]


def test_no_host_is_woken_for_a_domain_that_belongs_elsewhere() -> None:
    pins = [{"domains": "domains[?name == 'x0']", "hosts": ["a", "b"]}]
    found = consolidated(crowded(c=asleep()), policy={"pins": pins})
    assert found["wake"] == []
    assert "x0 has to leave a, and no sleeping host has room for it." in found["notes"]


def test_while_domains_have_no_room_no_host_sleeps_and_none_is_emptied() -> None:
    """d is idle and c could be emptied onto b, but x0 has no room on b and may be nowhere else."""
    hosts = {"a": sleepy(), "b": sleepy(), "c": sleepy(), "d": sleepy(marks={"idle_rounds": 9})}
    domains = [
        *(domain(f"x{i}", "a") for i in range(9)),
        *(domain(f"y{i}", "b") for i in range(6)),
        domain("z", "c", 0.5),
    ]
    free = consolidated(fleet(hosts, *domains))
    assert (len(moves(free)), hosts_of(free["sleep"])) == (1, ["d"])
    pins = [
        {"domains": "domains[?host == 'a']", "hosts": ["a", "b"]},
        {"domains": "domains[?host == 'b']", "hosts": ["b"]},
    ]
    fuller = {"name": "best_fit_decreasing", "parameters": {"cpu_fill": 0.65}}
    bound = consolidated(fleet({**hosts, "e": asleep()}, *domains), policy={"pins": pins}, placement=fuller)
    assert (bound["verdict"], bound["waves"], bound["sleep"]) == ("stuck", [], [])


def test_a_drained_host_that_cannot_be_emptied_wakes_another() -> None:
    data = fleet(
        {"a": sleepy(), "b": sleepy(), "c": asleep()},
        *(domain(f"x{i}", "a") for i in range(5)),
        *(domain(f"y{i}", "b") for i in range(8)),
    )
    found = consolidated(data, policy={"drained_hosts": ["a"], "cpu_limit_strict": True})
    assert hosts_of(found["wake"]) == ["c"]


def test_the_reserve_is_kept_awake() -> None:
    hosts = {"a": sleepy(), "b": asleep(), "c": asleep(4)}
    data = fleet({**hosts, "d": host(state="active")}, *(domain(f"x{i}", "a") for i in range(6)), domain("y", "d", 6.0))
    found = consolidated(data, spare_hosts=1)
    assert found["wake"] == [
        {"host": "c", "why": "0 of the 1 spare hosts that the policy asks for (spare_hosts) are awake."}
    ]
    assert hosts_of(consolidated(data, spare_hosts=2)["wake"]) == ["c", "b"]
    assert consolidated(data, spare_hosts=0)["wake"] == []


def test_a_host_is_emptied_rather_than_another_one_woken_as_the_spare_one() -> None:
    hosts = {"a": sleepy(), "b": sleepy(), "c": asleep()}
    data = fleet(hosts, *(domain(f"x{i}", "a") for i in range(4)), domain("y", "b"))
    found = consolidated(data, spare_hosts=1)
    assert ways(found) == [("y", "b", "a")]
    assert (found["wake"], found["sleep"]) == ([], [])
    hosts["c"] = {**asleep(), "state": "unknown"}
    found = consolidated(fleet(hosts, *data["domains"].values()), spare_hosts=1)
    assert found["waves"] == []
    assert "b could be emptied, but would have to stay awake (spare_hosts: 1)." in found["notes"]


# --- Sleeping -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remembered", "idle_rounds", "sleeps", "mark"),
    [
        (None, 2, False, {"idle_rounds": 1}),
        (1, 2, True, {"idle_rounds": 0}),
        (1, 3, False, {"idle_rounds": 2}),
        (7, 2, True, {"idle_rounds": 0}),
        (None, 1, True, None),
        (None, 0, True, None),
    ],
)
def test_hosts_sleep_after_idle_rounds(
    remembered: int | None, idle_rounds: int, sleeps: bool, mark: Json | None
) -> None:
    idle = sleepy(marks=None if remembered is None else {"idle_rounds": remembered})
    found = consolidated(fleet({"a": sleepy(), "b": idle}, domain("x", "a", 6.0, vcpus=8)), idle_rounds=idle_rounds)
    assert hosts_of(found["sleep"]) == ["b"] * sleeps
    assert found["marks"].get("b") == mark
    assert found["verdict"] == ("power" if sleeps else "balanced")


def test_a_host_with_a_domain_is_not_idle() -> None:
    data = fleet({"a": sleepy(marks={"idle_rounds": 9}), "b": sleepy()}, *(domain(n, n, 6.0, vcpus=8) for n in "ab"))
    found = consolidated(data)
    assert found["sleep"] == []
    assert found["marks"] == {"a": {"idle_rounds": 0}}


def test_a_host_that_a_domain_is_on_its_way_to_is_not_idle() -> None:
    arriving = domain("x", "a", 1.0, destination="b", job={"operation": "migration_out"})
    found = consolidated(fleet({"a": sleepy(), "b": sleepy(marks={"idle_rounds": 9})}, arriving))
    assert (found["waves"], found["sleep"]) == ([], [])


@pytest.mark.parametrize("spare", [0, 1, 2, 3])
def test_spare_hosts_stay_awake_and_the_hungriest_sleep_first(spare: int) -> None:
    hosts = {"a": sleepy(), "b": sleepy(), "c": sleepy(), "d": sleepy()}
    hosts["c"]["power_model"] = {"idle_watts": 200, "max_watts": 300}
    found = consolidated(fleet(hosts, domain("x", "a", 6.0, vcpus=8)), spare_hosts=spare)
    assert hosts_of(found["sleep"]) == ["c", "b", "d"][: 3 - spare]


def test_one_host_stays_awake_where_there_is_no_domain_at_all() -> None:
    found = consolidated(fleet({"a": sleepy(), "b": sleepy()}))
    assert hosts_of(found["sleep"]) == ["a"]


@pytest.mark.parametrize("policy", [{"ignore_hosts": ["b"]}, {"drained_hosts": ["b"]}])
def test_what_is_out_of_the_way_does_not_sleep(policy: Json) -> None:
    data = fleet({"a": sleepy(), "b": sleepy(), "c": sleepy()}, domain("x", "a", 6.0, vcpus=8))
    assert hosts_of(consolidated(data, policy=policy)["sleep"]) == ["c"]


def test_hold_keeps_hosts_from_being_emptied_and_from_sleeping() -> None:
    hosts, domains = light()
    hosts["d"] = sleepy()
    found = consolidated(fleet(hosts, *domains), policy={"hold": 2})
    assert (found["verdict"], found["waves"], found["sleep"], found["uneven_rounds"]) == ("hold", [], [], 1)
    assert "This was found once; the policy acts after 2 runs (hold)." in found["why"]
    assert all(found["marks"][name]["uneven_rounds"] == 1 for name in hosts)
    for facts in hosts.values():
        facts["marks"] = {"uneven_rounds": 1}
    found = consolidated(fleet(hosts, *domains), policy={"hold": 2})
    assert (found["verdict"], len(moves(found)), found["uneven_rounds"]) == ("move", 2, 0)


# --- What detectors remember ----------------------------------------------------------------------------------------


def test_what_a_detector_counts_is_remembered_and_each_sample_counts_once() -> None:
    hosts = {"a": sleepy(history=past(*[0.95] * 2, *[0.5] * 18)), "b": sleepy()}
    domains = [domain("x", "a", 5.0, vcpus=8), domain("y", "b", 6.0, vcpus=8)]
    first = consolidated(fleet(hosts, *domains), overload="otf")
    state = {"steps": 20, "overloaded_steps": 2}
    assert first["marks"]["a"]["detection"] == {"detector": "otf", "ends_at": TAKEN_AT, "state": state}
    hosts["a"]["marks"] = {"detection": {"detector": "otf", "ends_at": "2026-01-31T11:57:00Z", "state": state}}
    again = consolidated(fleet(hosts, *domains), overload="otf")
    assert again["marks"]["a"]["detection"]["state"] == {"steps": 23, "overloaded_steps": 2}
    other = consolidated(fleet(hosts, *domains), overload="markov")
    assert other["marks"]["a"]["detection"]["state"] == state
    assert consolidated(fleet(hosts, *domains))["marks"]["a"]["detection"] == {}


def test_a_relieved_host_begins_to_count_anew() -> None:
    hosts = {"a": sleepy(history=past(*[0.95] * 20)), "b": sleepy()}
    hosts["a"]["marks"] = {
        "detection": {"detector": "otf", "ends_at": TAKEN_AT, "state": {"steps": 90, "overloaded_steps": 30}}
    }
    domains = [domain("x", "a", 4.5, history=ran(*[4.5] * 20)), domain("y", "a", 3.0, 50, history=ran(*[3.0] * 20))]
    found = consolidated(fleet(hosts, *domains), overload="otf")
    assert ways(found) == [("y", "a", "b")]
    assert found["marks"]["a"]["detection"] == {}


# --- All of it --------------------------------------------------------------------------------------------------------


def test_no_move_after_settling_under_a_light_load_that_wavers() -> None:
    """Thirty rounds; hosts sleep and wake as planned, domains go where planned."""
    hosts, domains = light()
    where = {guest["name"]: guest["host"] for guest in domains}
    marks: dict[str, Json] = {name: {} for name in hosts}
    sleeping: set[str] = set()
    moved, powered = [], []
    for number in range(30):
        waver = 0.2 * ((number * 7) % 5 - 2) / 2
        now = [domain(name, end, 1.0 + waver, vcpus=4) for name, end in where.items()]
        facts = {name: asleep() if name in sleeping else sleepy(marks=marks[name]) for name in hosts}
        found = plan(fleet(facts, *now), {"strategy": "consolidate"})
        moved.append(len(moves(found)))
        powered.append(len(found["wake"]) + len(found["sleep"]))
        where.update({move["name"]: move["destination"] for move in moves(found)})
        for name, changed in found["marks"].items():
            marks[name].update(changed)
        sleeping = (sleeping - set(hosts_of(found["wake"]))) | set(hosts_of(found["sleep"]))
    assert (sum(moved), moved[0]) == (2, 2)
    assert (sum(powered), powered[2]) == (1, 1)
    assert len(sleeping) == 1


def test_of_a_host_that_cannot_be_emptied_in_any_order_nothing_moves() -> None:
    data = fleet({"a": sleepy(), "b": sleepy()}, *(domain(name, "a") for name in "xyz"))
    projected = Fleet(Snapshot.from_mapping(data), Policy())
    x, y, z = projected.domains
    waves = [[Move(x, x.home, projected.hosts[1])], [Move(z, z.home, projected.hosts[1])]]
    assert _halved(waves, [frozenset({x.index, y.index}), frozenset({z.index})]) == {x.index, y.index}
    assert _halved(waves, [frozenset({x.index, z.index}), frozenset({y.index})]) == set()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(fleets())
def test_plans_are_safe(case: tuple[Json, Json]) -> None:
    data, policy = case
    for facts in data["hosts"].values():
        facts.update(may_sleep=True)
    found = consolidated(data, policy=policy)
    where = check_steps(data, policy, found)
    emptied = {move["source"] for move in moves(found) if move["resource"] == "underload"}
    assert all(name not in where.values() for name in emptied)
    assert all(act["host"] not in where.values() for act in found["sleep"])
    assert len(found["sleep"]) < len(data["hosts"])
    assert policy["max_moves"] is None or len({move["domain"] for move in moves(found)}) <= policy["max_moves"]
    assert plan(data, found["policy"])["waves"] == found["waves"]


@pytest.mark.parametrize(
    ("consolidation", "message"),
    [
        ({"overload": "mda"}, "consolidation.overload.name cannot be 'mda': did you mean 'mad'?"),
        ({"underload": "mad"}, "consolidation.underload.name cannot be 'mad': "),
        ({"overload": {"name": "mad", "parameters": {"s": 1}}}, "consolidation.overload.parameters has no key 's': "),
        ({"overload": {"parameters": {}}}, "consolidation.overload needs the key 'name'."),
        ({"selection": "mmt"}, "consolidation.selection.name cannot be 'mmt': "),
        ({"placement": "first_fit"}, "consolidation.placement.name cannot be 'first_fit': "),
        ({"placement": {"name": "best_fit_decreasing", "parameters": {"cpu_fill": 0}}}, "consolidation.placement.para"),
        ({"spare_hosts": -1}, "consolidation.spare_hosts must be a whole number of at least 0, not -1."),
        ({"idle_rounds": None}, "consolidation.idle_rounds must be a whole number of at least 0, not null."),
        ({"spares": 1}, "consolidation has no key 'spares': did you mean 'spare_hosts'?"),
    ],
)
def test_mistakes_in_the_policy(consolidation: Json, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        plan(fleet({"a": sleepy(), "b": sleepy()}), {"strategy": "consolidate", "consolidation": consolidation})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({"cpu": 1}, "The history of host 'a' needs the list 'cpu', "),
        ({"cpu": [-1]}, "The history of host 'a' has -1 in 'cpu'; "),
        ({"cpu": [1], "step_seconds": 0}, "The history of host 'a' has the step_seconds 0; "),
        ({"cpu": [1], "ends_at": "today"}, "The history of host 'a' has the ends_at 'today'; "),
    ],
)
def test_mistakes_in_a_history(history: Json, message: str) -> None:
    with pytest.raises(SnapshotError) as caught:
        consolidated(fleet({"a": sleepy(history=history), "b": sleepy()}))
    assert str(caught.value).startswith(message)


def test_the_table_for_a_person() -> None:
    hosts, domains = light()
    text = plan_table(consolidated(fleet(hosts, *domains)))
    assert text.startswith("MOVE 2 domains in 1 wave: about 1 s, 216 MiB to copy. POWER: put to sleep 2 hosts.\n")
    assert text.splitlines()[1] == "c, b can be emptied."
    assert "power  208 -> 88 W (modelled)" in text
    assert "PUT TO SLEEP at the end\n  b: this run empties it.\n  c: this run empties it." in text
    assert "all hosts alike" not in text
    text = plan_table(consolidated(crowded(c=asleep())))
    assert text.startswith("POWER: wake 1 host.\n")
    assert "WAKE FIRST, then plan again\n  c: no host that is awake has room for x0." in text
    assert max(map(len, text.splitlines())) <= 100
    text = plan_table(consolidated(fleet({"a": sleepy(), "b": sleepy()}, *(domain(n, n, 6.0, vcpus=8) for n in "ab"))))
    assert text.startswith("CONSOLIDATED: nothing to move.\nNo host is overloaded, ")


@pytest.mark.parametrize("detector", ["iqr", "mad"])
@pytest.mark.parametrize(("fill", "overloaded"), [(0.7, False), (0.6, True)])
def test_what_was_filled_up_to_cpu_fill_is_not_emptied_again(detector: str, fill: float, overloaded: bool) -> None:
    """Domains that used to swing move the thresholds of the detectors far down; now they are steady at 65 %."""
    guests = [domain(f"d{index}", "a", 0.65, history=ran(*[0.0, 1.3] * 12, *[0.65] * 10)) for index in range(10)]
    guests.append(domain("e", "b", 3.0, history=ran(*[3.0] * 34)))
    hosts = {name: sleepy(history=past(*[0.0] * 34)) for name in "abc"}
    placement = {"name": "best_fit_decreasing", "parameters": {"cpu_fill": fill}}
    # Peaks of the past would keep domains from going anywhere.
    found = consolidated(
        fleet(hosts, *guests), policy={"host_demand": "observation"}, overload=detector, placement=placement
    )
    judged = found["detection"]["a"]
    assert (judged["overloaded"], judged["history"], judged["overload"]["threshold"]) == (overloaded, True, fill)
    assert any(move["source"] == "a" for move in moves(found)) == overloaded


def test_a_floor_above_cpu_fill_stays() -> None:
    hosts = {name: sleepy(history=past(*[0.0] * 34)) for name in "ab"}
    guests = [domain(f"d{index}", "a", 0.65, history=ran(*[0.0, 1.3] * 17)) for index in range(10)]
    overload = {"name": "mad", "parameters": {"floor": 0.85}}
    judged = consolidated(fleet(hosts, *guests), overload=overload)["detection"]["a"]
    assert judged["overload"]["threshold"] == 0.85
