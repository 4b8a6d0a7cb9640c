# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Rounds of hosts that may be down together."""

from __future__ import annotations

import typing as t
from itertools import chain

import pytest
from hypothesis import HealthCheck, given, settings

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError, PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.maintenance_rounds import purpose, rounds
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils._plan.test_plan_properties import fleets
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    carried_out,
    domain,
    host,
    snapshot,
)

APART = {"name": "web", "domains": "domains[?starts_with(name, 'web')]"}
TIED = [{"code": "host_cpu", "message": "is tied to this host's CPU"}]


def fleet(count: int, each: int = 2, mib: int = 1000, **more: t.Any) -> Json:
    names = [f"h{number}" for number in range(count)]
    return snapshot(
        {name: host(**more) for name in names},
        *(domain(f"{name}-{n}", name, mib=mib) for name in names for n in range(each)),
    )


def test_as_many_at_once_as_fit_on_the_others() -> None:
    # Each host has 2 of the 9 domains that it could have, so the domains of six need two.
    data = fleet(6)
    found = rounds(data, list(data["hosts"]), {"cpu_limit": 2, "cpu_overcommit": None})
    assert found["rounds"][0] == ["h0", "h1", "h2", "h3"]
    assert sorted(chain(*found["rounds"])) == list(data["hosts"])
    assert len(found["rounds"]) == 2
    assert found["impossible"] == {}
    assert found["apart"]["h4"].startswith("not together with h0, h1, h2 and 1 more: ")
    assert "has to stay (h5: may grow to 1000 MiB of memory, and h5 has 0 MiB left)" in found["apart"]["h4"]


def test_at_most_so_many() -> None:
    data = fleet(6)
    found = rounds(data, list(data["hosts"]), most=2)
    assert [len(names) for names in found["rounds"]] == [2, 2, 2]
    assert found["apart"]["h5"] == "round 2 already has 2 hosts"


def test_never_all_at_once() -> None:
    data = fleet(2, each=0)
    assert rounds(data, ["h0", "h1"])["rounds"] == [["h0"], ["h1"]]


def test_what_must_not_meet() -> None:
    data = snapshot({name: host() for name in "abc"}, domain("web-1", "a"), domain("web-2", "b"))
    assert len(rounds(data, list("abc"))["rounds"]) == 2
    assert [len(names) for names in rounds(data, list("abc"), {"anti_affinity": [APART]})["rounds"]] == [1, 1, 1]


def test_a_host_that_cannot_be_emptied_is_told_of() -> None:
    data = snapshot({name: host() for name in "abc"}, domain("x", "a", blockers=TIED), domain("y", "b"))
    data["hosts"]["c"] = {"state": "unknown", "problem": "no route"}
    found = rounds(data, list("abc"))
    assert found["rounds"] == [["b"]]
    assert found["impossible"] == {
        "a": ["a cannot be emptied: x has to stay (is tied to this host's CPU)."],
        "c": ["c cannot be emptied: it is unknown."],
    }
    assert rounds(data, ["a", "b"], {"restart": "domains"})["rounds"] == [["a"], ["b"]]


def test_it_goes_on_where_it_stopped() -> None:
    data = fleet(3)
    data["hosts"]["h0"]["marks"] = {"maintained": "patches"}
    # The round that failed: its host is drained still, and its domains have left.
    data["hosts"]["h1"].update(state="drained", marks={"drained": {"purpose": purpose("patches")}})
    for guest in data["domains"].values():
        if guest["host"] == "h1":
            guest["host"] = "h0"
    found = rounds(data, ["h0", "h1", "h2"], name="patches")
    assert (found["done"], found["rounds"]) == (["h0"], [["h1", "h2"]])
    assert rounds(data, ["h0"], name="patches")["rounds"] == []
    assert rounds(data, ["h0"], name="other")["rounds"] == [["h0"]]


def test_a_host_that_somebody_else_drained_is_no_place_to_go_after_its_round_either() -> None:
    data = snapshot({name: host() for name in "ab"}, domain("x", "b"))
    data["hosts"]["a"].update(state="drained", marks={"drained": {"purpose": "broken fan"}})
    found = rounds(data, ["a", "b"], name="patches")
    assert found["rounds"] == [["a"]]
    assert found["impossible"] == {"b": ["b cannot be emptied: no host would be left to take domains."]}


def test_a_group_stands_for_its_hosts() -> None:
    data = fleet(3)
    for name in ("h1", "h2"):
        data["hosts"][name]["groups"] = ["rack_1"]
    found = rounds(data, ["rack_1", "h1"])
    assert sorted(name for one in found["rounds"] for name in one) == ["h1", "h2"]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["h9"], {}, "h9 is not one of the hosts of this run."),
        (["h*"], {}, r"h\* is not one of the hosts of this run. Name hosts or groups: a saved snapshot knows no "),
        ([], {}, "There is no host to maintain."),
        (["h0"], {"most": 0}, "whole number of at least 1, not 0"),
        (["h0"], {"most": True}, "whole number of at least 1, not true"),
        (["h0"], {"policy": {"treshold": 1}}, "threshold"),
    ],
)
def test_mistakes(names: list[str], options: Json, message: str) -> None:
    with pytest.raises((BalanceError, PolicyError), match=message):
        rounds(fleet(3), names, **options)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(fleets())
def test_every_round_can_be_drained_from_where_the_one_before_ended(data: tuple[Json, Json]) -> None:
    """The division holds when it is carried out: the plans of its rounds leave nothing behind."""
    now, policy = data
    wanted = [name for name, facts in now["hosts"].items() if facts["state"] == "active"]
    wanted = [name for name in wanted if name not in policy.get("ignore_hosts", ())]
    policy = {**policy, "drained_hosts": [], "restart": []}
    if not wanted or len(now["hosts"]) < 2:
        return
    found = rounds(now, wanted, policy)
    assert sorted(chain(*found["rounds"], found["impossible"])) == sorted(wanted)
    for names in found["rounds"]:
        made = plan(now, {**policy, "strategy": "drain", "drained_hosts": names})
        ordering = any("ordering" in str(wish["reasons"]) for wish in made["refused"])
        after = carried_out(now, made)
        if not ordering:
            assert not [guest for guest in after["domains"].values() if guest["host"] in names]
        now = after
        if ordering:
            return
