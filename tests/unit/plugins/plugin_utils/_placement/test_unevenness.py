# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Which differences between hosts are a reason to act."""

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    carried_out,
    domain,
    host,
    moves,
    snapshot,
)

VCPUS = {"cpu": 0, "memory": 0, "vcpus": 1}
WAIT = {"cpu": 0, "memory": 0, "vcpus": 0}


def fleet(**guest: object) -> Json:
    """Six domains that use next to nothing, all on a, and two empty hosts of ten threads."""
    crowd = [domain(f"d{number}", "a", 0.1, 100, **{"vcpus": 4, **guest}) for number in range(6)]
    return snapshot({name: host() for name in "abc"}, *crowd)


def test_vcpus_alone_are_levelled_where_nothing_else_has_a_weight() -> None:
    data = fleet()
    found = plan(data, {"weights": VCPUS})
    assert found["why"] == "vCPUs per thread differ by 2.40 between a and b; the policy accepts 0.80."
    assert {name: state["after"]["vcpus"] for name, state in found["hosts"].items()} == dict.fromkeys("abc", 8)
    after = plan(carried_out(data, found), {"weights": VCPUS})
    assert (after["verdict"], after["why"]) == (
        "balanced",
        "vCPUs per thread differ by 0.00 between hosts at most; the policy accepts 0.80.",
    )


@pytest.mark.parametrize(
    ("policy", "acts"),
    [
        # A difference of 2.4 vCPUs per thread is 60 % of what cpu_overcommit accepts.
        ({"weights": VCPUS, "threshold": 0.59}, True),
        ({"weights": VCPUS, "threshold": 0.61}, False),
        ({"weights": VCPUS, "threshold": 0.31, "cpu_overcommit": 8}, False),
        ({"weights": VCPUS, "threshold": 0.29, "cpu_overcommit": 8}, True),
        ({"weights": VCPUS, "cpu_overcommit": None}, True),
        # Beside CPU or memory they only say which move is best.
        ({}, False),
        ({"weights": {**VCPUS, "cpu": 1}}, False),
        ({"weights": {**VCPUS, "memory": 1}}, False),
        ({"weights": {"cpu": 0, "memory": 0, "vcpus": 0, "cpu_ready": 0}}, False),
    ],
)
def test_how_far_vcpus_may_differ(policy: Json, acts: bool) -> None:
    assert bool(moves(plan(fleet(), policy))) == acts


def test_cpu_wait_alone_is_levelled_too() -> None:
    found = plan(fleet(cpu_ready=0.8), {"weights": WAIT})
    assert found["why"].startswith("CPU wait differs by 24 points between a and b; the policy accepts 20.")
    assert moves(found)


def test_what_is_wanted_and_cannot_move_is_told() -> None:
    blocked = [{"code": "host_device", "message": "has a device of the host"}]
    found = plan(fleet(blockers=blocked), {"weights": VCPUS})
    assert found["verdict"] == "stuck"
    assert {one["name"] for one in found["refused"]} == {f"d{number}" for number in range(6)}
