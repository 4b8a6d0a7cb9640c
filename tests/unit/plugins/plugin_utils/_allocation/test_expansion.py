# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.bins import Work
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.expansion import NO_ROOM, Expansion, Host
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
    lambda hosts, domains, weight: Problem.from_mapping(
        {
            "hosts": {
                f"h{index}": {"cores": 2.5 * cores, "memory_mib": 4096, "power": table, "cpu_used": used}
                for index, (cores, table, used) in enumerate(hosts)
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


def worth(host: Host, weight: float, use: float) -> float | None:
    """By hand: the worth of a host if its domains have so many cores in all; None where they cannot."""
    capacity = host.bin.capacity
    left = use - capacity.cpu_used - sum(item.cpu_min for item in host.items)
    if left < -NEAR or use > capacity.cores + NEAR:
        return None
    value = sum(item.worth_min for item in host.items)
    for item in sorted(host.items, key=lambda item: -item.slope):
        more = min(left, item.cpu_max - item.cpu_min)
        value += more * item.slope
        left -= more
    assert capacity.power is not None
    drawn = capacity.power.watts(use / capacity.cores)
    before = capacity.power.watts(capacity.cpu_used / capacity.cores) if capacity.in_use else 0.0
    return None if left > NEAR else value - weight * (drawn - before)


def fits(host: Host, items: list[t.Any]) -> bool:
    capacity = host.bin.capacity
    cpu = capacity.cpu_used + sum(item.cpu_min for item in items)
    return cpu <= capacity.cores + NEAR and sum(item.memory for item in items) <= capacity.memory_mib


@settings(deadline=None)
@given(PROBLEMS)
def test_a_host_is_worth_its_best_use(problem: Problem) -> None:
    work = Work(problem)
    for bin in work.bins:
        host = Host(bin, problem.power_weight)
        for item in work.items:
            if not fits(host, [*host.items, item]):
                assert host.gain(item) == NO_ROOM
                continue
            before, gain = host.value, host.gain(item)
            host.set([*host.items, item])
            assert host.value == pytest.approx(before + gain)
            # The best use is a sum of maxima and minima or an end of a part: all are multiples of the step.
            uses = [count * STEP for count in range(int(bin.capacity.cores / STEP) + 1)]
            worths = [value for use in uses if (value := worth(host, problem.power_weight, use)) is not None]
            assert host.value == pytest.approx(max(worths))
            given_out = bin.capacity.cpu_used + sum(cpu for _item, cpu in host.cores())
            assert worth(host, problem.power_weight, given_out) == pytest.approx(host.value)
            for other in list(host.items):
                rest = host.without(other)
                assert rest.items == [each for each in host.items if each is not other]
                assert rest.gain(other) == pytest.approx(host.value - rest.value)


@settings(deadline=None)
@given(PROBLEMS)
def test_nothing_is_left_to_gain(problem: Problem) -> None:
    expansion = Expansion(Work(problem), problem.power_weight)
    for item in expansion.items:
        expansion.add(item)
    improve(expansion, rounds=1000)
    assert expansion.value == pytest.approx(sum(host.value for host in expansion.hosts))
    total = expansion.value
    for item in expansion.items:
        home = expansion.take(item)
        assert expansion.value + max(0.0, expansion.best(item)[0]) <= total + NEAR
        for host in expansion.hosts:
            for other in [] if host is home else list(host.items):
                expansion.take(other)
                if host.gain(item) > NO_ROOM:
                    expansion.put(item, host)
                    assert expansion.value + max(0.0, expansion.best(other)[0]) <= total + NEAR
                    expansion.take(item)
                expansion.put(other, host)
        if home is not None:
            expansion.put(item, home)
    assert expansion.value == pytest.approx(total)


def test_a_group_leaves_with_its_domain() -> None:
    work = Work(
        Problem.from_mapping(
            {
                "hosts": {"a": {"cores": 4, "memory_mib": 4096}},
                "domains": {name: {"cpu_max": 1, "memory_mib": 512, "apart": ["db"]} for name in ("x", "y")},
            }
        )
    )
    (x, y), (bin,) = work.items, work.bins
    work.place(x, bin, 1.0)
    assert work.refuses(y, bin) is not None
    work.remove(x)
    assert work.refuses(y, bin) is None
    assert (bin.cpu_used, bin.memory_used, bin.items) == (0.0, 0.0, {})
