# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import demanded_cores, memory_of
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import Json, domain, host, snapshot


def fleet_of(data: Json, policy: Json | None = None) -> Fleet:
    return Fleet(Snapshot.from_mapping(data), Policy.from_mapping(policy))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"cores": 1.0, "cpu_ready": 0.5}, 2.0),
        ({"cores": 1.0, "cpu_ready": None}, 1.0),
        ({"cores": 1.0, "cpu_ready": 0.9}, 4.0),
        ({"cores": 1.0, "cpu_ready": 1.0}, 4.0),
        ({"cores": 1.0, "cpu_ready": 0.9, "cap": 150}, 1.5),
        ({"cores": 4.2, "cpu_ready": 0.9}, 4.2),
        ({"cores": None}, None),
    ],
)
def test_demand(facts: Json, expected: float | None) -> None:
    data = snapshot({"a": host()}, domain("u", "a", **facts))
    assert demanded_cores(Snapshot.from_mapping(data).domains["u"]) == expected


@pytest.mark.parametrize(
    ("sizes", "basis", "expected"),
    [
        ((400, 300, 200), "used", 200),
        ((400, 300, 200), "current", 300),
        ((400, 300, 200), "maximum", 400),
        ((400, None, None), "used", 400),
        ((400, 300, None), "used", 300),
        ((None, 300, 200), "maximum", None),
    ],
)
def test_memory_basis(sizes: tuple[int | None, ...], basis: str, expected: int | None) -> None:
    memory = dict(zip(("maximum_mib", "current_mib", "rss_mib"), sizes, strict=True))
    data = snapshot({"a": host()}, domain("u", "a", memory=memory))
    assert memory_of(Snapshot.from_mapping(data).domains["u"], basis) == expected


def test_what_a_host_carries() -> None:
    data = snapshot(
        {"a": host(usage=0.1, used=1000), "b": host()},
        domain("u", "a", cores=2.0, cpu_ready=0.5, mib=500),
        domain("v", "a", cores=1.0, mib=None),
        domain("w", "a", cores=None, mib=700),
        domain("x", "a", cores=1.0, mib=800, destination="b"),
    )
    data["hosts"]["a"]["cpu"]["usage"] += 0.05  # what w uses is part of the measured use, though nobody knows how much
    fleet = fleet_of(data)
    a, b = fleet.hosts
    assert a.use == pytest.approx([0.1 + 0.05 + 0.6, (1000 + 500 + 700 + 800) / 10000, 0.2, 1.6])
    assert b.use == pytest.approx([0.1, 0.08, 0.0, 0.4])
    assert sorted(d.name for d in b.domains.values()) == ["x"]
    assert a.committed_mib == pytest.approx(3000)


def test_host_load_unknown() -> None:
    data = snapshot({"a": host(), "b": host(), "c": host()}, domain("u", "a"))
    data["hosts"]["b"]["cpu"]["usage"] = None
    data["hosts"]["c"]["memory"]["available_mib"] = None
    assert [h.counted for h in fleet_of(data).hosts] == [True, False, False]


def test_score_by_hand() -> None:
    data = snapshot({"a": host(usage=1.0), "b": host(usage=0.0)})
    policy = {"target": 0.1, "weights": {"cpu": 2.0, "memory": 0, "cpu_ready": 0, "vcpus": 0, "overload": 3.0}}
    # Both hosts are 0.5 away from the centre, 0.45 of that beyond the target; one is 0.1 above its limit of 0.9.
    cost = 0.45 + 10 * 0.45**2 + 0.05 * 0.5**2
    assert fleet_of(data, policy).score.value() == pytest.approx(2 * (cost + cost) + 3 * 0.1)


def test_the_centre_is_where_all_demand_would_be_spread_evenly() -> None:
    # 4 cores of 8 + 2 threads, and the one core that has to leave a drained host.
    hosts = {"a": host(threads=8), "b": host(threads=2, usage=0.5), "c": host(state="drained")}
    fleet = fleet_of(snapshot(hosts, domain("x", "a", cores=3.0), domain("y", "c", cores=1.0)), {"target": 0.1})
    assert fleet.score.edges(CPU) == pytest.approx((0.45, 0.55))
    fleet.drain(fleet.hosts[0], True)
    assert fleet.score.edges(CPU) == pytest.approx((2.45, 2.55))


def test_within_the_target_a_spread_costs_next_to_nothing() -> None:
    def score(target: float) -> float:
        return fleet_of(snapshot({"a": host(usage=0.3), "b": host(usage=0.2)}), {"target": target}).score.value()

    assert score(0.1) == pytest.approx(2 * 0.05 * 0.05**2)
    assert score(0.0) > 100 * score(0.1)


SIZES = st.lists(st.tuples(st.floats(0, 4), st.integers(1, 4000), st.floats(0, 0.9)), min_size=1, max_size=12)


@given(SIZES, st.lists(st.tuples(st.integers(0, 11), st.integers(0, 3)), max_size=25), st.data())
def test_incremental_is_recomputed(
    sizes: list[tuple[float, int, float]], steps: list[tuple[int, int]], data: st.DataObject
) -> None:
    threads = data.draw(st.lists(st.integers(2, 16), min_size=4, max_size=4))
    hosts = {f"h{i}": host(threads=n, total=n * 30000) for i, n in enumerate(threads)}
    guests = [domain(f"d{i}", f"h{i % 4}", cores=c, mib=m, cpu_ready=r) for i, (c, m, r) in enumerate(sizes)]
    raw = snapshot(hosts, *guests)
    fleet = fleet_of(raw)
    for index, target in steps:
        moving, destination = fleet.domains[index % len(guests)], fleet.hosts[target]
        if moving.host is destination:
            continue
        source = moving.host
        expected = fleet.score.after(moving.demand, source, destination)
        out, into = fleet.score.slopes(source.use, leaving=True), fleet.score.slopes(destination.use, leaving=False)
        bound = sum(
            n * (out[r] * source.scale[r] - into[r] * destination.scale[r]) for r, n in enumerate(moving.demand)
        )
        before = fleet.score.value()
        fleet.move(moving, destination)
        assert fleet.score.value() == pytest.approx(expected, abs=1e-6)
        assert before - fleet.score.value() <= bound + 1e-6
    fresh = fleet_of(raw)
    for moving in fleet.domains:
        again = fresh[moving.facts.uuid]
        if again.host.name != moving.host.name:
            fresh.move(again, fresh.hosts[moving.host.index])
    assert fleet.score.value() == pytest.approx(fresh.score.value(), abs=1e-6)
    for left, right in zip(fleet.hosts, fresh.hosts, strict=True):
        assert left.use == pytest.approx(right.use, abs=1e-9)
        assert left.committed_mib == pytest.approx(right.committed_mib, abs=1e-6)
        assert set(left.domains) == set(right.domains)
