# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Pinning on hosts whose CPUs are not all online."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import vcpu_affinity
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import (
    FakeConnection,
    FakeLibvirt,
    FakeLibvirtError,
)

# As with SMT off on a host of 160 threads: of each core the second thread is offline.
MAP = tuple(number % 2 == 0 for number in range(160))
ONLINE = frozenset(range(0, 160, 2))


@pytest.fixture
def cpus() -> vcpu_affinity.HostCpus:
    connection = Connection(FakeLibvirt(), FakeConnection(getCPUMap=(160, list(MAP), 80)), "qemu:///system")
    return vcpu_affinity.HostCpus.read(connection)


class Pinned:
    """A running domain on a host with that cgroup version."""

    def __init__(self, cgroup_version: int, error: FakeLibvirtError | None = None) -> None:
        self.version, self.error = cgroup_version, error
        self.maps: list[tuple[bool, ...]] = []

    def pinVcpuFlags(self, _number: int, cpu_map: tuple[bool, ...], _flags: int) -> None:  # noqa: N802
        if self.error is not None:
            raise self.error
        if self.version == 1 and any(cpu_map[number] for number in range(160) if not MAP[number]):
            raise FakeLibvirtError(
                38, "Unable to write to '/sys/fs/cgroup/cpuset/.../cpuset.cpus': Invalid argument", 0
            )
        self.maps.append(cpu_map)


def test_numbers_have_gaps(cpus: vcpu_affinity.HostCpus) -> None:
    assert (cpus.count, cpus.online) == (160, ONLINE)
    assert cpus.parse("64,66,158", what="pins") == {64, 66, 158}
    assert cpus.text({64, 66, 158}) == "64,66,158"
    assert cpus.text(ONLINE) == "all"


@pytest.mark.parametrize(("version", "expected"), [(2, (True,) * 160), (1, MAP)])
def test_a_free_vcpu_where_cpus_are_offline(
    cpus: vcpu_affinity.HostCpus, version: int, expected: tuple[bool, ...]
) -> None:
    domain = Pinned(version)
    vcpu_affinity.write(FakeLibvirt(), domain, cpus, 0, ONLINE, flags=1)
    assert domain.maps == [expected]


@pytest.mark.parametrize("version", [1, 2])
def test_a_pinned_vcpu_where_cpus_are_offline(cpus: vcpu_affinity.HostCpus, version: int) -> None:
    domain = Pinned(version)
    vcpu_affinity.write(FakeLibvirt(), domain, cpus, 0, frozenset({158}), flags=1)
    assert domain.maps == [tuple(number == 158 for number in range(160))]


@pytest.mark.parametrize("error", [FakeLibvirtError(55), FakeLibvirtError(1, "client socket is closed", 7)])
def test_what_is_refused_for_another_reason_stays_refused(
    cpus: vcpu_affinity.HostCpus, error: FakeLibvirtError
) -> None:
    with pytest.raises(FakeLibvirtError):
        vcpu_affinity.write(t.cast("t.Any", FakeLibvirt()), Pinned(2, error), cpus, 0, ONLINE, flags=1)
