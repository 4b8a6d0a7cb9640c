# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Snapshot and figures -> moves, creations, shut-downs, weights and caps."""

from __future__ import annotations

import copy
import json
import random
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.registry import strategies
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.plan import allocation_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._report.allocation_table import allocation_table
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.domains_by_host import residents
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import domain, host, snapshot, ways

Json = dict[str, t.Any]
POWER = {"idle_watts": 100, "max_watts": 200}
PEMM = {"strategy": "power_expand_min_max", "power_weight": 0.01, "power": POWER}
HOSTS = ("kvm1", "kvm2", "kvm3")


def fleet(*domains: Json, names: t.Sequence[str] = HOSTS, **more: t.Any) -> Json:
    """Hosts of ten threads, of which 9 are offered, and 10000 MiB, of which 9000 are."""
    return snapshot({name: host(**copy.deepcopy(more)) for name in names}, *domains)


def guest(name: str, on: str, **more: t.Any) -> Json:
    return domain(name, on, 0.5, **{"mib": 1000, "weight": 1.0, **more})


def steps(plan: Json, *states: str) -> list[tuple[str, str, str, float | None]]:
    """State, name, host and cap of each step."""
    found = [(step["state"], step["name"], step["host"], step["cap"]) for step in plan["steps"]]
    return [step for step in found if not states or step[0] in states]


def carry(state: Json, sign: int) -> None:
    """Have hosts carry what their domains use, or no longer."""
    for one in state["domains"].values():
        carrier = state["hosts"][one["host"]]
        carrier["cpu"]["usage"] += sign * (one["cpu_cores"] or 0.0) / carrier["cpu"]["threads"]
        carrier["memory"]["available_mib"] -= sign * (one["memory"]["rss_mib"] or 0)


def carried_out(before: Json, plan: Json) -> Json:
    """The snapshot as it is once the plan was carried out."""
    after = copy.deepcopy(before)
    carry(after, -1)
    for wave in plan["waves"]:
        for move in wave["moves"]:
            after["domains"][move["domain"]]["host"] = move["destination"]
    for step in plan["steps"]:
        if step["state"] == "stop":
            gone = after["domains"].pop(step["domain"])
            known = after["hosts"][step["host"]].setdefault("inactive_domains", [])
            known.append({"uuid": gone["uuid"], "name": gone["name"]})
            continue
        if step["state"] == "create":
            made = domain(step["name"], step["host"], 0.0, int(step["memory_mib"]), vcpus=step["vcpus"])
            after["domains"][made["uuid"]] = made
        target = next(d for d in after["domains"].values() if step["domain"] in (d["uuid"], d["name"]))
        # What version 2 of cgroups makes of them.
        target.update(weight=round(step["weight"], 2), cap=round(step["cap"], 1))
    carry(after, 1)
    return after


def settled(before: Json, plan: Json, domains: Json, allocation: Json, policy: Json | None = None) -> Json:
    """The plan of the next run, which has to have nothing to do."""
    again = allocation_plan(carried_out(before, plan), domains, allocation, policy)
    assert (again["verdict"], again["waves"], again["steps"]) == ("allocated", [], [])
    return again


def test_weight_and_cap_are_what_the_share_and_the_cores_say() -> None:
    fleet_ = fleet(guest("a", "kvm1"), guest("b", "kvm1"), names=["kvm1"])
    figures = {"a": {"cpu_min": 1, "share": 3}, "b": {"cpu_max": 2.5}}

    plan = allocation_plan(fleet_, figures)

    assert (plan["verdict"], plan["waves"]) == ("allocate", [])
    assert steps(plan) == [("run", "a", "kvm1", 400), ("run", "b", "kvm1", 250)]
    assert [step["weight"] for step in plan["steps"]] == [3, 1]
    assert plan["domains"]["a"] == {
        "uuid": "a",
        "host": {"before": "kvm1", "after": "kvm1"},
        "cpu_cores": 4,
        "weight": {"before": 1.0, "after": 3},
        "cap": {"before": 0, "after": 400},
    }
    settled(fleet_, plan, figures, {})


def test_contended_cores_go_where_they_are_worth_most() -> None:
    guests = [guest(name, "kvm1", vcpus=8) for name in "abc"]
    figures = {name: {"cpu_min": 1, "share": share} for name, share in zip("abc", (1, 2, 3), strict=True)}

    plan = allocation_plan(fleet(*guests, names=["kvm1"]), figures)

    # Nine cores are offered: each its minimum, the rest to the highest share up to its maximum.
    assert [cap for *_step, cap in steps(plan)] == [100, 100, 700]
    assert plan["hosts"]["kvm1"]["allocated"]["cpu_cores"] == pytest.approx(9)


def test_a_fast_host_offers_more_and_its_caps_are_lower() -> None:
    fleet_ = fleet(guest("a", "kvm1"), guest("b", "kvm1"), domain("c", "kvm1", 1.5, vcpus=2), names=["kvm1"], speed=2.0)
    figures = {"a": {}, "b": {"cpu_max": 1}}

    plan = allocation_plan(fleet_, figures)

    # Cores are those of a thread of speed 1, a cap is a share of a thread of the host.
    assert [cap for *_step, cap in steps(plan)] == [200, 50]
    assert plan["domains"]["a"]["cpu_cores"] == 4
    assert plan["hosts"]["kvm1"]["allocated"]["cpu_offered_cores"] == 18
    settled(fleet_, plan, figures, {})


@pytest.mark.parametrize("home", HOSTS)
def test_few_domains_use_one_host_and_stay_on_it(home: str) -> None:
    guests = [guest(f"g{number}", home) for number in range(4)]
    figures = {one["name"]: {"cpu_min": 0.5, "cpu_max": 2, "share": 5} for one in guests}

    plan = allocation_plan(fleet(*guests), figures, PEMM)

    assert plan["waves"] == []
    assert {step["host"] for step in plan["steps"]} == {home}
    settled(fleet(*guests), plan, figures, PEMM)


def test_those_that_are_fewest_move_to_the_others() -> None:
    guests = [guest(name, where) for name, where in (("a", "kvm2"), ("b", "kvm3"), ("c", "kvm3"), ("d", "kvm3"))]
    figures = {one["name"]: {"cpu_min": 0.5, "cpu_max": 1, "share": 5} for one in guests}

    # The strategy by itself would fill kvm1 first.
    assert ways(allocation_plan(fleet(*guests), figures, PEMM)) == [("a", "kvm2", "kvm3")]


def test_only_the_host_that_is_given_up_is_left() -> None:
    guests = [guest(name, where) for where, names in zip(HOSTS, ("adgj", "behk", "cf"), strict=True) for name in names]
    figures = {one["name"]: {"cpu_min": 1.5, "cpu_max": 1.5, "share": 5} for one in guests}

    # The strategy by itself would put the first six on the first host.
    plan = allocation_plan(fleet(*guests), figures, PEMM)

    assert sorted(name for name, _source, _destination in ways(plan)) == ["c", "f"]


def test_scattered_domains_are_brought_together_by_power() -> None:
    guests = [guest(f"g{number}", HOSTS[number % 3]) for number in range(6)]
    figures = {one["name"]: {"cpu_min": 0.5, "cpu_max": 1, "share": 5} for one in guests}
    everything = fleet(*guests)

    assert allocation_plan(everything, figures, {**PEMM, "power_weight": 0})["waves"] == []
    plan = allocation_plan(everything, figures, PEMM)

    assert len(ways(plan)) == 4
    assert {destination for _name, _source, destination in ways(plan)} == {"kvm1"}
    assert plan["allocation"]["watts"] == pytest.approx(100 + 100 * 6 / 10, abs=10)
    settled(everything, plan, figures, PEMM)


def test_the_host_that_draws_least_is_filled_first() -> None:
    everything = fleet(guest("a", "kvm1"), guest("b", "kvm1"))
    everything["hosts"]["kvm3"]["power_model"] = {"idle_watts": 10, "max_watts": 20}
    figures = {name: {"cpu_min": 0.5, "cpu_max": 1, "share": 5} for name in "ab"}

    plan = allocation_plan(everything, figures, PEMM)

    assert ways(plan) == [("a", "kvm1", "kvm3"), ("b", "kvm1", "kvm3")]
    assert plan["hosts"]["kvm3"]["allocated"]["watts"] == pytest.approx(12.2)


def test_more_domains_open_the_second_host() -> None:
    guests = [guest(f"g{number}", "kvm1") for number in range(4)]
    figures = {f"g{number}": {"cpu_min": 1.5, "cpu_max": 2, "share": 5} for number in range(4)}
    new = {
        f"new{number}": {"cpu_min": 1.5, "cpu_max": 2, "share": 5, "memory_mib": 500, "xml_path": "/srv/x.xml"}
        for number in range(4)
    }

    plan = allocation_plan(fleet(*guests), {**figures, **new}, PEMM)

    created = steps(plan, "create")
    assert sorted(name for _state, name, _host, _cap in created) == sorted(new)
    assert {host for _state, _name, host, _cap in created} <= {"kvm1", "kvm2"}
    assert [name for name in HOSTS if plan["hosts"][name]["allocated"]["domains"]] == ["kvm1", "kvm2"]
    assert plan["waves"] == []
    settled(fleet(*guests), plan, {**figures, **new}, PEMM)


def test_a_domain_is_stopped_where_it_is_to_be_and_where_it_is_not_worth_its_power() -> None:
    guests = [guest("a", "kvm1"), guest("b", "kvm1"), guest("c", "kvm2")]
    figures: Json = {
        "a": {"state": "stop"},
        "b": {"cpu_min": 1, "share": 5},
        "c": {"cpu_min": 1, "share": 0.02, "must_run": False, "hosts": ["kvm2"]},
    }

    plan = allocation_plan(fleet(*guests), figures, PEMM)

    assert [step[:3] for step in steps(plan, "stop")] == [("stop", "a", "kvm1"), ("stop", "c", "kvm2")]
    assert plan["domains"]["c"]["host"] == {"before": "kvm2", "after": None}
    figures["c"]["memory_mib"] = 1000
    figures["c"]["cpu_max"] = 4
    settled(fleet(*guests), plan, figures, PEMM)


def test_what_must_run_is_never_stopped_and_stays_where_no_place_is_found() -> None:
    guests = [guest("big", "kvm1", vcpus=10), guest("small", "kvm1")]
    figures = {"big": {"cpu_min": 9.5}, "small": {"cpu_min": 0.5}}

    plan = allocation_plan(fleet(*guests, names=["kvm1"]), figures, PEMM)

    assert steps(plan, "stop", "create") == []
    assert [entry["name"] for entry in plan["refused"]] == ["big"]
    assert steps(plan)[0][1:3] == ("small", "kvm1")


def test_drained_hosts_are_left() -> None:
    guests = [guest("a", "kvm1"), guest("b", "kvm1")]
    figures = {name: {"cpu_min": 1} for name in "ab"}

    plan = allocation_plan(fleet(*guests), figures, {}, {"drained_hosts": ["kvm1"]})

    assert [(source, destination) for _name, source, destination in ways(plan)] == [("kvm1", "kvm2")] * 2
    assert plan["hosts"]["kvm1"]["allocated"] is None


def test_pins_and_anti_affinity_hold() -> None:
    guests = [guest(name, "kvm1", tags=["web"]) for name in "abc"]
    policy = {
        "anti_affinity": [{"name": "web", "domains": "domains[?contains(tags, 'web')]"}],
        "pins": [{"domains": "domains[?name == 'a']", "hosts": ["kvm3"]}],
    }
    figures: Json = {name: {"cpu_min": 1} for name in "abc"}
    figures["new"] = {"cpu_max": 1, "memory_mib": 10, "template": "x.j2", "apart": ["web"]}

    plan = allocation_plan(fleet(*guests), figures, {}, policy)

    ends = {name: told["host"]["after"] for name, told in plan["domains"].items()}
    assert ends["a"] == "kvm3"
    assert sorted(ends[name] for name in "abc") == list(HOSTS)
    assert (ends["new"], plan["refused"][0]["name"]) == (None, "new")
    assert "another domain of the group web" in plan["refused"][0]["reasons"]["*"][0]["message"]
    settled(fleet(*guests), plan, figures, {}, policy)


@pytest.mark.parametrize(
    ("values", "policy"),
    [
        pytest.param({"blockers": [{"code": "host_device", "message": "has a device"}]}, {}, id="blocker"),
        pytest.param({"last_moved_at": "2026-01-31T11:59:00Z"}, {}, id="cooldown"),
        pytest.param({}, {"exclude": "domains[?name == 'a']"}, id="excluded"),
        pytest.param({"hugepages": True}, {}, id="huge pages"),
        pytest.param({}, {"affinity": [{"name": "pair", "domains": "domains"}]}, id="affinity"),
    ],
)
def test_a_domain_that_cannot_be_moved_stays_and_gets_its_cap(values: Json, policy: Json) -> None:
    guests = [guest("a", "kvm3", **values)] + [guest(f"b{number}", "kvm1") for number in range(3)]
    figures = {one["name"]: {"cpu_min": 0.5, "cpu_max": 1, "share": 5} for one in guests}

    plan = allocation_plan(fleet(*guests), figures, PEMM, policy)

    assert "a" not in [name for name, _source, _destination in ways(plan)]
    assert ("run", "a", "kvm3", 100) in steps(plan)


@pytest.mark.parametrize(
    "values",
    [
        {"job": {"operation": "migration_out"}},
        {"destination": "kvm2"},
        {"vcpus": None},
        {"memory": {"maximum_mib": None, "current_mib": None, "rss_mib": 5}},
    ],
)
def test_a_domain_of_which_too_little_is_known_is_left_alone(values: Json) -> None:
    guests = [guest("a", "kvm1", **values), guest("b", "kvm1")]

    plan = allocation_plan(fleet(*guests), {name: {"cpu_min": 0.5} for name in "ab"}, {})

    assert [entry["name"] for entry in plan["refused"]] == ["a"]
    assert {name for _state, name, *_rest in steps(plan)} == {"b"}
    assert [entry["name"] for entry in allocation_plan(fleet(*guests), {"a": {"state": "stop"}})["refused"]] == (
        ["a"] if "job" in values or "destination" in values else []
    )


def test_what_may_run_on_a_host_that_is_silent_is_not_created() -> None:
    everything = fleet(guest("a", "kvm1"))
    everything["hosts"]["kvm3"].update(state="unknown", problem="no answer")
    new = {"new": {"cpu_max": 1, "memory_mib": 10, "xml_path": "/x"}}

    plan = allocation_plan(everything, new)

    assert plan["steps"] == []
    assert "may run on kvm3" in plan["refused"][0]["reasons"]["*"][0]["message"]


def test_what_is_defined_on_one_host_is_started_there() -> None:
    everything = fleet(guest("a", "kvm1"))
    everything["hosts"]["kvm2"]["inactive_domains"] = [{"uuid": "1", "name": "off"}]

    plan = allocation_plan(everything, {"off": {"cpu_max": 1, "memory_mib": 10}})

    assert [step[:3] for step in steps(plan)] == [("create", "off", "kvm2")]


def test_domains_that_are_not_allocated_keep_their_room() -> None:
    guests = [guest("a", "kvm1", vcpus=10), domain("other", "kvm1", 5.0, 1000, vcpus=8)]

    plan = allocation_plan(fleet(*guests, names=["kvm1"]), {"a": {}})

    assert steps(plan) == [("run", "a", "kvm1", 400)]


def test_the_figures_may_stand_in_the_metadata() -> None:
    guests = [guest("a", "kvm1", allocation={"cpu_min": 0.5, "cpu_max": 2, "share": 2}), guest("b", "kvm1")]

    assert steps(allocation_plan(fleet(*guests), {})) == [("run", "a", "kvm1", 200)]
    # What the inventory says counts more.
    assert steps(allocation_plan(fleet(*guests), {"a": {"cpu_max": 1}})) == [("run", "a", "kvm1", 100)]


def test_a_name_that_two_domains_have() -> None:
    twins = [guest("1", "kvm1"), guest("2", "kvm2")]
    for twin in twins:
        twin["name"] = "web"

    with pytest.raises(BalanceError, match="2 domains have this name; name one by its UUID"):
        allocation_plan(fleet(*twins), {"web": {}})
    plan = allocation_plan(fleet(*twins), {"1": {}, "2": {"share": 2}})
    assert [(step["domain"], step["name"], step["weight"]) for step in plan["steps"]] == [
        ("1", "web", 1),
        ("2", "web", 2),
    ]


def test_at_most_so_many_moves_in_a_run() -> None:
    guests = [guest(f"g{number}", "kvm1") for number in range(6)]
    figures = {one["name"]: {"cpu_min": 0.5} for one in guests}
    policy = {"drained_hosts": ["kvm1"], "max_moves": 2}
    state, plans = fleet(*guests), []

    for _run in range(3):
        plans.append(allocation_plan(state, figures, {}, policy))
        state = carried_out(state, plans[-1])

    assert [len(ways(plan)) for plan in plans] == [2, 2, 2]
    assert "4 more moves wait for the next run" in plans[0]["notes"][0]
    assert allocation_plan(state, figures, {}, policy)["verdict"] == "allocated"


def test_a_move_must_be_worth_what_the_person_asks_for() -> None:
    guests = [guest(f"g{number}", HOSTS[number % 2]) for number in range(2)]
    figures = {one["name"]: {"cpu_min": 0.5, "cpu_max": 1, "share": 5} for one in guests}

    # One host less saves 100 W, at 0.01 each.
    assert len(ways(allocation_plan(fleet(*guests), figures, {**PEMM, "move_gain": 0.9}))) == 1
    assert ways(allocation_plan(fleet(*guests), figures, {**PEMM, "move_gain": 1.1})) == []


def test_nothing_to_allocate() -> None:
    plan = allocation_plan(fleet(guest("a", "kvm1")), None)

    assert (plan["verdict"], plan["steps"], plan["waves"], plan["allocation"]) == ("allocated", [], [], None)


@pytest.mark.parametrize("strategy", sorted(set(strategies()) - {"optimal"}))
@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_fleet_the_second_run_has_nothing_to_do(strategy: str, seed: int) -> None:
    chance = random.Random(f"{strategy} {seed}")
    names = [f"kvm{number}" for number in range(1, chance.randint(2, 5) + 1)]
    guests = [
        guest(f"g{number}", chance.choice(names), vcpus=chance.randint(1, 6), mib=chance.choice([500, 900, 1500]))
        for number in range(chance.randint(1, 14))
    ]
    figures: Json = {}
    for one in guests[: chance.randint(1, len(guests))]:
        most = chance.choice([0.5, 1.0, float(one["vcpus"])])
        figures[one["name"]] = {
            "cpu_min": round(chance.uniform(0, min(most, one["vcpus"])), 2),
            "cpu_max": most,
            "share": chance.choice([0.5, 1, 3]),
            "memory_mib": one["memory"]["maximum_mib"],
            "vcpus": one["vcpus"],
            "must_run": chance.random() < 0.8,
            "state": "stop" if chance.random() < 0.1 else "run",
        }
    for number in range(chance.randint(0, 4)):
        figures[f"new{number}"] = {"cpu_max": 1.5, "cpu_min": 0.2, "memory_mib": 700, "xml_path": "/x"}
    settings = {"strategy": strategy, "power_weight": chance.choice([0, 0.01]), "power": POWER}
    policy = {"drained_hosts": names[:1] if chance.random() < 0.2 else [], "max_moves": None, "cpu_overcommit": None}
    before = snapshot({name: host() for name in names}, *guests)

    plan = allocation_plan(before, figures, settings, policy)

    assert allocation_plan(json.loads(json.dumps(before)), figures, settings, policy) == plan
    for told in plan["hosts"].values():
        room = told["allocated"]
        assert room is None or room["cpu_cores"] <= room["cpu_offered_cores"] + 1e-6
        assert room is None or room["memory_mib"] <= room["memory_offered_mib"] + 1
    stopped = {name for state, name, *_rest in steps(plan, "stop")}
    assert all(figures[name]["state"] == "stop" or not figures[name]["must_run"] for name in stopped)
    if not plan["refused"]:
        settled(before, plan, figures, settings, policy)


BAD = [
    ([], {}, {}, "balance_domains must be a mapping"),
    ({"a": []}, {}, {}, "balance_domains.a must be a mapping"),
    ({"a": {"cpu": 1}}, {}, {}, "balance_domains.a has no key 'cpu'"),
    ({"a": {"cpu_min": -1}}, {}, {}, "balance_domains.a.cpu_min must be a number of at least 0"),
    ({"a": {"cpu_max": 0}}, {}, {}, "balance_domains.a.cpu_max must be a number above 0"),
    ({"a": {"cpu_max": float("nan")}}, {}, {}, "balance_domains.a.cpu_max must be a number"),
    ({"a": {"cpu_max": "2"}}, {}, {}, "balance_domains.a.cpu_max must be a number"),
    ({"a": {"cpu_max": True}}, {}, {}, "balance_domains.a.cpu_max must be a number"),
    ({"a": {"share": 0}}, {}, {}, "balance_domains.a.share must be a number of at least 0.02 and at most 100"),
    ({"a": {"share": 1e12}}, {}, {}, "balance_domains.a.share must be a number of at least 0.02 and at most 100"),
    ({"a": {"cpu_min": 2, "cpu_max": 1}}, {}, {}, r"balance_domains.a: cpu_min \(2\) must not be above cpu_max \(1\)"),
    ({"a": {"cpu_min": 5}}, {}, {}, r"balance_domains.a: cpu_min \(5\) must not be above its 4 vCPUs"),
    ({"a": {"state": "off"}}, {}, {}, "balance_domains.a.state cannot be 'off'"),
    ({"a": {"must_run": "yes"}}, {}, {}, "balance_domains.a.must_run must be true or false"),
    ({"a": {"hosts": ["kvm9"]}}, {}, {}, "balance_domains.a.hosts names 'kvm9', which is not in the snapshot"),
    ({"a": {"hosts": []}}, {}, {}, "balance_domains.a.hosts must not be empty"),
    ({"a": {"xml_path": "/x", "template": "y"}}, {}, {}, "both xml_path and template"),
    ({"b": {"memory_mib": 1}}, {}, {}, "balance_domains.b does not run, so it needs the key 'cpu_max'"),
    ({"b": {"cpu_max": 1}}, {}, {}, "balance_domains.b does not run, so it needs the key 'memory_mib'"),
    ({"b": {"cpu_max": 1, "memory_mib": 1}}, {}, {}, "no host has a definition of it"),
    ({"; reboot": {"cpu_max": 1, "memory_mib": 1}}, {}, {}, "balance_domains.; reboot runs nowhere"),
    ({"a": {}}, [], {}, "balance_allocation must be a mapping"),
    ({"a": {}}, {"strategy": "magic"}, {}, "balance_allocation.strategy cannot be 'magic'"),
    ({"a": {}}, {"parameters": {"rounds": -1}}, {}, "parameters.rounds must be a whole number"),
    ({"a": {}}, {"parameters": 1}, {}, "balance_allocation.parameters must be a mapping"),
    ({"a": {}}, {"power_weight": -1}, {}, "balance_allocation.power_weight must be a number"),
    ({"a": {}}, {"power_weight": 1}, {}, "what kvm1 draws is not known"),
    ({"a": {}}, {}, {"ignore_hosts": list(HOSTS)}, "No host has room for domains"),
    ({"a": {}}, {}, {"max_moves": 0}, "max_moves must be a whole number"),
]


@pytest.mark.parametrize(("domains", "allocation", "policy", "sentence"), BAD)
def test_bad_input_is_one_sentence(domains: t.Any, allocation: t.Any, policy: t.Any, sentence: str) -> None:
    with pytest.raises(BalanceError, match=sentence):
        allocation_plan(fleet(guest("a", "kvm1")), domains, allocation, policy)


def test_a_doubt_stops_everything() -> None:
    doubtful = {**fleet(guest("a", "kvm1")), "doubts": [{"kind": "domain_on_two_hosts", "message": "a is twice."}]}

    with pytest.raises(BalanceError, match="not certain where domains run: a is twice"):
        allocation_plan(doubtful, {"a": {}})


# Text


def test_the_table_tells_everything_once() -> None:
    guests = [guest("a", "kvm1"), guest("b", "kvm2"), guest("c", "kvm2"), guest("evil\x1b[2J", "kvm1")]
    everything = fleet(*guests)
    everything["hosts"]["kvm3"].update(state="unknown", problem="no answer")
    figures: Json = {
        "a": {"cpu_min": 0.5, "cpu_max": 1, "share": 2},
        "b": {"cpu_min": 0.5, "cpu_max": 1},
        "c": {"cpu_min": 0.5, "cpu_max": 0.5, "hosts": ["kvm2"]},
        "evil\x1b[2J": {"state": "stop"},
        "new": {"cpu_max": 1, "memory_mib": 10, "template": "x"},
    }

    plan = allocation_plan(everything, figures, PEMM)
    text = allocation_table(plan)

    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "ALLOCATE: 1 move, 1 to shut down, 3 to tune."
    assert "kvm2 2.50 of 9.00 3000 of 9000 3 128" in lines
    assert "kvm3 takes no part (unknown)" in lines
    assert "a kvm1 -> kvm2 1.00 1 -> 2 0 -> 100" in lines
    assert "c kvm2 0.50 1 0 -> 50" in lines
    assert "shut down evil\\x1b[2J kvm1 evil\\x1b[2J is to be stopped (balance_domains)." in lines
    assert "new: it may run on kvm3, which did not answer" in lines
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text
    done = carried_out(everything, plan)
    assert allocation_table(allocation_plan(done, {"b": figures["b"]}, PEMM)).startswith("ALLOCATED: nothing to do.")


def test_a_large_table_shows_what_changes() -> None:
    guests = [guest(f"g{number:03}", "kvm1", vcpus=1, cap=5, mib=10) for number in range(100)]
    guests[99]["cap"] = 0

    plan = allocation_plan(fleet(*guests, threads=100), {one["name"]: {"cpu_max": 0.05} for one in guests})

    assert [step["name"] for step in plan["steps"]] == ["g099"]
    lines = allocation_table(plan).splitlines()
    assert any(line.startswith("g099") for line in lines)
    assert "… and 40 more" in lines


@pytest.mark.parametrize("wrong", [None, [], {}, {"schema": 1}])
def test_anything_else_is_no_plan(wrong: t.Any) -> None:
    with pytest.raises(BalanceError, match="needs a plan as the allocation_plan filter makes it"):
        allocation_table(wrong)


def test_residents_show_what_changes_with_their_tuning() -> None:
    guests = [guest("a", "kvm1"), guest("b", "kvm2"), guest("c", "kvm2", weight=None)]
    figures: Json = {
        "a": {"cpu_max": 1, "hosts": ["kvm2"], "share": 2},
        "b": {"state": "stop"},
        "new": {"cpu_max": 0.5, "memory_mib": 10, "template": "x", "hosts": ["kvm1"]},
    }
    everything = fleet(*guests, names=["kvm1", "kvm2"])

    assert residents(everything, tuning=True) == {
        "kvm1": ["a: weight 1, cap 0 %"],
        "kvm2": ["b: weight 1, cap 0 %", "c: weight unknown, cap 0 %"],
    }
    assert residents(everything, allocation_plan(everything, figures), tuning=True) == {
        "kvm1": ["new: weight 1, cap 50 %"],
        "kvm2": ["a: weight 2, cap 100 %", "c: weight unknown, cap 0 %"],
    }
