# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What the plan says about a pin that names only hosts that take no domain."""

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._report.plan_table import plan_table
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import Json, domain, host, snapshot

PIN: Json = {"pins": [{"domains": {"names": ["db-1"]}, "hosts": ["c"]}]}


def fleet(names: str = "abc", **facts: Json) -> Json:
    hosts = {name: host(**facts.get(name, {})) for name in names}
    return snapshot(hosts, domain("db-1", "a"), domain("web-1", "a"))


@pytest.mark.parametrize("strategy", ["balance", "consolidate", "drain"])
@pytest.mark.parametrize(
    ("facts", "policy", "why", "advice"),
    [
        ({}, {"ignore_hosts": ["c"]}, "c is ignored", "do not ignore c (ignore_hosts)"),
        ({}, {"drained_hosts": ["c"]}, "c is drained", "do not drain c"),
        ({"state": "drained"}, {}, "c is drained", "undrain c (undrain.yml)"),
        ({"state": "unknown"}, {}, "c is unknown", "see why c does not answer"),
        ({"state": "asleep"}, {}, "c is asleep", "wake c"),
        (
            {"marks_problem": "Its marks are damaged."},
            {},
            "not enough is known about c",
            "see what the notes say about c",
        ),
    ],
    ids=["ignored", "drained", "marked", "unknown", "asleep", "marks"],
)
def test_the_plan_names_the_domain_the_pin_and_the_way_out(
    strategy: str, facts: Json, policy: Json, why: str, advice: str
) -> None:
    leaves = {"drained_hosts": [*policy.get("drained_hosts", []), "a"]} if strategy == "drain" else {}

    found = plan(fleet(c=facts), {**PIN, **policy, **leaves, "strategy": strategy})

    assert (
        f"db-1 cannot move, because pins[0] names only hosts that take no domain: {why}. "
        f"Name another host in pins[0].hosts, or {advice}."
    ) in found["notes"]
    assert "db-1" in [wish["name"] for wish in found["refused"]]


def test_where_no_other_host_is_left_the_domain_is_named_too() -> None:
    found = plan(fleet("ac"), {**PIN, "ignore_hosts": ["c"]})

    assert found["verdict"] == "stuck"
    told = plan_table(found)
    assert "db-1 on a: is pinned to c; no other host takes domains" in told
    assert "pins[0]" in told


def test_a_pin_that_names_a_host_with_no_room_is_left_to_its_reasons() -> None:
    full = fleet(c={"memory": {"total_mib": 50, "available_mib": 50}})

    found = plan(full, {**PIN, "ignore_hosts": ["b"]})

    assert not [note for note in found["notes"] if "pins[0]" in note]
    assert [list(wish["reasons"]) for wish in found["refused"]] == [["c"]]


def test_a_wish_and_a_domain_that_need_not_move_are_not_told() -> None:
    wish = {"pins": [{**PIN["pins"][0], "must": False}], "ignore_hosts": ["c"]}
    at_home = {"pins": [{**PIN["pins"][0], "hosts": ["a"]}], "ignore_hosts": ["a"]}
    for policy in (wish, at_home):
        assert plan(fleet(), policy)["notes"] == []
