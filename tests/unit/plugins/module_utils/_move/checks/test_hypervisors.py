# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._move.checks import hypervisors
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.checked import subject
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import Fleet, Host
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirtError


def connections(*versions: int | None, kind: str = "QEMU") -> list[Connection]:
    """A source and a destination; None = it does not tell its version."""
    fleet = Fleet()
    for host, version in zip(fleet.hosts.values(), versions, strict=True):
        host.kind, host.versions = kind, (version or 0, 9_000_000)
        if version is None:
            host.refuses["getVersion"] = FakeLibvirtError(3)
    return [Connection(fleet, host, f"test://{host.name}/") for host in fleet.hosts.values() if isinstance(host, Host)]


@pytest.mark.parametrize(
    ("versions", "kind", "expected"),
    [
        ((7_002_022, 10_000_002), "QEMU", True),
        ((4_000_000, 4_000_000), "QEMU", True),
        ((3_001_000, 7_002_022), "QEMU", False),
        ((7_002_022, 3_001_000), "QEMU", False),
        ((7_002_022, None), "QEMU", False),
        ((4_017_000, 4_017_000), "Xen", False),
    ],
)
def test_which_qemu_drops_its_cache(versions: tuple[int | None, int | None], kind: str, expected: bool) -> None:
    source, destination = connections(*versions, kind=kind)
    assert hypervisors.drop_cache(source, destination) is expected


UNKNOWN = "it is not known whether QEMU can have post_copy and parallel_connections together"
TOO_OLD = "QEMU {} on {} cannot have post_copy and parallel_connections together, which 10.1 can: leave out one of them"


@pytest.mark.parametrize(
    ("versions", "ok", "message"),
    [
        ((10_001_000, 10_001_000), True, "QEMU can have post_copy and parallel_connections together"),
        ((7_002_022, 10_001_000), False, TOO_OLD.format("7.2.22", "kvm1")),
        ((10_001_000, 9_002_000), False, TOO_OLD.format("9.2.0", "kvm2")),
        # "Postcopy is not yet compatible with multifd", says Debian's.
        ((10_000_013, 10_001_000), False, TOO_OLD.format("10.0.13", "kvm1")),
        ((None, 10_001_000), None, UNKNOWN),
        ((None, 7_002_022), False, TOO_OLD.format("7.2.22", "kvm2")),
    ],
)
def test_post_copy_over_several_connections(
    versions: tuple[int | None, int | None], ok: bool | None, message: str
) -> None:
    source, destination = connections(*versions)
    found = list(hypervisors.check_post_copy(subject(), source, destination, post_copy=True, connections=2))
    assert [(check.name, check.ok, check.message) for check in found] == [("post_copy", ok, message)]


@pytest.mark.parametrize(("version", "ok"), [(9_001_000, False), (10_000_000, None), (10_001_000, True)])
def test_post_copy_over_several_connections_with_red_hats_qemu(version: int, ok: bool | None) -> None:
    source, destination = connections(version, 10_001_000)
    of = subject()
    of = dataclasses.replace(of, live=dataclasses.replace(of.live, machine="pc-q35-rhel9.6.0"))
    (found,) = hypervisors.check_post_copy(of, source, destination, post_copy=True, connections=2)
    assert found.ok is ok


@pytest.mark.parametrize(("post_copy", "number"), [(False, 4), (True, None), (True, 1)])
def test_one_of_both_is_fine_everywhere(post_copy: bool, number: int | None) -> None:
    source, destination = connections(7_002_022, 7_002_022)
    checks = hypervisors.check_post_copy(subject(), source, destination, post_copy=post_copy, connections=number)
    assert list(checks) == []
