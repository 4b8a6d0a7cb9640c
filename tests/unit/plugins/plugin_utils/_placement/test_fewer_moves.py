# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A target that the policy names is reached with the fewest moves that are found."""

from __future__ import annotations

import itertools
import random

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._placement import fewer_moves
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

HOSTS = "abc"
THREADS, TOTAL = 20, 16000
TARGET = 0.1
ROUNDING = 1e-6
POLICY = {"target": TARGET, "max_moves": None, "minimum_gain": 0}


def fleet(seed: int, count: int = 8) -> tuple[Json, list[tuple[int, float, int]]]:
    """A small fleet, and the host, cores and MiB of each of its domains."""
    chance = random.Random(seed)
    guests = [
        (chance.choice((0, 0, 1, 2)), chance.choice((1.0, 2.5, 4.0)), chance.randrange(500, 3000))
        for _guest in range(count)
    ]
    data = snapshot(
        {name: host(threads=THREADS, total=TOTAL) for name in HOSTS},
        *(domain(f"d{i}", HOSTS[on], cores=cores, mib=mib, vcpus=4) for i, (on, cores, mib) in enumerate(guests)),
    )
    return data, guests


def fewest(guests: list[tuple[int, float, int]]) -> int | None:
    """The fewest moves to the target among all placements; None if none reaches it."""
    found = None
    for where in itertools.product(range(len(HOSTS)), repeat=len(guests)):
        count = sum(on != guest[0] for on, guest in zip(where, guests, strict=True))
        if found is not None and count >= found:
            continue
        cpu, memory = [0.0] * len(HOSTS), [0.0] * len(HOSTS)
        for on, (_home, cores, mib) in zip(where, guests, strict=True):
            cpu[on] += cores / THREADS
            memory[on] += mib / TOTAL
        if max(*cpu, *memory) <= 0.9 and max(max(use) - min(use) for use in (cpu, memory)) <= TARGET + ROUNDING:
            found = count
    return found


def test_small_fleets_reach_the_target_with_hardly_more_moves_than_any_placement_needs() -> None:
    more: list[int] = []
    for seed in range(60):
        data, guests = fleet(seed)
        found, least = plan(data, POLICY), fewest(guests)
        reached = max(found["spread"]["after"]["cpu"], found["spread"]["after"]["memory"]) <= TARGET + ROUNDING
        if moves(found) and reached:
            assert least is not None
            more.append(len(moves(found)) - least)

    assert len(more) > 20
    assert 0 <= min(more) <= max(more) <= 2
    assert sum(more) <= len(more) / 10


def test_fewer_moves_cost_hardly_more(monkeypatch: pytest.MonkeyPatch) -> None:
    fewer = 0
    for seed in range(20):
        data, _guests = fleet(seed, 24)
        with monkeypatch.context() as patch:
            patch.setattr(fewer_moves, "_MOST_PAIRS", 0)
            first = moves(plan(data, POLICY))
        found = plan(data, POLICY)
        now = moves(found)
        assert len(now) <= len(first)
        assert cost(now) <= cost(first) * 1.05 + 1e-9
        assert moves(plan(carried_out(data, found), POLICY)) == []
        fewer += len(first) - len(now)
    assert fewer > 0


def test_a_move_that_repairs_a_rule_stays() -> None:
    # Without the pin the fewest moves would leave x where it is.
    guests = (
        domain("x", "a", 2.0, 1000),
        domain("y", "a", 2.0, 1000),
        *(domain(f"d{i}", "b", 1.0, 1000) for i in range(6)),
    )
    data = snapshot({name: host() for name in HOSTS}, *guests)
    policy = {**POLICY, "pins": [{"domains": {"names": ["x"]}, "hosts": ["c"]}]}

    assert ("x", "a", "c") in ways(plan(data, policy))


def cost(found: list[Json]) -> float:
    """The price of the moves by the default policy."""
    return sum(0.005 + 0.0005 * move["cost"]["mib"] / 1024 for move in found)


def test_domains_that_return_home_take_no_room_from_what_has_to_move() -> None:
    def guest(name: str, on: str, cores: float, maximum: int, rss: int) -> Json:
        memory = {"maximum_mib": maximum, "current_mib": maximum, "rss_mib": rss}
        return domain(name, on, cores, maximum, vcpus=2, memory=memory)

    guests = (
        guest("d1", "a", 0.6, 1000, 356),
        guest("d2", "a", 0.7, 1000, 348),
        guest("d4", "b", 0.0, 1000, 207),
        guest("d5", "b", 0.0, 3000, 885),
        guest("d6", "b", 0.0, 1000, 204),
        guest("d7", "b", 0.0, 1500, 334),
        guest("d8", "c", 0.6, 1000, 216),
        guest("d9", "c", 0.6, 1000, 303),
        guest("d10", "c", 0.0, 3000, 897),
    )
    data = snapshot({name: host(threads=8, total=8000) for name in HOSTS}, *guests)
    policy = {**POLICY, "drained_hosts": ["a"], "threshold": 0.1, "max_moves_in": 3}

    found = plan(data, policy)

    assert {name for name, source, _destination in ways(found) if source == "a"} == {"d1", "d2"}
    assert found["spread"]["after"]["cpu"] <= TARGET
    assert moves(plan(carried_out(data, found), policy)) == []


def test_large_fleets_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fewer_moves._Fewer, "run", lambda _self: pytest.fail("searched"))
    names = [f"kvm{i:02}" for i in range(60)]
    guests = (domain(f"d{i:04}", names[0 if i < 30 else i % 60], 1.0, 500, vcpus=1) for i in range(400))
    data = snapshot({name: host(threads=64, total=64000) for name in names}, *guests)

    assert moves(plan(data, POLICY))
