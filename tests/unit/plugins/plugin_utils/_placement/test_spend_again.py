# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The best use of max_moves."""

from __future__ import annotations

import itertools
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    domain,
    host,
    moves,
    snapshot,
)

CORES = (2.6, 2.4, 1.9, 1.6, 1.2, 0.9, 0.4)


def fleet(seed: int) -> Json:
    """Two busy hosts and two with next to nothing."""
    guests = (
        domain(f"d{i}", "ab"[(i + seed) % 2], cores=cores, mib=400 + 130 * ((i * 5 + seed) % 7))
        for i, cores in enumerate(CORES)
    )
    return snapshot({name: host(total=9000) for name in "abcd"}, *guests)


def best(data: Json, policy: Json, most: int) -> float:
    """The least score that so many moves can reach."""
    found = Fleet(Snapshot.from_mapping(data), Policy.from_mapping(policy))
    least = found.score.value()
    for guests in itertools.combinations(found.domains, most):
        for ends in itertools.product(found.hosts, repeat=most):
            for guest, end in zip(guests, ends, strict=True):
                if guest.host is not end:
                    found.move(guest, end)
            least = min(least, found.score.value())
        for guest in guests:
            if guest.moved:
                found.move(guest, guest.home)
    return least


@pytest.mark.parametrize("most", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_max_moves_are_spent_well(seed: int, most: int) -> None:
    policy: dict[str, t.Any] = {"max_moves": most, "target": 0.0, "move_cost": 0, "move_cost_per_gib": 0}
    data = fleet(seed)

    found = plan(data, policy)

    assert len(moves(found)) == most
    gained = found["score"]["before"] - found["score"]["after"]
    assert gained >= 0.97 * (found["score"]["before"] - best(data, policy, most))
