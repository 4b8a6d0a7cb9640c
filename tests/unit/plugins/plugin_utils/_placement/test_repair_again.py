# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What levelling makes room for is repaired in the same plan, and levelling takes no room from a repair."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    carried_out,
    domain,
    host,
    moves,
    snapshot,
    ways,
)


def test_levelling_makes_room_for_a_pin() -> None:
    full = (domain(f"d{i}", "a", 0.2, 1000, vcpus=1) for i in range(9))
    data = snapshot({name: host() for name in "abc"}, *full, domain("x", "b", 0.2, 1000, vcpus=1))
    policy = {"pins": [{"domains": {"names": ["x"]}, "hosts": ["a"]}]}

    found = plan(data, policy)

    assert ("x", "b", "a") in ways(found)
    assert moves(plan(carried_out(data, found), policy)) == []


def test_max_moves_holds_for_both_repairs() -> None:
    full = (domain(f"d{i}", "a", 0.2, 1000, vcpus=1) for i in range(9))
    data = snapshot({name: host() for name in "abc"}, *full, domain("x", "b", 0.2, 1000, vcpus=1))
    policy = {"pins": [{"domains": {"names": ["x"]}, "hosts": ["a"]}], "max_moves": 4}

    assert len(moves(plan(data, policy))) <= 4


def test_what_had_to_leave_a_drained_host_is_not_levelled_beyond_the_limit() -> None:
    guests = (domain("x", "a", 3.5, 4000), domain("y", "a", 7.5, 500, vcpus=8))
    data = snapshot({"a": host(), "b": host(usage=0.45), "c": host(usage=0.85)}, *guests)

    found = plan(data, {"drained_hosts": ["a"]})

    assert sorted(name for name, _source, _destination in ways(found)) == ["x", "y"]
