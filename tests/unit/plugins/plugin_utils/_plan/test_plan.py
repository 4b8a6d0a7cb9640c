# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError, FleetError, SnapshotError
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    carried_out,
    domain,
    host,
    moves,
    snapshot,
    ways,
)


def hosts(*names: str, **facts: t.Any) -> dict[str, Json]:
    return {name: host(**facts) for name in names}


def six_on_one(**facts: t.Any) -> Json:
    return snapshot(hosts("kvm1", "kvm2", "kvm3"), *(domain(f"d{i}", "kvm1", cores=1.5, **facts) for i in range(6)))


def reasons(found: Json) -> Json:
    return {
        wish["name"]: {where: [r["constraint"] for r in why] for where, why in wish["reasons"].items()}
        for wish in found["refused"]
    }


def test_six_domains_on_one_of_three_hosts() -> None:
    found = plan(six_on_one())
    assert found["verdict"] == "move"
    assert found["why"] == "CPU use differs by 90 points between kvm1 and kvm2; the policy accepts 20."
    assert {name: h["after"]["domains"] for name, h in found["hosts"].items()} == {"kvm1": 2, "kvm2": 2, "kvm3": 2}
    assert len(moves(found)) == 4
    assert found["spread"] == {"before": {"cpu": 0.9, "memory": 0.06}, "after": {"cpu": 0.0, "memory": 0.0}}
    assert found["score"]["after"] == 0
    assert [move["number"] for move in moves(found)] == [1, 2, 3, 4]
    first = moves(found)[0]
    assert first["why"].startswith("kvm1 90 -> 75, kvm")
    assert first["resource"] == "cpu"
    assert first["cost"] == {"mib": 118, "seconds": 1.2}  # 1.5 cores are taken to write 15 MiB/s of 100
    scores = [move["score"] for move in moves(found)]
    assert [s["after"] for s in scores[:-1]] == [s["before"] for s in scores[1:]]
    assert found["refused"] == []


def test_level_fleet() -> None:
    found = plan(snapshot(hosts("a", "b"), domain("x", "a"), domain("y", "b", cores=2.0)))
    assert (found["verdict"], found["waves"]) == ("balanced", [])
    assert found["why"].startswith("CPU use differs by 10 points between hosts at most")


def test_max_moves() -> None:
    assert len(moves(plan(six_on_one(), {"max_moves": 3}))) == 3


def test_small_gain() -> None:
    data = snapshot(
        hosts("a", "b", "c"), domain("x", "a", cores=6.0), domain("y", "a", cores=0.3), domain("z", "b", cores=3.0)
    )
    assert plan(data, {"minimum_gain": 0.0})["verdict"] == "move"
    found = plan(data, {"minimum_gain": 0.5})
    assert (found["verdict"], found["waves"]) == ("small_gain", [])
    # Two of the three hosts are touched.
    assert "the policy requires 33 % (minimum_gain)" in found["why"]


def test_an_overloaded_host_of_a_large_fleet_is_relieved() -> None:
    names = [f"h{i:03}" for i in range(300)]
    more = (domain(f"more-{i}", "h000", cores=4.0) for i in range(2))
    base = (domain(f"d-{name}", name, cores=(7.0, 3.0)[i % 2]) for i, name in enumerate(names))
    fleet = snapshot(hosts(*names), *base, *more)

    found = plan(fleet, {"max_moves": 2})

    # One of three hundred hosts: the fleet as a whole hardly gets better, and yet it has to be done.
    assert found["verdict"] == "move"
    assert found["hosts"]["h000"]["after"]["cpu"] <= 0.9


def test_one_giant_is_left_alone() -> None:
    found = plan(snapshot(hosts("a", "b"), domain("giant", "a", cores=3.9)))
    assert (found["verdict"], found["waves"]) == ("stuck", [])


def test_only_a_swap_helps() -> None:
    # 6+2 against 3+1: moving 2 gives 6 to 6, yet memory is full, so only domains of equal size may change places.
    data = snapshot(
        hosts("a", "b", total=1000),
        *(domain("a1", "a", cores=3.5, mib=400), domain("a2", "a", cores=3.5, mib=400)),
        *(domain("b1", "b", cores=0.5, mib=400), domain("b2", "b", cores=0.5, mib=400)),
    )
    data["hosts"]["c"] = host(total=1000, threads=1, used=400)
    found = plan(data, {"ignore_hosts": ["c"]})
    assert found["verdict"] == "stuck"  # no third host to park on
    assert "ordering" in str(found["refused"])
    data["hosts"]["c"] = host(total=1000, threads=10, usage=0.4, used=450)
    found = plan(data, {"weights": {"vcpus": 0}})
    assert found["verdict"] == "move"
    assert len(found["waves"]) == 3
    assert [move["resource"] == "parking" for move in moves(found)].count(True) == 1
    assert {name: h["after"]["cpu"] for name, h in found["hosts"].items()} == {"a": 0.4, "b": 0.4, "c": 0.4}


def test_drained_host_is_emptied() -> None:
    data = snapshot(
        hosts("a", "b", "c"), domain("x", "a"), domain("y", "a", last_moved_at="2026-01-31T11:59:00Z"), domain("z", "b")
    )
    found = plan(data, {"drained_hosts": ["a"]})
    assert found["hosts"]["a"]["state"] == "drained"
    assert found["hosts"]["a"]["after"]["domains"] == 0
    assert {move["resource"] for move in moves(found)} == {"drained_host"}
    assert found["why"] == "2 domains have to leave drained hosts."
    pinned = {"pins": [{"domains": {"names": ["z"]}, "hosts": ["c"]}]}
    assert plan(data, {"drained_hosts": ["a"], **pinned})["why"] == "3 domains violate a placement rule."
    assert plan(data, pinned)["why"] == "1 domain violates a placement rule."
    blocked = snapshot(hosts("a", "b"), domain("x", "a", blockers=[{"code": "tpm", "message": "has a TPM"}]))
    stuck = plan(blocked, {"drained_hosts": ["a"]})
    assert stuck["verdict"] == "stuck"
    assert stuck["why"].startswith("1 domain has to leave a drained host. ")
    assert reasons(stuck) == {"x": {"*": ["blockers"]}}


def test_pins_are_repaired_and_kept() -> None:
    policy = {"pins": [{"domains": "domains[?name=='x']", "hosts": ["b"]}]}
    data = snapshot(hosts("a", "b", "c"), domain("x", "a"), domain("y", "b", cores=1.0))
    assert ways(plan(data, policy)) == [("x", "a", "b")]
    pinned = snapshot(hosts("a", "b"), *(domain(f"d{i}", "a") for i in range(6)))
    kept = plan(pinned, {"pins": [{"domains": "domains[?name<='d2' || name=='d0' || name=='d1']", "hosts": ["a"]}]})
    assert {move["name"] for move in moves(kept)}.isdisjoint({"d0", "d1"})


def test_anti_affinity_is_repaired_once() -> None:
    policy = {"anti_affinity": [{"name": "db", "domains": "domains[?starts_with(name, 'db')]"}]}
    data = snapshot(hosts("a", "b", "c"), *(domain(f"db{i}", "a", cores=0.1) for i in range(3)))
    found = plan(data, policy)
    assert {h["after"]["domains"] for h in found["hosts"].values()} == {1}
    assert {move["resource"] for move in moves(found)} == {"anti_affinity"}
    too_many = snapshot(hosts("a", "b"), *(domain(f"db{i}", "ab"[i % 2], cores=0.1) for i in range(3)))
    found = plan(too_many, policy)
    assert found["waves"] == []
    assert found["notes"] == ["Anti-affinity 'db' cannot be kept: 3 domains, 2 hosts that can take them."]


def test_wishes_are_followed_where_it_is_cheap() -> None:
    policy = {"pins": [{"domains": "domains[?name=='d0']", "hosts": ["kvm3"], "must": False}]}
    found = plan(six_on_one(), policy)
    assert ("d0", "kvm1", "kvm3") in ways(found)


def test_overloaded_everywhere_is_levelled_unless_strict() -> None:
    data = snapshot(hosts("a", "b", "c", threads=2), *(domain(f"d{i}", "a", cores=1.0, vcpus=1) for i in range(6)))
    assert {h["after"]["domains"] for h in plan(data)["hosts"].values()} == {2}
    strict = plan(data, {"cpu_limit_strict": True})
    assert {name: h["after"]["domains"] for name, h in strict["hosts"].items()} == {"a": 4, "b": 1, "c": 1}
    assert reasons(strict)["d5"] == {"b": ["cpu"], "c": ["cpu"]}


def test_domains_that_do_not_move() -> None:
    data = snapshot(
        hosts("a", "b"),
        domain("cool", "a", cores=2.0, last_moved_at="2026-01-31T11:50:00Z"),
        domain("unknown", "a", cores=None),
        domain("flying", "a", cores=2.0, destination="b", job={"operation": "migration_out"}),
        domain("excluded", "a", cores=2.0),
        domain("backup", "a", cores=2.0, job={"operation": "backup"}),
    )
    found = plan(data, {"exclude": "domains[?name=='excluded']"})
    assert found["verdict"] == "stuck"
    assert reasons(found) == {
        "backup": {"*": ["in_flight"]},
        "cool": {"*": ["cooldown"]},
        "flying": {"*": ["in_flight"]},
        "unknown": {"*": ["unknown_domain"]},
    }
    later = plan(data, {"exclude": "domains[?name=='excluded']"}, now="2026-01-31T12:30:00Z")
    assert ways(later) == [("cool", "a", "b")]


def test_unknown_host_takes_no_part() -> None:
    data = six_on_one()
    data["hosts"]["kvm3"] = {"state": "unknown", "problem": "ssh: timed out"}
    found = plan(data)
    assert {move["destination"] for move in moves(found)} == {"kvm2"}
    assert found["hosts"]["kvm3"] == {"state": "unknown", "before": None, "after": None}
    assert found["notes"] == ["kvm3 is unknown: no domain is moved from or to it. (ssh: timed out)"]
    del data["hosts"]["kvm2"]
    alone = plan(data, {"cpu_limit": 1})
    assert (alone["verdict"], alone["why"]) == (
        "stuck",
        "Only 1 of 2 hosts can be used; balancing needs two.",
    )


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (
            {"include": {"names": ["nobody"]}},
            "No domain may be moved: include selects none, or exclude all that it selects.",
        ),
        ({"exclude": "domains[*]"}, "No domain may be moved: exclude selects all of them."),
        (
            {"drained_hosts": ["kvm1", "kvm2", "kvm3"]},
            "No host can take a domain: every one is drained, ignored or unknown.",
        ),
        ({"move_cost": 100}, "No permitted move gains more than it costs."),
        (
            {"drained_hosts": ["kvm1"], "cpu_limit": 0.01, "cpu_limit_strict": True},
            "No permitted move gains more than it costs.",
        ),
    ],
)
def test_what_keeps_all_domains_where_they_are_is_told(policy: Json, why: str) -> None:
    found = plan(six_on_one(), policy)
    assert (found["verdict"], found["waves"]) == ("stuck", [])
    assert found["why"].endswith(why)


def test_unfinished_move_is_told() -> None:
    data = six_on_one(unfinished_move={"source": "kvm2", "destination": "kvm1"})
    note = "A move of d0 from kvm2 to kvm1 was started and its end was not recorded; it runs on kvm1."
    assert plan(data)["notes"][0] == note


def test_waves_keep_the_limits() -> None:
    policy = {"max_moves_out": 1, "max_moves_in": 1}
    found = plan(six_on_one(), policy)
    assert [len(wave["moves"]) for wave in found["waves"]] == [1, 1, 1, 1]
    together = plan(six_on_one(), {"max_moves_out": 4, "max_moves_in": 2})
    assert [len(wave["moves"]) for wave in together["waves"]] == [4]
    # out of one host one after the other: 4 x 100 MiB, each with what is written while it is copied
    assert together["waves"][0]["seconds"] == pytest.approx(4 / 0.85, abs=0.1)
    assert together["waves"][0]["mib"] == pytest.approx(400 / 0.85, abs=1)
    assert [len(wave["moves"]) for wave in plan(six_on_one(), {"max_moves_per_wave": 3})["waves"]] == [3, 1]


def test_slower_of_the_two_bandwidths() -> None:
    slow = plan(six_on_one(), {"migration": {"bandwidth_mib_s": 10}})
    assert moves(slow)[0]["cost"] == {"mib": 400, "seconds": 40.0}  # it writes faster than that


def test_room_is_made_before_it_is_used() -> None:
    data = snapshot(
        hosts("a", "b", "c", total=1000),
        domain("big", "a", cores=1.0, mib=800),
        domain("old", "b", cores=1.0, mib=500),
    )
    policy = {
        "pins": [
            {"domains": "domains[?name=='big']", "hosts": ["b"]},
            {"domains": "domains[?name=='old']", "hosts": ["c"]},
        ]
    }
    found = plan(data, policy)
    assert [[move["name"] for move in wave["moves"]] for wave in found["waves"]] == [["old"], ["big"]]


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"schema": 1, "hosts": {}, "domains": {}}, FleetError, "The snapshot has no host: is the group"),
        (snapshot({"a": host()}), FleetError, "The snapshot has only the host 'a': balancing needs at least two."),
        (
            snapshot(hosts("a", "b"), doubts=[{"message": "X is on a and b."}, {"message": "Y too."}]),
            SnapshotError,
            "Nothing is planned while it is not certain where domains run: X is on a and b. Y too.",
        ),
        (snapshot(hosts("a", "b"), taken_at="noon"), SnapshotError, "'noon' is not a time such as"),
        (snapshot(hosts("a", "b"), schema=7), SnapshotError, "The snapshot has schema 7"),
    ],
)
def test_bad_input(data: Json, error: type[BalanceError], message: str) -> None:
    with pytest.raises(error) as caught:
        plan(data)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("domains[].name", "exclude[0] must select whole domains"),
        ("hosts", "exclude[0] must select whole domains"),
        ("length(@)", "exclude[0] must select whole domains"),
        ("domains[?starts_with(vcpus, 'x')]", "exclude[0] fails on this snapshot"),
    ],
)
def test_selector_that_does_not_select_domains(selector: str, message: str) -> None:
    with pytest.raises(BalanceError) as caught:
        plan(six_on_one(), {"exclude": selector})
    assert message in str(caught.value)


def test_refusals_are_bounded() -> None:
    blocker = [{"code": "tpm", "message": "has a TPM"}]
    data = snapshot(
        hosts("a", "b", threads=100), *(domain(f"d{i:03d}", "a", cores=1.0, blockers=blocker) for i in range(60))
    )
    found = plan(data)
    assert len(found["refused"]) == 40
    assert found["notes"] == ["20 more domains should move and cannot."]


def test_nothing_comes_to_a_host_with_a_domain_of_unknown_maximum() -> None:
    """It leaves the other hosts alone, and the policy can accept it."""

    def data() -> Json:
        grows = domain("grows", "b", 0.1, memory={"maximum_mib": None, "current_mib": 100, "rss_mib": 100})
        return snapshot({name: host() for name in "abc"}, grows, *(domain(f"d{i}", "a", 1.0) for i in range(6)))

    found = plan(data())

    assert {move["destination"] for move in moves(found)} == {"c"}
    assert found["notes"] == ["No domain is moved to b: it is not known how far the memory of grows may grow."]
    accepting = plan(data(), {"memory_overcommit": 1.01})
    assert {move["destination"] for move in moves(accepting)} == {"b", "c"}
    assert accepting["notes"] == []
    # The others may leave its host, also if it is drained; it stays.
    others = snapshot({name: host() for name in "ab"}, domain("x", "b"), *data()["domains"].values())
    drained = plan(others, {"strategy": "drain", "drained_hosts": ["b"]})
    assert [move["name"] for move in moves(drained)] == ["x"]
    assert [wish["name"] for wish in drained["refused"]] == ["grows"]


def test_a_group_of_the_inventory_stands_for_its_hosts() -> None:
    racks = {"a": "rack_1", "b": "rack_1", "c": "rack_2", "d": "rack_2"}
    guests = [domain("x", "c"), domain("y", "a", 0.5), domain("z", "d", 0.2)]
    data = snapshot({name: host(groups=["hypervisors", rack]) for name, rack in racks.items()}, *guests)

    pinned = plan(data, {"pins": [{"domains": {"names": ["x"]}, "hosts": ["rack_1"]}]})
    assert [(name, end) for name, source, end in ways(pinned) if source == "c"] == [("x", "b")]
    assert pinned["policy"]["pins"][0]["hosts"] == ["rack_1"]
    assert plan(carried_out(data, pinned), pinned["policy"])["waves"] == []
    stuck = plan(data, {"pins": [{"domains": {"names": ["x"]}, "hosts": ["rack_1"]}], "ignore_hosts": ["rack_1"]})
    assert "is pinned to rack_1" in str(stuck["refused"])
    assert "a is ignored, b is ignored. Name another host in pins[0].hosts" in str(stuck["notes"])
    assert [stuck["hosts"][name]["state"] for name in "abcd"] == ["ignored", "ignored", "active", "active"]

    drained = plan(data, {"drained_hosts": ["rack_2"]})
    assert {move["name"] for move in moves(drained)} == {"x", "z"}
    assert {move["destination"] for move in moves(drained)} <= {"a", "b"}
    assert [drained["hosts"][name]["state"] for name in "abcd"] == ["active", "active", "drained", "drained"]

    reserved = plan(data, {"reserves": [{"hosts": ["rack_2", "a"], "cpu_cores": 5}]})
    assert [reserved["hosts"][name]["before"]["cpu"] for name in "abcd"] == pytest.approx([0.55, 0, 0.6, 0.52])
