# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What is done inside hosts before anything moves, and when moves wait for it."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._report.plan_table import plan_table
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import TAKEN_AT, domain, host, snapshot

Json = dict[str, t.Any]
EARLIER, LONG_AGO = "2026-01-31T11:50:00Z", "2026-01-31T09:00:00Z"


def pinned(name: str, cpu: int, *, on: str = "a", wants: float = 0.9, ready: float = 0.4, **more: t.Any) -> Json:
    """A domain of one vCPU that is pinned to one CPU and waits there."""
    return domain(name, on, wants * (1 - ready), vcpus=1, cpu_ready=ready, weight=1.0, **{"pins": {"0": [cpu]}, **more})


def crowd(**more: t.Any) -> list[Json]:
    """Five domains on one CPU of ten: they want 4.5 cores."""
    return [pinned(f"d{number}", 0, **more) for number in range(5)]


def fleet(domains: list[Json], **a: t.Any) -> Json:
    return snapshot({"a": host(**a), "b": host()}, *domains)


def done(found: Json) -> list[tuple[str, str, bool]]:
    return [(action["host"], action["action"], action["instead_of_moves"]) for action in found["inside"]]


def moves(found: Json) -> list[str]:
    return [move["domain"] for wave in found["waves"] for move in wave["moves"]]


def test_where_repinning_may_be_enough_nothing_moves() -> None:
    found = plan(fleet(crowd()))

    assert done(found) == [("a", "vcpu", True)]
    assert found["inside"][0]["domains"] == ["d0", "d1", "d2", "d3", "d4"]
    assert (found["verdict"], moves(found)) == ("inside", [])
    assert found["marks"]["a"]["inside"] == {"vcpu": TAKEN_AT}
    assert "pinned to the same CPUs wait for 1.8 cores while others idle" in found["why"]
    assert "stay on their hosts" in found["why"]
    text = plan_table(found)
    assert "INSIDE HOSTS: nothing to move for now." in text
    assert "a: vcpu. On a vCPUs that are pinned" in text


@pytest.mark.parametrize(
    ("inside", "acts"),
    [
        pytest.param({"vcpu": EARLIER}, False, id="it was tried a moment ago"),
        pytest.param({"vcpu": LONG_AGO}, True, id="it was tried long ago"),
        pytest.param({"memory": EARLIER}, True, id="something else was tried"),
        pytest.param({"vcpu": "yesterday"}, True, id="malformed"),
    ],
)
def test_what_did_not_help_does_not_hold_moves_back_for_ever(inside: Json, acts: bool) -> None:
    found = plan(fleet(crowd(), marks={"inside": inside}))
    assert bool(found["inside"]) == acts
    assert bool(moves(found)) != acts


@pytest.mark.parametrize(
    ("domains", "policy"),
    [
        pytest.param(crowd(pins={}), {}, id="they are free"),
        pytest.param(crowd(pins=None), {}, id="it is not known where they are pinned"),
        pytest.param([pinned(f"d{n}", n) for n in range(5)], {}, id="each has a CPU of its own"),
        pytest.param(crowd(pins={"0": [0, 1]}), {}, id="the kernel can move them"),
        pytest.param(crowd(ready=0.01), {}, id="they hardly wait"),
        pytest.param([pinned(f"d{n}", 0) for n in range(11)], {}, id="the host has no room for all that they want"),
        pytest.param(crowd(), {"actions": ["weight", "memory", "migrate"]}, id="the policy does not want it"),
        pytest.param(crowd(), {"strategy": "consolidate"}, id="another strategy"),
    ],
)
def test_where_repinning_is_no_help(domains: list[Json], policy: Json) -> None:
    assert plan(fleet(domains), policy)["inside"] == []


def test_migrate_first() -> None:
    found = plan(fleet(crowd()), {"actions": ["migrate", "vcpu"]})
    assert done(found) == [("a", "vcpu", True)]
    assert moves(found)


def test_without_migrate_only_rules_move_domains() -> None:
    spread = [pinned(f"d{number}", number, ready=0.0) for number in range(8)]
    assert plan(fleet(spread), {"actions": ["vcpu"]})["verdict"] == "stuck"
    found = plan(fleet(spread), {"actions": [], "pins": [{"domains": "domains[?name == 'd3']", "hosts": ["b"]}]})
    assert moves(found) == ["d3"]


def test_repairs_are_not_held_back() -> None:
    found = plan(fleet(crowd()), {"pins": [{"domains": "domains[?name == 'd3']", "hosts": ["b"]}]})
    assert (found["verdict"], moves(found), done(found)) == ("move", ["d3"], [("a", "vcpu", True)])


def test_other_hosts_are_not_held_back() -> None:
    busy = [domain(f"e{number}", "c", 1.0, vcpus=1) for number in range(9)]
    found = plan(snapshot({"a": host(), "b": host(), "c": host()}, *crowd(), *busy))
    assert done(found) == [("a", "vcpu", True)]
    assert moves(found)
    assert {name[0] for name in moves(found)} == {"e"}


IMPORTANT = {"important": "domains[?name == 'db']"}


def shared(**more: t.Any) -> list[Json]:
    """A domain that must not wait, and eleven others, on ten threads."""
    others = [domain(f"d{number}", "a", 0.8, vcpus=1, cpu_ready=0.2, weight=1.0) for number in range(11)]
    return [domain("db", "a", 1.0, **{"vcpus": 2, "cpu_ready": 0.5, "weight": 1.0, **more}), *others]


def test_a_higher_weight_for_a_domain_that_must_not_wait() -> None:
    found = plan(fleet(shared()), IMPORTANT)
    assert done(found) == [("a", "weight", True)]
    # It wants 2 of 10 cores beside eleven of weight 1: 2 * 11 / 8.
    assert found["inside"][0]["weights"] == {"db": 2.8}
    assert (found["verdict"], moves(found)) == ("inside", [])
    assert "db waits for CPU; other domains can wait instead" in found["why"]


def test_a_weight_does_not_depend_on_the_speed_of_the_host() -> None:
    data = fleet(shared())
    for about in data["hosts"].values():
        about["speed"] = 2.0
    assert plan(data, IMPORTANT)["inside"][0]["weights"] == {"db": 2.8}


@pytest.mark.parametrize(
    ("more", "policy"),
    [
        pytest.param({}, {}, id="nobody is important"),
        pytest.param({"cpu_ready": 0.05}, IMPORTANT, id="it hardly waits"),
        pytest.param({"weight": 3.0}, IMPORTANT, id="it has the weight"),
        pytest.param({"weight": None}, IMPORTANT, id="its weight is not known"),
        pytest.param({}, {"important": "domains[*]"}, id="everybody is important"),
        pytest.param({}, {**IMPORTANT, "actions": ["vcpu", "migrate"]}, id="the policy does not want it"),
    ],
)
def test_where_weight_is_no_help(more: Json, policy: Json) -> None:
    assert plan(fleet(shared(**more)), policy)["inside"] == []


def of_memory(name: str, *, rss: int, usable: int | None, current: int = 2000, maximum: int = 2000) -> Json:
    memory = {"maximum_mib": maximum, "current_mib": current, "rss_mib": rss, "usable_mib": usable}
    return domain(name, "a", 0.1, vcpus=1, memory=memory, weight=1.0)


@pytest.mark.parametrize(
    ("usable", "expected"),
    [
        pytest.param(1056, [("a", "memory", True)], id="what guests can give is enough"),
        pytest.param(300, [], id="it is not enough"),
        pytest.param(None, [], id="it is not known what they can give"),
    ],
)
def test_memory_of_a_host_that_is_too_full(usable: int | None, expected: list[t.Any]) -> None:
    domains = [of_memory(f"d{number}", rss=2000, usable=usable) for number in range(5)]
    found = plan(snapshot({"a": host(total=10500), "b": host(total=10500)}, *domains))
    assert done(found) == expected
    assert bool(moves(found)) != bool(expected)
    if expected:
        assert found["inside"][0]["reclaim"] == "always"


def test_a_guest_that_starves() -> None:
    domains = [of_memory("poor", rss=500, usable=50, current=500), of_memory("fixed", rss=500, usable=50, maximum=2000)]
    found = plan(snapshot({"a": host(), "b": host()}, *domains))
    assert done(found) == [("a", "memory", False)]
    assert (found["inside"][0]["domains"], found["inside"][0]["reclaim"]) == (["poor"], "needed")
    assert found["verdict"] == "inside"


def test_memory_for_a_guest_that_starves_holds_no_move_back() -> None:
    busy = [domain(f"d{number}", "a", 1.0, vcpus=1) for number in range(6)]
    found = plan(fleet([of_memory("poor", rss=500, usable=50, current=500), *busy]))
    assert done(found) == [("a", "memory", False)]
    assert (found["verdict"], len(moves(found)) > 0) == ("move", True)


def test_the_same_input_gives_the_same_plan() -> None:
    assert plan(fleet(crowd())) == plan(fleet(crowd()[::-1]))


def test_unknown_actions_are_refused() -> None:
    with pytest.raises(PolicyError, match="vcpus"):
        plan(fleet(crowd()), {"actions": ["vcpus"]})
