# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Domains that the policy's overrides treat differently: whether they move, when, and how."""

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.maintenance_rounds import rounds
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    domain,
    host,
    moves,
    snapshot,
    ways,
)


def fleet(**more: Json) -> Json:
    """Three hosts; six equal domains are on a, of which the first has a tag."""
    guests = [domain(f"d{i}", "a", 1.2, **{"tags": ["vip"] * (i == 0), **more.get(f"d{i}", {})}) for i in range(6)]
    return snapshot({name: host() for name in "abc"}, *guests)


def over(level: str | None = None, who: str = "d0", **more: object) -> Json:
    return {"overrides": [{"domains": {"names": [who]}, "level": level, **more}]}


def names(found: Json) -> list[str]:
    return [move["name"] for move in moves(found)]


@pytest.mark.parametrize("strategy", ["balance", "consolidate"])
@pytest.mark.parametrize("level", ["off", "repair", "full", None])
def test_levelling_and_relief_leave_alone_what_is_not_full(strategy: str, level: str | None) -> None:
    everything_else = {"domains": "domains[?name != 'd0']", "level": "off"}
    data = fleet(d0={"cpu_cores": 4.0})
    data["hosts"]["a"]["cpu"]["usage"] = 1.0
    one = {"overrides": [everything_else, *over(level, priority=0)["overrides"]], "strategy": strategy}

    found = plan(data, one)

    assert names(found) == (["d0"] if level in ("full", None) else [])


@pytest.mark.parametrize(("level", "moved"), [("off", False), ("repair", True), ("full", True)])
@pytest.mark.parametrize(
    "rule",
    [
        {"drained_hosts": ["a"]},
        {"drained_hosts": ["a"], "strategy": "drain"},
        {"pins": [{"domains": {"names": ["d0"]}, "hosts": ["b"]}]},
    ],
    ids=["drained", "drain", "pin"],
)
def test_repairs_move_what_is_not_off(level: str, moved: bool, rule: Json) -> None:
    found = plan(fleet(), {**rule, **over(level)})

    assert ("d0" in names(found)) is moved
    if not moved:
        reasons = next(wish["reasons"] for wish in found["refused"] if wish["name"] == "d0")
        assert reasons == {
            "*": [{"constraint": "level_off", "message": "the policy never moves it (overrides, level off)"}]
        }


def test_a_host_with_a_domain_that_is_off_is_neither_emptied_nor_maintained() -> None:
    assert "d0 has to stay (*: the policy never moves it" not in str(rounds(fleet(), ["a"], over("repair")))
    found = rounds(fleet(), ["a"], over("off"))
    assert (found["rounds"], list(found["impossible"])) == ([], ["a"])
    assert "d0 has to stay (the policy never moves it (overrides, level off))" in found["impossible"]["a"][0]


def test_what_is_off_or_excluded_is_not_restarted_either() -> None:
    tied = [{"code": "host_cpu", "message": "is tied to this host's CPU"}]
    data = fleet(d0={"blockers": tied})
    policy = {"strategy": "drain", "drained_hosts": ["a"], "restart": "domains"}
    assert [one["name"] for one in plan(data, policy)["restarts"]] == ["d0"]
    assert plan(data, {**policy, **over("off")})["restarts"] == []
    assert plan(data, {**policy, "exclude": [{"names": ["d0"]}]})["restarts"] == []


def test_a_higher_priority_goes_first() -> None:
    policy = {"strategy": "drain", "drained_hosts": ["a"], "max_moves_out": 1}
    assert names(plan(fleet(), policy))[0] == "d0"
    priorities = {"overrides": over(priority=-1)["overrides"] + over(None, "d4", priority=5)["overrides"]}
    found = plan(fleet(), {**policy, **priorities})
    assert (names(found)[0], names(found)[-1]) == ("d4", "d0")
    others = dict.fromkeys(("d1", "d2", "d3", "d5"), 0)
    assert {move["name"]: move["priority"] for move in moves(found)} == {"d0": -1, "d4": 5, **others}


def test_a_higher_priority_gets_the_room() -> None:
    # Only one of them fits elsewhere, and without a word about it that is the larger one.
    guests = [domain("large", "a", 0.1, 4000), domain("small", "a", 0.1, 3500), domain("full", "b", 0.1, 5000)]
    data = snapshot({"a": host(), "b": host()}, *guests)
    policy = {"strategy": "drain", "drained_hosts": ["a"]}
    assert names(plan(data, policy)) == ["large"]
    assert names(plan(data, {**policy, **over(None, "small", priority=1)})) == ["small"]


@pytest.mark.parametrize("strategy", ["drain", "balance", "consolidate"])
@pytest.mark.parametrize("priority", [-10, 0, 10])
def test_whatever_the_priority_the_host_is_emptied_if_that_can_be(priority: int, strategy: str) -> None:
    # In the room on b, which is the best place for the small one, the large one has its only place.
    guests = [domain("small", "a", 0.1, 1500), domain("large", "a", 0.1, 8900), domain("full", "c", 0.1, 6000)]
    data = snapshot({"a": host(total=20000), "b": host(), "c": host()}, *guests)
    policy = {"strategy": strategy, "drained_hosts": ["a"], **over(None, "small", priority=priority)}

    found = plan(data, policy)

    assert sorted(ways(found)) == [("large", "a", "b"), ("small", "a", "c")]
    assert found["refused"] == []
    assert names(found)[0] == ("small" if priority > 0 else "large")
    assert list(rounds(data, ["a"], policy)["impossible"]) == []


def test_a_priority_does_not_say_which_of_several_has_to_leave() -> None:
    guests = [domain("large", "a", mib=900), domain("small", "a", mib=100)]
    apart = {"anti_affinity": [{"name": "apart", "domains": "domains"}]}
    data = snapshot({"a": host(), "b": host()}, *guests)
    assert names(plan(data, {**apart, **over(None, "large", priority=9)})) == ["small"]


def test_options_of_the_migration_are_in_the_move() -> None:
    policy = {
        "strategy": "drain",
        "drained_hosts": ["a"],
        "migration": {"bandwidth_mib_s": 50, "tls": True},
        "overrides": [
            {"domains": {"tag": "vip"}, "migration": {"post_copy": True, "bandwidth_mib_s": 20}},
            {"domains": {"names": ["d0", "d1"]}, "migration": {"timeout_seconds": 60, "bandwidth_mib_s": None}},
        ],
    }
    by_name = {move["name"]: move for move in moves(plan(fleet(), policy))}
    assert by_name["d0"]["migration"] == {
        "bandwidth_mib_s": 20,
        "post_copy": True,
        "timeout_seconds": 60,
        "tls": True,
    }
    assert by_name["d1"]["migration"] == {"bandwidth_mib_s": 50, "timeout_seconds": 60, "tls": True}
    assert by_name["d2"]["migration"] == {"bandwidth_mib_s": 50, "tls": True}
    assert by_name["d0"]["cost"]["seconds"] > 2 * by_name["d2"]["cost"]["seconds"]


def test_a_selector_that_matches_nothing_is_told() -> None:
    assert "overrides[0].domains" in plan(fleet(), over("off", "d9"))["notes"][0]
    with pytest.raises(PolicyError, match=r"overrides\[0\]\.domains"):
        plan(fleet(), {**over("off", "d9"), "strict_selectors": True})
