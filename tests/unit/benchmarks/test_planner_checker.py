# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.benchmarks.planner.checker import Step, final, on_the_way, total
from ansible_collections.virtops.balance.benchmarks.planner.fleets import Domain, Fleet, Host

HOSTS = tuple(Host(f"host{number}", threads=4, memory_mib=10_000, own_mib=500) for number in range(3))


def fleet(*domains: tuple[int, int, int, float]) -> Fleet:
    """Each domain is its host, MiB, vCPUs and cores."""
    found = [
        Domain(f"vm{number}", f"uuid{number}", host, vcpus, cores, mib, mib)
        for number, (host, mib, vcpus, cores) in enumerate(domains)
    ]
    return Fleet("spread", 1, HOSTS, tuple(found))


@pytest.mark.parametrize(
    ("domain", "broken"),
    [
        ((0, 9000, 16, 4.0), {}),
        ((0, 9001, 1, 1.0), {"memory_over_95": 1}),
        ((0, 9501, 1, 1.0), {"memory_over_95": 1, "memory_over_size": 1}),
        ((0, 100, 17, 1.0), {"vcpus": 1}),
        ((0, 100, 1, 4.1), {"cpu": 1}),
        ((0, 9600, 17, 4.1), {"memory_over_95": 1, "memory_over_size": 1, "vcpus": 1, "cpu": 1}),
    ],
)
def test_limits_of_a_host(domain: tuple[int, int, int, float], broken: dict[str, int]) -> None:
    guests = fleet(domain)
    assert final(guests, [0]) == broken
    assert total(final(guests, [0])) == len(broken) - ("memory_over_size" in broken)
    assert final(guests, [2]) == broken


def test_a_swap_does_not_fit_on_the_way() -> None:
    guests = fleet((0, 6000, 1, 1.0), (1, 6000, 1, 1.0))
    swap = [[Step(0, 0, 1), Step(1, 1, 0)]]
    assert on_the_way(guests, swap) == {"wave_memory_over_95": 2, "wave_memory_over_size": 2}
    assert on_the_way(guests, [[Step(0, 0, 1)], [Step(1, 1, 0)]]) == {
        "wave_memory_over_95": 1,
        "wave_memory_over_size": 1,
    }
    detour = [[Step(0, 0, 2)], [Step(1, 1, 0)], [Step(0, 2, 1)]]
    assert on_the_way(guests, detour) == {}


def test_a_moving_domain_counts_on_both_ends() -> None:
    # Host 0 gives 5000 MiB away and takes 5000 in: in one wave it carries both.
    guests = fleet((0, 5000, 1, 1.0), (1, 5000, 1, 1.0))
    assert on_the_way(guests, [[Step(0, 0, 2)], [Step(1, 1, 0)]]) == {}
    assert on_the_way(guests, [[Step(0, 0, 2), Step(1, 1, 0)]]) == {
        "wave_memory_over_95": 1,
        "wave_memory_over_size": 1,
    }


@pytest.mark.parametrize(
    ("waves", "broken"),
    [
        ([[Step(0, 1, 2)]], {"wave_wrong_source": 1}),
        ([[Step(0, 0, 1)], [Step(0, 0, 2)]], {"wave_wrong_source": 1}),
        ([[Step(0, 0, 1), Step(0, 0, 2)]], {"wave_same_domain_twice": 1}),
        ([[Step(0, 0, 1)], [Step(0, 1, 2)]], {}),
    ],
)
def test_moves_start_where_the_domain_is(waves: list[list[Step]], broken: dict[str, int]) -> None:
    assert on_the_way(fleet((0, 1000, 1, 1.0)), waves) == broken


def test_a_source_that_is_over_its_limit_is_not_blamed_on_the_way() -> None:
    assert on_the_way(fleet((0, 9400, 1, 1.0)), [[Step(0, 0, 1)]]) == {"wave_memory_over_95": 1}
    assert on_the_way(fleet((0, 5000, 1, 1.0), (0, 4400, 1, 1.0)), [[Step(0, 0, 1)]]) == {}
