# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._domain import cpu_shares
from ansible_collections.virtops.balance.plugins.module_utils._domain.cpu_shares import Tuning
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import MAX_QUOTA, Domain, Fleet
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirtError


def domain(**scheduler: int) -> Domain:
    return Fleet().add(scheduler=scheduler)


@pytest.mark.parametrize(
    ("quota", "period", "cap"),
    [
        (50_000, 100_000, 50),
        (12_500, 50_000, 25),
        (33_333, 100_000, 33.333),
        (250_000, 100_000, 250),
        (-1, 100_000, 0),
        (0, 100_000, 0),
        # What libvirt shows for "max" of cgroup version 2.
        (17_592_186_044_415, 100_000, 0),
        (18_446_744_073_709_551, 100_000, 0),
        (17_592_186_044_414, 100_000, 17592186044.414),
        (None, None, 0),
        (50_000, 0, 0),
    ],
)
def test_percent(quota: int | None, period: int | None, cap: float) -> None:
    assert cpu_shares.percent(quota, period) == pytest.approx(cap)


@pytest.mark.parametrize(
    ("cap", "period", "quota"),
    [(50, 100_000, 50_000), (25, 50_000, 12_500), (33.333, 100_000, 33_333), (0.5, 100_000, 1_000), (0, 100_000, -1)],
)
def test_quota_for(cap: float, period: int, quota: int) -> None:
    assert cpu_shares.quota_for(cap, period) == quota


@pytest.mark.parametrize(
    ("shares", "source", "destination", "expected"),
    [
        (1024, 1, 2, 100),
        (100, 2, 1, 1024),
        (2048, 1, 2, 200),
        (512, 1, 2, 50),
        (2, 1, 2, 2),
        (262_144, 1, 2, 10_000),
        (10_000, 2, 1, 102_400),
        (1, 2, 1, 10),
    ],
)
def test_shares_for(shares: int, source: int, destination: int, expected: int) -> None:
    assert cpu_shares.shares_for(shares, source_version=source, destination_version=destination) == expected


@pytest.mark.parametrize(
    ("kind", "scheduler", "tuning"),
    [
        ("QEMU", {"global_period": 100_000, "global_quota": 50_000, "cpu_shares": 7}, Tuning(cap=50)),
        ("QEMU", {"global_period": 100_000, "global_quota": -1}, Tuning()),
        ("QEMU", {"global_period": 100_000, "global_quota": MAX_QUOTA, "vcpu_quota": MAX_QUOTA}, Tuning()),
        # A ceiling for each virtual CPU leaves the threads that send the memory alone.
        ("QEMU", {"vcpu_period": 100_000, "vcpu_quota": 50_000}, Tuning()),
        ("Xen", {"cap": 150, "weight": 512}, Tuning(cap=150, weight=512)),
    ],
)
def test_read(kind: str, scheduler: dict[str, int], tuning: Tuning) -> None:
    assert cpu_shares.read(Fleet, domain(**scheduler), xen=kind == "Xen") == tuning


@pytest.mark.parametrize("code", [3, 55, 67, 84])
def test_without_a_cpu_controller_there_is_no_cap(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: Domain, _flags: int) -> dict[str, int]:
        raise FakeLibvirtError(code)

    monkeypatch.setattr(Domain, "schedulerParametersFlags", refuse)
    assert cpu_shares.read(Fleet, domain(), xen=False) == Tuning()


def test_a_lost_connection_is_not_taken_for_no_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(_self: Domain, _flags: int) -> dict[str, int]:
        raise FakeLibvirtError(38, domain=7)

    monkeypatch.setattr(Domain, "schedulerParametersFlags", lose)
    with pytest.raises(FakeLibvirtError):
        cpu_shares.read(Fleet, domain(), xen=False)


def test_lift_and_restore_keep_the_period() -> None:
    capped = domain(global_period=50_000, global_quota=12_500)
    tuning = cpu_shares.read(Fleet, capped, xen=False)

    cpu_shares.lift_cap(Fleet, capped, xen=False)
    assert capped.scheduler == {"global_period": 50_000, "global_quota": -1}

    cpu_shares.restore(Fleet, capped, tuning, xen=False)
    assert capped.scheduler == {"global_period": 50_000, "global_quota": 12_500}


def test_a_cap_is_lifted_and_set_again_with_cgroup_version_2() -> None:
    capped = domain(global_period=100_000, global_quota=12_500)
    capped.unified = True

    cpu_shares.lift_cap(Fleet, capped, xen=False)
    assert cpu_shares.read(Fleet, capped, xen=False) == Tuning()

    cpu_shares.restore(Fleet, capped, Tuning(cap=12.5), xen=False)
    assert cpu_shares.read(Fleet, capped, xen=False) == Tuning(cap=12.5)


def test_nothing_is_written_where_nothing_was_set() -> None:
    free = domain(global_period=100_000, global_quota=-1)

    cpu_shares.restore(Fleet, free, Tuning(), xen=False)

    assert free.commands == []


def test_xen_gets_weight_and_cap_again() -> None:
    arrived = domain(cap=0, weight=256)

    cpu_shares.restore(Fleet, arrived, Tuning(cap=150, weight=512), xen=True)

    assert arrived.scheduler == {"cap": 150, "weight": 512}


def test_a_cap_that_does_not_take_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Domain, "setSchedulerParametersFlags", lambda *_arguments: None)

    with pytest.raises(BalanceError, match="accepted a cap of 50 %, but reports 0 %"):
        cpu_shares.write_cap(Fleet, domain(global_period=100_000, global_quota=-1), 50, xen=False)
