# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.bins import AllocationPacking
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.expansion import NO_ROOM, Expansion, ValuedBin
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.improvement import improve
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.problem import Problem

STEP = 0.25
NEAR = 1e-6
QUARTERS = st.integers(1, 12).map(lambda count: count * STEP)
# Wide steps between the watts, so that the best use lies anywhere, and a part that is flat.
TABLES = st.lists(st.sampled_from([0.0, 0.0, 10.0, 40.0, 90.0]), min_size=10, max_size=10).map(
    lambda rises: [50.0 + sum(rises[:count]) for count in range(11)]
)
PROBLEMS = st.builds(
    lambda bins, domains, weight: Problem.from_mapping(
        {
            "hosts": {
                f"h{index}": {"cores": 2.5 * cores, "memory_mib": 4096, "power": table, "cpu_used": used}
                for index, (cores, table, used) in enumerate(bins)
            },
            "domains": {
                f"d{index}": {
                    "cpu_min": low,
                    "cpu_max": low + more,
                    "share": share,
                    "utility_running": running,
                    "memory_mib": memory,
                }
                for index, (low, more, share, running, memory) in enumerate(domains)
            },
            "power_weight": weight,
        }
    ),
    st.lists(st.tuples(st.integers(1, 2), TABLES, st.sampled_from([0, 0, 0.5])), min_size=1, max_size=3),
    st.lists(
        st.tuples(
            st.integers(0, 4).map(lambda count: count * STEP),
            QUARTERS,
            st.integers(1, 5),
            st.sampled_from([0, 0, 2]),
            st.sampled_from([512, 1024, 2048]),
        ),
        max_size=7,
    ),
    st.sampled_from([0.0, 0.002, 0.01, 0.03]),
)


def worth(valued: ValuedBin, weight: float, use: float) -> float | None:
    """By hand: the worth of a host if its domains have so many cores in all; None where they cannot."""
    offer = valued.bin.offer
    left = use - offer.cpu_used - sum(item.cpu_min for item in valued.items)
    if left < -NEAR or use > offer.cores + NEAR:
        return None
    value = sum(item.worth_min for item in valued.items)
    for item in sorted(valued.items, key=lambda item: -item.slope):
        more = min(left, item.cpu_max - item.cpu_min)
        value += more * item.slope
        left -= more
    assert offer.power is not None
    drawn = offer.power.watts(use / offer.cores)
    before = offer.power.watts(offer.cpu_used / offer.cores) if offer.in_use else 0.0
    return None if left > NEAR else value - weight * (drawn - before)


def fits(valued: ValuedBin, items: list[t.Any]) -> bool:
    offer = valued.bin.offer
    cpu = offer.cpu_used + sum(item.cpu_min for item in items)
    return cpu <= offer.cores + NEAR and sum(item.memory for item in items) <= offer.memory_mib


@settings(deadline=None)
@given(PROBLEMS)
def test_a_host_is_worth_its_best_use(problem: Problem) -> None:
    packing = AllocationPacking(problem)
    for bin in packing.bins:
        valued = ValuedBin(bin, problem.power_weight)
        for item in packing.items:
            if not fits(valued, [*valued.items, item]):
                assert valued.gain(item) == NO_ROOM
                continue
            before, gain = valued.value, valued.gain(item)
            valued.set([*valued.items, item])
            assert valued.value == pytest.approx(before + gain)
            # The best use is a sum of maxima and minima or an end of a part: all are multiples of the step.
            uses = [count * STEP for count in range(int(bin.offer.cores / STEP) + 1)]
            worths = [value for use in uses if (value := worth(valued, problem.power_weight, use)) is not None]
            assert valued.value == pytest.approx(max(worths))
            given_out = bin.offer.cpu_used + sum(cpu for _item, cpu in valued.cores())
            assert worth(valued, problem.power_weight, given_out) == pytest.approx(valued.value)
            for other in list(valued.items):
                rest = valued.without(other)
                assert rest.items == [each for each in valued.items if each is not other]
                assert rest.gain(other) == pytest.approx(valued.value - rest.value)


@settings(deadline=None)
@given(PROBLEMS)
def test_nothing_is_left_to_gain(problem: Problem) -> None:
    expansion = Expansion(AllocationPacking(problem), problem.power_weight)
    for item in expansion.items:
        expansion.add(item)
    improve(expansion, rounds=1000)
    assert expansion.value == pytest.approx(sum(valued.value for valued in expansion.bins))
    total = expansion.value
    for item in expansion.items:
        home = expansion.take(item)
        assert expansion.value + max(0.0, expansion.best(item)[0]) <= total + NEAR
        for valued in expansion.bins:
            for other in [] if valued is home else list(valued.items):
                expansion.take(other)
                if valued.gain(item) > NO_ROOM:
                    expansion.put(item, valued)
                    assert expansion.value + max(0.0, expansion.best(other)[0]) <= total + NEAR
                    expansion.take(item)
                expansion.put(other, valued)
        if home is not None:
            expansion.put(item, home)
    assert expansion.value == pytest.approx(total)


def test_a_group_leaves_with_its_domain() -> None:
    packing = AllocationPacking(
        Problem.from_mapping(
            {
                "hosts": {"a": {"cores": 4, "memory_mib": 4096}},
                "domains": {name: {"cpu_max": 1, "memory_mib": 512, "apart": ["db"]} for name in ("x", "y")},
            }
        )
    )
    (x, y), (bin,) = packing.items, packing.bins
    packing.place(x, bin, 1.0)
    assert packing.refuses(y, bin) is not None
    packing.remove(x)
    assert packing.refuses(y, bin) is None
    assert (bin.cpu_used, bin.memory_used, bin.items) == (0.0, 0.0, {})
