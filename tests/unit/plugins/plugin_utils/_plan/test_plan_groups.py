# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Plans with rules about groups: affinity, anti-affinity, failure domains."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.descent import Descent
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.floors import Floors
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    carried_out,
    domain,
    host,
    moves,
    snapshot,
    ways,
)

PAIR = {"affinity": [{"name": "pair", "domains": {"names": ["x", "y"]}}]}
DB = {"name": "db", "domains": {"tag": "db"}}
PER_RACK = {**DB, "per": "rack-"}


def hosts(names: str, **facts: t.Any) -> dict[str, Json]:
    return {name: host(**facts) for name in names}


def racks(*names: str) -> dict[str, Json]:
    """Hosts by name, in the rack that their first letter says."""
    return {name: host(tags=[f"rack-{name[0]}"]) for name in names}


def db(name: str, on: str, **more: t.Any) -> Json:
    return domain(name, on, **{"cores": 0.1, "tags": ["db"], **more})


def where(data: Json, found: Json) -> dict[str, str]:
    return {uuid: guest["host"] for uuid, guest in carried_out(data, found)["domains"].items()}


def refused(found: Json) -> dict[str, dict[str, list[str]]]:
    return {
        wish["name"]: {host: [reason["message"] for reason in why] for host, why in wish["reasons"].items()}
        for wish in found["refused"]
    }


def test_affinity_gathers_with_least_copying() -> None:
    data = snapshot(hosts("abc"), domain("x", "a", mib=3000), domain("y", "b", mib=100))
    found = plan(data, PAIR)
    assert ways(found) == [("y", "b", "a")]
    assert moves(found)[0]["resource"] == "affinity"
    assert moves(found)[0]["why"].startswith("repairs affinity; ")
    assert plan(carried_out(data, found), PAIR)["waves"] == []


@pytest.mark.parametrize(
    ("rules", "carriers"),
    [({"anti_affinity": [DB]}, hosts("ab")), ({"failure_domains": [PER_RACK]}, racks("a", "b"))],
)
def test_of_two_that_belong_apart_the_smaller_one_leaves(rules: Json, carriers: dict[str, Json]) -> None:
    data = snapshot(carriers, db("x", "a", mib=3000), db("y", "a", mib=100))
    for strategy in ("balance", "consolidate"):
        assert ways(plan(data, {**rules, "strategy": strategy})) == [("y", "a", "b")]


def test_affinity_through_a_third() -> None:
    rules = {"affinity": [{"name": n, "domains": {"names": list(n)}} for n in ("xy", "yz")]}
    data = snapshot(hosts("abc"), *(domain(name, on, cores=0.1) for name, on in zip("xyz", "abc", strict=True)))
    found = plan(data, rules)
    assert len(set(where(data, found).values())) == 1
    assert plan(carried_out(data, found), rules)["waves"] == []


@pytest.mark.parametrize("max_moves_in", [1, 2])
def test_a_drained_host_is_left_together(max_moves_in: int) -> None:
    data = snapshot(hosts("abc"), domain("x", "a"), domain("y", "a"), domain("z", "a"), domain("w", "b", cores=0.5))
    found = plan(data, {**PAIR, "drained_hosts": ["a"], "max_moves_in": max_moves_in})
    ends = where(data, found)
    assert ends["x"] == ends["y"] != "a"
    assert len(found["waves"]) == 3 - max_moves_in
    assert {move["resource"] for move in moves(found)} == {"drained_host"}


def test_levelling_moves_a_pair_together() -> None:
    # Alone each of the three has 2 of 10 threads; two belong together, so only the pair can level what z cannot.
    data = snapshot(hosts("ab"), *(domain(n, "a", cores=2.0) for n in "xy"), *(domain(n, "a", cores=1.0) for n in "zw"))
    blocked = [{"code": "tpm", "message": "has a TPM"}]
    for name in "zw":
        data["domains"][name]["blockers"] = blocked
    found = plan(data, {**PAIR, "threshold": 0.4})
    assert sorted(ways(found)) == [("x", "a", "b"), ("y", "a", "b")]
    assert found["hosts"]["b"]["after"]["cpu"] == 0.4
    assert plan(data, {**PAIR, "threshold": 0.4, "max_moves": 1})["waves"] == []
    data["domains"]["y"]["blockers"] = blocked
    alone = plan(data, {**PAIR, "threshold": 0.4})
    assert alone["waves"] == []
    assert refused(alone)["x"] == {"b": ["y: has a TPM"]}


def test_a_pair_that_cannot_follow_whole_stays() -> None:
    # y has no room on b while old is there, and old has nowhere to go: x must not go alone.
    data = snapshot(
        hosts("ab", total=1000),
        *(domain("x", "a", mib=300, cores=0.1), domain("y", "a", mib=500, cores=0.1)),
        domain("old", "b", mib=200, cores=0.1),
    )
    found = plan(data, {**PAIR, "drained_hosts": ["a"]})
    assert found["waves"] == []
    room = (
        "x: may grow to 300 MiB of memory, and b has 200 MiB left",
        "y: may grow to 500 MiB of memory, and b has 400 MiB left",
    )
    assert refused(found) == {name: {"b": list(room)} for name in "xy"}


def test_no_order_of_moves_tears_a_pair() -> None:
    # Once big and small have changed places the pair is to go to b. They cannot: no host has room for one of them
    # beside the other. x would fit on b all the same, y would not.
    blocked = [{"code": "tpm", "message": "has a TPM"}]
    data = snapshot(
        hosts("abc", total=1000),
        *(domain("at-a", "a", cores=0.5, mib=400, blockers=blocked), domain("small", "a", cores=1.0, mib=100)),
        *(domain("at-b", "b", cores=1.0, mib=350, blockers=blocked), domain("big", "b", cores=3.0, mib=500)),
        *(domain("x", "c", cores=1.0, mib=50), domain("y", "c", cores=2.0, mib=350)),
        domain("at-c", "c", cores=4.0, mib=490, blockers=blocked),
    )
    pins = [{"domains": {"names": ["x", "y"]}, "hosts": ["b", "c"]}]
    weights = {"memory": 0, "vcpus": 0}
    found = plan(data, {**PAIR, "pins": pins, "weights": weights})
    assert found["waves"] == []
    assert refused(found)["y"] == {
        "*": ["no safe order of moves: not all domains that have to share a host with it can follow"]
    }


IMPOSSIBLE: list[tuple[Json, dict[str, Json], list[Json], dict[str, int], str]] = [
    (
        {"anti_affinity": [DB]},
        hosts("abcd"),
        [db(f"d{i}", "aabcd"[i]) for i in range(5)],
        {"a": 2, "b": 1, "c": 1, "d": 1},
        "Anti-affinity 'db' cannot be kept: 5 domains, 4 hosts that can take them.",
    ),
    (
        {"anti_affinity": [DB]},
        hosts("abcd"),
        [db(f"d{i}", "a", mib=100 + i) for i in range(5)],
        {"a": 2, "b": 1, "c": 1, "d": 1},
        "Anti-affinity 'db' cannot be kept: 5 domains, 4 hosts that can take them.",
    ),
    (
        {"failure_domains": [PER_RACK]},
        racks("a1", "a2", "b1"),
        [db("d0", "a1"), db("d1", "a2"), db("d2", "a2")],
        {"a1": 0, "a2": 2, "b1": 1},
        "Failure domains 'db' cannot be kept: 3 domains, at most 1 in each of 2 that have hosts that can take them.",
    ),
    (
        {"failure_domains": [{**PER_RACK, "most": 2}]},
        racks("a1", "b1"),
        [db(f"d{i}", "a1") for i in range(5)],
        {"a1": 3, "b1": 2},
        "Failure domains 'db' cannot be kept: 5 domains, at most 2 in each of 2 that have hosts that can take them.",
    ),
    (
        {"affinity": [DB]},
        hosts("abc", total=1000),
        [db(f"d{i}", "abc"[i], mib=400) for i in range(3)],
        {"a": 1, "b": 1, "c": 1},
        "Affinity 'db' is not kept: its 3 domains are on 3 hosts.",
    ),
    (
        {"affinity": [DB], "anti_affinity": [{"name": "other", "domains": {"names": ["d0", "d1"]}}]},
        hosts("abc"),
        [db("d0", "a"), db("d1", "b")],
        {"a": 1, "b": 1, "c": 0},
        "Affinity 'db' is not kept: its 2 domains are on 2 hosts.",
    ),
]


@pytest.mark.parametrize(("rules", "carriers", "guests", "expected", "note"), IMPOSSIBLE)
def test_what_cannot_be_kept_is_told_once_and_left(
    rules: Json, carriers: dict[str, Json], guests: list[Json], expected: dict[str, int], note: str
) -> None:
    data = snapshot(carriers, *guests)
    first = plan(data, rules)
    assert first["notes"] == [note]
    assert {name: state["after"]["domains"] for name, state in first["hosts"].items()} == expected
    again = plan(carried_out(data, first), rules)
    assert again["waves"] == []
    assert again["verdict"] == "stuck"
    assert again["notes"] == [note]


def test_an_impossible_rule_does_not_lift_the_cooldown() -> None:
    rules = {"anti_affinity": [DB]}
    guests = [db("d0", "a", cores=4.0), db("d1", "a", cores=4.0), db("d2", "b"), db("d3", "c")]
    data = snapshot(hosts("abc"), *guests, domain("free", "a", cores=0.1))
    for guest in data["domains"].values():
        guest["last_moved_at"] = "2026-01-31T11:55:00Z"
    found = plan(data, rules)
    assert found["waves"] == []
    data["domains"]["d3"]["tags"] = []
    assert [(name, target) for name, _source, target in ways(plan(data, rules))] == [("d0", "c")]


def test_a_free_rack_is_used() -> None:
    data = snapshot(racks("a1", "a2", "b1", "b2", "c1"), *(db(f"d{i}", on) for i, on in enumerate(["a1", "a2", "b1"])))
    found = plan(data, {"failure_domains": [PER_RACK]})
    assert [(source[0], target) for _name, source, target in ways(found)] == [("a", "c1")]
    assert moves(found)[0]["why"].startswith("repairs failure domains; ")
    assert plan(carried_out(data, found), {"failure_domains": [PER_RACK]})["waves"] == []


def test_levelling_keeps_failure_domains() -> None:
    # Rack b has its two databases already: those of a1 may go to a2 only, the other domains anywhere.
    data = snapshot(
        racks("a1", "a2", "b1"),
        *(db(f"d{i}", "a1", cores=2.0) for i in range(2)),
        *(db(f"e{i}", "b1") for i in range(2)),
        *(domain(f"x{i}", "a1", cores=2.0) for i in range(2)),
    )
    found = plan(data, {"failure_domains": [{**PER_RACK, "most": 2}]})
    assert [ends[0] for name, ends in sorted(where(data, found).items()) if name[0] in "de"] == ["a", "a", "b", "b"]
    assert found["spread"]["after"]["cpu"] <= 0.2
    free = plan(data, {"move_cost": 0})
    assert "b1" in [where(data, free)[name] for name in ("d0", "d1")]


def test_a_rack_that_is_not_known_is_no_violation() -> None:
    carriers = {**racks("a1", "b1"), "c": host()}
    data = snapshot(carriers, db("d0", "c"), db("d1", "c"), db("d2", "a1"))
    assert plan(data, {"failure_domains": [PER_RACK]})["waves"] == []


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"affinity": [{"name": "pair", "domains": {"names": ["d0", "y"]}, "must": False}]}, "b"),
        ({"anti_affinity": [{"name": "pair", "domains": {"names": ["d0", "y"]}, "must": False}]}, "c"),
        (
            {
                "failure_domains": [
                    {"name": "pair", "domains": {"names": ["d0", "y"]}, "must": False, "per": "rack-"},
                ]
            },
            "c",
        ),
    ],
)
def test_wishes_decide_where_a_domain_goes(rule: Json, expected: str) -> None:
    data = snapshot(
        racks("a", "b", "c"), *(domain(f"d{i}", "a", cores=2.0) for i in range(4)), domain("y", "b", cores=0.1)
    )
    blocked = [{"code": "tpm", "message": "has a TPM"}]
    for name in ("d1", "d2", "d3"):
        data["domains"][name]["blockers"] = blocked
    found = plan(data, rule)
    assert ways(found) == [("d0", "a", expected)]


def test_a_wish_alone_moves_nothing() -> None:
    data = snapshot(hosts("ab"), domain("x", "a"), domain("y", "b"))
    found = plan(data, {"affinity": [{"name": "pair", "domains": "domains", "must": False}]})
    assert (found["verdict"], found["waves"]) == ("balanced", [])


def steps(data: Json, policy: Json) -> int:
    """How many steps a search takes; a gain that is none would have it take turns until it is stopped."""
    fleet = Fleet(Snapshot.from_mapping(data), Policy.from_mapping(policy))
    rules = Rules(fleet)
    search = Descent(fleet, rules, Floors(fleet, rules))
    search.run()
    return search.steps


def test_a_swap_brings_nobody_together() -> None:
    # Each of x and y would be where the other is now. Neither fits beside the other, and a stays fuller in any case.
    blocked = [{"code": "tpm", "message": "has a TPM"}]
    data = snapshot(
        hosts("ab", total=1000),
        *(domain("x", "a", mib=400), domain("y", "b", mib=400)),
        *(domain("w", "a", cores=4.0, mib=450, blockers=blocked), domain("z", "b", mib=450, blockers=blocked)),
    )
    rule = {"name": "pair", "domains": {"names": ["x", "y"]}, "must": False}
    assert plan(data, {"affinity": [rule]})["waves"] == []
    assert steps(data, {"affinity": [rule]}) == 0


def test_a_pair_that_wants_to_part_gains_nothing_by_moving_together() -> None:
    blocked = [{"code": "tpm", "message": "has a TPM"}]
    data = snapshot(
        hosts("ab"),
        *(domain("w", "a", cores=5.0, blockers=blocked), domain("z", "b", cores=2.0, blockers=blocked)),
        *(domain(name, "b", cores=0.5) for name in "xy"),
    )
    wish = {"anti_affinity": [{"name": "apart", "domains": {"names": ["x", "y"]}, "must": False}], "threshold": 0.1}
    assert plan(data, {**PAIR, **wish})["waves"] == []
    assert steps(data, {**PAIR, **wish}) == 0


TIED: Json = {"blockers": [{"code": "host_device", "message": "has a device of the host"}]}


@pytest.mark.parametrize(
    ("x", "policy", "expected"),
    [
        ({}, {}, [("x", "a", "c")]),
        (TIED, {}, [("y", "c", "a")]),
        ({"job": {"operation": "backup"}}, {}, [("y", "c", "a")]),
        # Where x will be is known or not: it is waited for.
        ({"destination": "b"}, {}, []),
        ({"job": {"operation": "migration_out"}}, {}, []),
        # It comes to y.
        ({"destination": "c"}, {}, []),
        ({}, {"drained_hosts": ["a"]}, [("x", "a", "c")]),
        (TIED, {"drained_hosts": ["a"]}, []),
        ({}, {"pins": [{"domains": {"names": ["x"]}, "hosts": ["b"]}]}, [("x", "a", "b"), ("y", "c", "b")]),
        (TIED, {"pins": [{"domains": {"names": ["x"]}, "hosts": ["b"]}]}, []),
        ({}, {"anti_affinity": [{"name": "apart", "domains": {"names": ["x", "z"]}}]}, [("x", "a", "c")]),
    ],
)
def test_nobody_follows_to_a_host_that_the_other_is_leaving(
    x: Json, policy: Json, expected: list[tuple[str, str, str]]
) -> None:
    guests = (domain("x", "a", mib=900, **x), domain("y", "c", cores=0.5), domain("z", "a", cores=0.1, **TIED))
    rule = {"affinity": [{"name": "pair", "domains": {"names": ["x", "y"]}}], "threshold": 1}

    found = plan(snapshot(hosts("abc"), *guests), {**rule, **policy})

    assert sorted(ways(found)) == expected
    arriving = x.get("destination") == "c"
    assert any("not kept" in note for note in found["notes"]) is (not expected and not arriving)
    if arriving:
        assert found["verdict"] == "balanced"


def test_a_domain_that_is_being_migrated_is_no_reason_against_a_host_that_it_comes_to() -> None:
    guests = (domain("x", "a", destination="b"), domain("y", "b"), *(domain(f"z{i}", "c", 2.0) for i in range(4)))
    rule = {"affinity": [{"name": "pair", "domains": {"names": ["x", "y"]}}]}

    found = plan(snapshot(hosts("abc"), *guests), rule)

    assert "not kept" not in str(found["notes"])
    assert {name for name, *_ends in ways(found)} <= {f"z{i}" for i in range(4)}


def test_a_wish_does_not_follow_either() -> None:
    data = snapshot(hosts("abc"), domain("x", "a", 0.0, destination="b"), domain("y", "c", 2.0), domain("z", "c", 2.0))
    wish = {"affinity": [{"name": "pair", "domains": {"names": ["x", "y"]}, "must": False}], "threshold": 0.1}

    assert ways(plan(data, wish)) == [("y", "c", "b")]


def test_a_member_in_flight_is_counted_on_both_hosts_and_stays_counted() -> None:
    data = snapshot(
        hosts("abc"),
        *(domain(name, "a", 3.0, tags=["app"]) for name in "xy"),
        domain("flying", "a", 1.0, tags=["app"], destination="b"),
        domain("there", "b", 0.1),
    )
    found = plan(data, {"affinity": [{"name": "app", "domains": {"tag": "app"}}], "drained_hosts": ["a"]})
    assert ways(found) == []
    counted = {name: (state["before"]["domains"], state["after"]["domains"]) for name, state in found["hosts"].items()}
    assert counted == {"a": (3, 3), "b": (2, 2), "c": (0, 0)}
    reasons = {one["name"]: one["reasons"] for one in found["refused"]}
    assert [reason["message"] for reason in reasons["x"]["b"]] == ["flying: is being migrated to b"]


def test_of_the_reasons_against_a_bundle_a_few_are_told() -> None:
    bundle = [
        domain(f"x{number:03d}", "a", 0.01, 10, interfaces=[{"type": "bridge", "source": "br9"}], vcpus=1)
        for number in range(120)
    ]
    data = snapshot(hosts("ab", threads=100), *bundle)
    found = plan(data, {"affinity": [{"name": "all", "domains": "domains"}], "drained_hosts": ["a"], "max_moves": None})
    messages = [reason["message"] for reason in found["refused"][0]["reasons"]["b"]]
    assert len(messages) == 6
    assert messages[0] == "x000: b has no bridge br9"
    assert messages[-1] == "and 115 more"
