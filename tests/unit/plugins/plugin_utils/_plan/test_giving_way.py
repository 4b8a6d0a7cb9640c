# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Limits that are meant for levelling do not hold up a domain that has to leave its host; everything else does."""

from __future__ import annotations

import random
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._plan.left_out import left_out
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.maintenance_rounds import rounds
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.revalidate import objections
from ansible_collections.virtops.balance.plugins.plugin_utils._report.plan_table import plan_table
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    carried_out,
    domain,
    host,
    moves,
    snapshot,
    ways,
)

DRAIN = {"strategy": "drain", "drained_hosts": ["a"]}


def full(*guests: Json, **use: float) -> Json:
    """Four hosts with ten threads: a with the guests, the others so full of a domain of their own, in cores."""
    cores = {"b": 8.5, "c": 8.2, "d": 8.8, **use}
    own = (domain(f"{name}0", name, wanted, vcpus=10) for name, wanted in cores.items())
    return snapshot({name: host() for name in ("a", *cores)}, *own, *guests)


def given(found: Json) -> dict[str, list[tuple[str, t.Any]]]:
    """What gives way for whom, and by how much."""
    return {
        move["name"]: [(one["constraint"], one["excess"]) for one in move["gives_way"]]
        for move in moves(found)
        if move["gives_way"]
    }


def test_the_least_excess_first() -> None:
    found = plan(full(domain("x", "a", 1.5)), DRAIN)

    assert ways(found) == [("x", "a", "c")]
    assert given(found) == {"x": [("cpu", pytest.approx(0.97 / 0.9 - 1, abs=1e-4))]}
    why = "because x had to leave, and no host had room within all limits"
    assert found["notes"] == [f"c would be at 97 % CPU, the limit is 90 %. That limit gives way, {why}."]
    assert "gives way: c would be at 97 % CPU, the limit is 90 %" in " ".join(plan_table(found).split())


def test_a_host_within_the_limits_is_better_than_one_with_a_better_score() -> None:
    # d has room for the CPU; its memory is nearly full, which is worse for the score.
    data = full(domain("x", "a", 1.0, 500), d=7.0)
    data["hosts"]["d"]["memory"]["available_mib"] = 1900

    found = plan(data, DRAIN)

    assert (ways(found), given(found), found["notes"]) == ([("x", "a", "d")], {}, [])


def test_nothing_gives_way_to_levelling() -> None:
    data = full(domain("x", "a", 1.5), domain("y", "a", 7.9, vcpus=8), b=8.9, c=8.9, d=8.9)

    found = plan(data, {"threshold": 0.01, "minimum_gain": 0})

    assert found["hosts"]["a"]["before"]["cpu"] > 0.9
    assert given(found) == {}


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"cpu_limit_strict": True}, "b would be at 100 % CPU, the limit is 90 %"),
        ({"memory_limit": 0.05}, "x may grow to 1000 MiB of memory, and b has 400 MiB left"),
        ({"pins": [{"domains": {"names": ["x"]}, "hosts": ["a"]}]}, "is pinned to a"),
        ({"anti_affinity": [{"name": "apart", "domains": "domains"}]}, "b already has b0 of the group apart"),
    ],
    ids=["cpu_limit_strict", "memory", "pins", "anti_affinity"],
)
def test_what_does_not_give_way(policy: Json, message: str) -> None:
    found = plan(full(domain("x", "a", 1.5, 1000)), {**DRAIN, **policy})

    assert found["waves"] == []
    said = [one["message"] for wish in found["refused"] for one in wish["reasons"]["b"] if wish["name"] == "x"]
    assert message.removeprefix("x ") in said


def test_cpu_overcommit_gives_way() -> None:
    policy = {**DRAIN, "cpu_overcommit": 1.2, "cpu_limit_strict": True}
    found = plan(full(domain("x", "a", 0.1, vcpus=4), domain("c1", "c", 0.1, vcpus=1)), policy)

    assert ways(found) == [("x", "a", "b")]
    assert given(found) == {"x": [("cpu_overcommit", pytest.approx(0.2 / 1.2, abs=1e-4))]}
    assert found["notes"][0].startswith("b would have 1.4 vCPUs per thread, the limit is 1.2. That limit gives way, ")


def test_a_wish_gives_way_and_is_named() -> None:
    wish = {"domains": {"names": ["x"]}, "hosts": ["a"], "must": False}
    found = plan(full(domain("x", "a", 0.1)), {**DRAIN, "pins": [wish]})

    assert ways(found) == [("x", "a", "c")]
    assert moves(found)[0]["gives_way"] == [
        {"constraint": "pins", "message": "a wish (pins) does not come true on c", "excess": 1.0}
    ]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"pins": [{"domains": {"names": ["x"]}, "hosts": ["d"]}]}, [("x", "a", "d")]),
        ({"anti_affinity": [{"name": "apart", "domains": {"names": ["x", "y"]}}]}, [("x", "a", "c")]),
        # y alone is the smaller excess, but both have to be on one host.
        ({"affinity": [{"name": "near", "domains": {"names": ["y", "b0"]}}]}, [("y", "a", "b")]),
    ],
    ids=["pins", "anti_affinity", "affinity"],
)
def test_a_violated_rule_is_repaired(rule: Json, expected: list[tuple[str, str, str]]) -> None:
    data = full(domain("x", "a", 1.5, 100), domain("y", "a", 1.5, 200))
    found = plan(data, {**rule, "threshold": 1, "minimum_gain": 0})

    assert ways(found) == expected
    assert set(given(found)) == {expected[0][0]}
    assert plan(carried_out(data, found), {**rule, "threshold": 1, "minimum_gain": 0})["waves"] == []


def test_max_moves_holds() -> None:
    data = full(*(domain(f"x{i}", "a", 1.5) for i in range(3)))

    assert len(moves(plan(data, {"drained_hosts": ["a"], "max_moves": 1}))) == 1


def test_those_that_share_a_host_go_together() -> None:
    data = full(domain("x", "a", 0.5), domain("y", "a", 0.5))
    found = plan(data, {**DRAIN, "affinity": [{"name": "pair", "domains": {"names": ["x", "y"]}}]})

    assert sorted(ways(found)) == [("x", "a", "c"), ("y", "a", "c")]
    assert found["hosts"]["c"]["after"]["cpu"] == pytest.approx(0.92)
    assert found["notes"][0].endswith(
        "because x and 1 more domain had to leave, and no host had room within all limits."
    )


def test_consolidate_wakes_a_host_first() -> None:
    def made(**sleeper: t.Any) -> Json:
        data = full(domain("x", "a", 1.5))
        asleep = {"since": data["taken_at"], "threads": 4, "memory_total_mib": 10000}
        data["hosts"]["e"] = {"state": "asleep", "problem": None, "may_sleep": True, "asleep": {**asleep, **sleeper}}
        return plan(data, {"strategy": "consolidate", "drained_hosts": ["a"]})

    woken = made()
    assert ([act["host"] for act in woken["wake"]], woken["waves"]) == (["e"], [])
    # One that is too small for it is not waited for.
    assert ways(made(threads=1)) == [("x", "a", "c")]


def test_consolidate_repairs_without_an_overload_where_it_can() -> None:
    # The best score is that of c, which would be overloaded.
    data = full(domain("x", "a", 1.0), b=7.5, c=7.2, d=6.9)
    for name, mib in {"c": 100, "d": 5000}.items():
        data["hosts"][name]["memory"]["available_mib"] = 10000 - mib

    found = plan(data, {"strategy": "consolidate", "drained_hosts": ["a"]})

    assert (ways(found), given(found)) == ([("x", "a", "d")], {})


def test_an_approved_plan_may_still_go_beyond_the_limit_but_not_by_much_more() -> None:
    data = full(domain("x", "a", 1.5))
    found = plan(data, DRAIN)
    assert objections(found, data) == []

    def with_more(cores: float) -> list[str]:
        now = full(domain("x", "a", 1.5), c=8.2 + cores)
        return objections(found, now)

    assert with_more(0.5) == []
    assert with_more(1.2) == ["x cannot go to c: c would be at 109 % CPU, the limit is 90 %."]
    # A move that was to be within the limits stays within them.
    within = plan(full(domain("x", "a", 1.5), c=7.0), DRAIN)
    assert objections(within, data) == ["x cannot go to c: c would be at 97 % CPU, the limit is 90 %."]


def test_a_move_goes_on_after_another_one_failed() -> None:
    data = full(domain("x", "a", 1.5), domain("y", "a", 0.1))
    found = plan(data, DRAIN)
    assert [[move["name"] for move in wave["moves"]] for wave in found["waves"]] == [["y"], ["x"]]
    results = [{"move": found["waves"][0]["moves"][0], "failed": True, "outcome": "on_source"}]

    assert left_out(found, results, data, 2) == {}
    forgotten = [{**wave, "moves": [{**move, "gives_way": []} for move in wave["moves"]]} for wave in found["waves"]]
    why = left_out({**found, "waves": forgotten}, results, data, 2)
    assert list(why.values()) == ["c cannot take it now: c would be at 97 % CPU, the limit is 90 %"]


def test_a_restart_goes_beyond_the_limit_too() -> None:
    tied = [{"code": "host_cpu", "message": "is tied to this host's CPU"}]
    data = full(domain("x", "a", 1.5, blockers=tied))
    found = plan(data, {**DRAIN, "restart": "domains"})

    assert [(one["name"], one["destination"]) for one in found["restarts"]] == [("x", "c")]
    assert [one["constraint"] for one in found["restarts"][0]["gives_way"]] == ["cpu"]
    assert found["notes"][0].startswith("c would be at 97 % CPU, the limit is 90 %. That limit gives way, because x ")
    assert objections(found, data) == []
    assert plan(data, {**DRAIN, "restart": "domains", "cpu_limit_strict": True})["restarts"] == []


def test_maintenance_goes_beyond_limits_only_for_a_host_that_could_not_be_emptied_alone() -> None:
    data = full(domain("x", "a", 1.5), b=8.5, c=8.2)
    del data["hosts"]["d"], data["domains"]["d0"]

    found = rounds(data, ["a"])
    assert (found["rounds"], found["impossible"]) == ([["a"]], {})
    assert [note.partition(" That")[0] for note in found["notes"]] == [
        "To empty a: c would be at 97 % CPU, the limit is 90 %."
    ]
    strict = rounds(data, ["a"], {"cpu_limit_strict": True})
    assert (strict["rounds"], list(strict["impossible"])) == ([], ["a"])

    # Six hosts at 40 %: two of them can be down beside each other only if limits give way, so they are not.
    level = snapshot({f"h{i}": host() for i in range(6)}, *(domain(f"d{i}", f"h{i % 6}", 2.0) for i in range(12)))
    each = rounds(level, list(level["hosts"]))
    assert (max(map(len, each["rounds"])), each["notes"]) == (3, [])


def test_a_fuller_host_is_relieved_beyond_the_limit_also_while_others_are_below_it() -> None:
    """As the page about the policy says of cpu_limit."""
    data = full(domain("x", "a", 1.0), domain("y", "a", 9.0, vcpus=10), b=8.5, c=0.0, d=0.0)
    for name in ("c", "d"):
        data["hosts"][name]["memory"]["available_mib"] = 500  # no room for x

    policy = {"threshold": 0.01, "minimum_gain": 0, "move_cost": 0, "move_cost_per_gib": 0}
    found = plan(data, policy)

    assert ("x", "a", "b") in ways(found)
    assert found["hosts"]["b"]["after"]["cpu"] == pytest.approx(0.95)
    assert ("x", "a", "b") not in ways(plan(data, {**policy, "cpu_limit_strict": True}))


def test_every_drained_host_of_many_fleets_is_empty_where_only_the_cpu_was_short() -> None:
    forced = 0
    for seed in range(200):
        chance = random.Random(seed)
        names = [f"h{i}" for i in range(chance.randint(2, 5))]
        guests = [
            domain(f"d{i}", chance.choice(names), chance.choice([0.5, 1.0, 2.5]), chance.choice([100, 300]), vcpus=8)
            for i in range(chance.randint(4, 16))
        ]
        data = snapshot({name: host(total=20000) for name in names}, *guests)
        policy = {"strategy": "drain", "drained_hosts": names[:1], "cpu_overcommit": chance.choice([1, 2, 4])}
        found = plan(data, policy)
        assert found["hosts"][names[0]]["after"]["domains"] == 0, seed
        forced += bool(given(found))
        for move in moves(found):
            for one in move["gives_way"]:
                assert one["constraint"] in ("cpu", "cpu_overcommit")
                assert one["excess"] > 0
        assert plan(carried_out(data, found), policy)["waves"] == []
    assert forced > 50


def test_the_note_names_those_whose_moves_say_it() -> None:
    # The last of them to arrive passes the limit, whoever had to be forced when the places were chosen.
    guests = [domain(name, "a", 0.1, vcpus=10) for name in "xyzpq"]
    found = plan(snapshot({"a": host(), "b": host()}, *guests), DRAIN)

    (passing,) = given(found)
    told = f"because {passing} had to leave, and no host had room within all limits."
    assert [note for note in found["notes"] if note.endswith(told)]


def test_a_wish_that_gives_way_is_noted() -> None:
    guests = [domain("x", "a", 1.0, tags=["web"]), domain("w", "c", 0.5, tags=["web"])]
    data = snapshot({"a": host(), "b": host(usage=0.89), "c": host()}, *guests)
    wish = {"anti_affinity": [{"name": "web", "domains": {"tag": "web"}, "must": False}]}
    found = plan(data, {**DRAIN, **wish})

    assert ways(found) == [("x", "a", "c")]
    (note,) = found["notes"]
    assert note.startswith(
        "A wish (anti_affinity) does not come true on c. That wish gives way, because x had to leave,"
    )
