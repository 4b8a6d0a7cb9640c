# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Waves: what waits for what."""

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.moves import PARKING, Move
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.ordering import order
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import Json, domain, host, snapshot


def pinned(**homes: str) -> Json:
    """A policy under which each of these domains belongs on the host."""
    return {"pins": [{"domains": {"names": [name]}, "hosts": [host]} for name, host in homes.items()]}


def waves(found: Json) -> list[list[str]]:
    return [[move["name"] for move in wave["moves"]] for wave in found["waves"]]


@pytest.mark.parametrize(
    ("b_cores", "expected"),
    [
        (7.0, [["x", "y"]]),  # b has room for both at once
        (8.5, [["y"], ["x"]]),  # b would pass its limit; a is fuller, yet y can make room first
    ],
)
def test_a_host_passes_its_cpu_limit_only_where_nothing_else_can_go(b_cores: float, expected: list[list[str]]) -> None:
    data = snapshot(
        {"a": host(), "b": host(), "c": host()},
        *(domain("x", "a", cores=1.0), domain("rest-a", "a", cores=11.0)),
        *(domain("y", "b", cores=3.0), domain("rest-b", "b", cores=b_cores - 3.0)),
    )

    found = plan(data, {**pinned(x="b", y="c"), "hold": 9})

    assert waves(found) == expected


def test_what_arrives_does_not_make_a_host_look_fuller() -> None:
    # All are above the limit. x may go to b, because a is fuller; y may not go to c at the same time, because b is
    # fuller than c would be only as long as x counts on it.
    data = snapshot(
        {"a": host(), "b": host(), "c": host()},
        *(domain("x", "a", cores=1.0), domain("rest-a", "a", cores=13.0)),
        *(domain("y", "b", cores=1.5), domain("rest-b", "b", cores=10.0)),
        domain("rest-c", "c", cores=10.5),
    )

    found = plan(data, {**pinned(x="b", y="c"), "hold": 9})

    assert waves(found)[0] == ["x"]


def test_a_detour_does_not_bring_a_host_above_its_cpu_limit() -> None:
    # Memory has room for two domains on each host and one more on c, so a1 and b1 can only change places over c.
    data = snapshot(
        {"a": host(total=1000), "b": host(total=1000), "c": host(total=1000, usage=0.4, used=450)},
        *(domain("a1", "a", cores=6.0, mib=400, vcpus=6), domain("a2", "a", cores=6.0, mib=400, vcpus=6)),
        *(domain("b1", "b", cores=0.5, mib=400, vcpus=6), domain("b2", "b", cores=0.5, mib=400, vcpus=6)),
    )

    fleet = Fleet(Snapshot.from_mapping(data), Policy())
    a, b, c = fleet.hosts
    swap = [Move(fleet["a1"], a, b), Move(fleet["b1"], b, a)]

    result = order(fleet, Rules(fleet), swap)

    ways = [[(move.domain.name, move.source, move.destination) for move in wave] for wave in result.waves]
    assert ways == [[("b1", b, c)], [("a1", a, b)], [("b1", c, a)]]
    assert result.waves[0][0].purpose == PARKING
