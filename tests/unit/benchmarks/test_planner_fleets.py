# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import statistics

import pytest

from ansible_collections.virtops.balance.benchmarks.planner import checker
from ansible_collections.virtops.balance.benchmarks.planner.fleets import KINDS, generate, loads
from ansible_collections.virtops.balance.benchmarks.planner.snapshot import snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet as ProjectedFleet
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_one_fleet(kind: str) -> None:
    fleet = generate(20, 200, kind, 7)
    assert fleet == generate(20, 200, kind, 7)
    assert fleet.digest() == generate(20, 200, kind, 7).digest()
    assert fleet.digest() != generate(20, 200, kind, 8).digest()


def test_the_fleet_is_the_same_on_every_python() -> None:
    # Peers run in interpreters of their own. If this changes, all tables that were published do.
    assert generate(10, 100, "spread", 1).digest() == "e8f0281f825f2b9c"
    assert generate(10, 100, "clustered", 1).digest() == "ba1e294df1827533"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("hosts", "domains"), [(2, 20), (10, 100), (80, 1600)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_host_is_filled_beyond_its_limits(kind: str, hosts: int, domains: int, seed: int) -> None:
    fleet = generate(hosts, domains, kind, seed)
    assert len(fleet.hosts) == hosts
    assert len({domain.uuid for domain in fleet.domains}) == domains
    assert set(checker.final(fleet, fleet.placement)) <= {"cpu"}
    assert all(0 < domain.used_mib <= domain.maximum_mib and domain.cores <= domain.vcpus for domain in fleet.domains)


def test_a_clustered_fleet_is_less_even() -> None:
    def unevenness(kind: str) -> float:
        fleet = generate(80, 1600, kind, 1)
        return statistics.pstdev(load.cores for load in loads(fleet, fleet.placement))

    assert unevenness("clustered") > 1.2 * unevenness("spread")


def test_unequal_hosts_have_three_sizes() -> None:
    fleet = generate(30, 300, "unequal", 1)
    assert sorted({host.memory_mib // 1024 for host in fleet.hosts}) == [64, 128, 192]
    assert sum(host.memory_mib for host in fleet.hosts) == 30 * 128 * 1024
    assert not fleet.equal_hosts
    assert generate(30, 300, "spread", 1).equal_hosts


def test_almost_empty_hosts() -> None:
    fleet = generate(40, 400, "spread", 1)
    shares = sorted(load.domains for load in loads(fleet, fleet.placement))
    assert all(domains <= 2 for domains in shares[:4])


@pytest.mark.parametrize(
    ("size", "kind", "message"),
    [
        ((10, 100), "even", "There is no kind of fleet 'even'"),
        ((10, 49), "spread", "not 10x49"),
        ((1, 9), "spread", "1x9"),
    ],
)
def test_what_cannot_be_made(size: tuple[int, int], kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(*size, kind, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_engine_sees_what_the_fleet_is(kind: str) -> None:
    """Hosts short of CPU hide demand in their snapshot; the engine must find it again."""
    fleet = generate(10, 100, kind, 1)
    policy = Policy.from_mapping({"memory_basis": "maximum"})
    seen = ProjectedFleet(Snapshot.from_mapping(snapshot(fleet)), policy)
    carried = loads(fleet, fleet.placement)
    assert any(load.cores > host.threads for host, load in zip(fleet.hosts, carried, strict=True)) == (kind != "spread")
    for projected, host, load in zip(seen.hosts, fleet.hosts, carried, strict=True):
        expected = (load.cores / host.threads, load.maximum_mib / host.memory_mib, load.vcpus / host.threads)
        assert (projected.use[0], projected.use[1], projected.use[3]) == pytest.approx(expected)
