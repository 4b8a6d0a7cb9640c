# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.checked import check, host, refusing, subject
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import Fleet, Host
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirtError

PIN = "<vcpupin vcpu='0' cpuset='{}'/>"
CELLS = (
    "<topology><cells num='1'><cell id='0'><memory unit='KiB'>4194304</memory><cpus num='1'/></cell></cells></topology>"
)
OTHER = "3b2d3d2a-5a0f-4a53-8b6c-0d6d6f2b7a11"
EVERY_THREAD = "it is pinned (vCPU 0, the emulator, I/O thread 1)"
THERE = "kvm2 has the CPUs that it is pinned to"


def test_a_domain_that_may_run_anywhere_is_not_asked_about() -> None:
    assert check(subject(), "pins", host=refusing("getCPUMap", 3)) == []
    assert check(subject(), "numa") == []


@pytest.mark.parametrize(
    ("cputune", "cpus", "ok", "message"),
    [
        (PIN.format("0-3"), (True,) * 4, True, THERE),
        (PIN.format("2-5"), (True,) * 4, False, "it is pinned (vCPU 0) to CPUs which kvm2 does not have: 4-5"),
        (PIN.format("1"), (True, False, True), False, "it is pinned (vCPU 0) to CPUs which kvm2 has offline: 1"),
        (
            PIN.format("1") + "<emulatorpin cpuset='0,3'/><iothreadpin iothread='1' cpuset='4'/>",
            (True, False, True),
            False,
            f"{EVERY_THREAD} to CPUs which kvm2 does not have: 3-4, and which kvm2 has offline: 1",
        ),
    ],
)
def test_the_destination_needs_the_cpus(cputune: str, cpus: tuple[bool, ...], ok: bool, message: str) -> None:
    assert check(subject(cputune=cputune), "pins", host=host(cpus=cpus)) == [(ok, message)]


def test_a_cpuset_for_all_vcpus() -> None:
    of = subject(cpu_set="<vcpu cpuset='6-7'>1</vcpu>")
    ((ok, message),) = check(of, "pins")
    assert ok is False
    assert "every vCPU without a pin of its own" in message


def test_a_destination_that_cannot_be_asked_for_its_cpus() -> None:
    """As Xen."""
    of = subject(cputune=PIN.format("9"))
    assert check(of, "pins", host=refusing("getCPUMap", 3)) == [(None, "kvm2 cannot be asked for its CPUs")]


def beside(cputune: str, name: str = "kvm2", **values: t.Any) -> Host:
    """A host with another domain."""
    fleet = Fleet()
    fleet.add(name, name_="db-1", uuid=OTHER, cputune=cputune, **values)
    return fleet.hosts[name]


SHARED = (False, "vCPU 0 is pinned to CPU 1 alone, and so is a vCPU of db-1 on kvm2")
OURS = "<state><before><pin vcpu='0' cpus='all'/></before></state>"


@pytest.mark.parametrize(
    ("mine", "others", "text", "found"),
    [
        pytest.param("1", "1", None, [(True, THERE), SHARED], id="both alone"),
        pytest.param("1", "2", None, [(True, THERE)], id="another CPU"),
        pytest.param("1", "0-1", None, [(True, THERE)], id="it has others too"),
        pytest.param("0-1", "1", None, [(True, THERE)], id="I have others too"),
        pytest.param("1", "1", OURS, [(True, THERE)], id="pinned by the collection"),
    ],
)
def test_cpus_that_another_domain_has_for_itself(
    mine: str, others: str, text: str | None, found: list[tuple[bool, str]]
) -> None:
    of = subject(cputune=PIN.format(mine))
    assert check(of, "pins", host=beside(PIN.format(others), text=text)) == found


def test_who_shares_a_cpu_already_may_share_one_there() -> None:
    of = subject(cputune=PIN.format("1"))
    found = check(of, "pins", source=beside(PIN.format("1"), "kvm1"), host=beside(PIN.format("1")))
    assert found == [(True, THERE)]


def test_a_domain_that_ends_meanwhile_has_no_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    there = beside(PIN.format("1"))

    def gone(_flags: int) -> t.Any:
        raise FakeLibvirtError(55, "Requested operation is not valid: domain is not running")

    monkeypatch.setattr(there.domains[0], "vcpuPinInfo", gone)
    assert check(subject(cputune=PIN.format("1")), "pins", host=there) == [(True, THERE)]


@pytest.mark.parametrize(
    ("nodes", "mode", "cells", "ok", "message"),
    [
        ("0", "strict", CELLS, True, "kvm2 has the NUMA cells that its memory is bound to"),
        ("0-1", "strict", CELLS, False, "its memory is bound to NUMA cell 1, which kvm2 does not have"),
        ("1", "preferred", CELLS, False, "its memory is bound to NUMA cell 1, which kvm2 does not have"),
        ("1", "strict", "", None, "kvm2 does not tell its NUMA cells"),
    ],
)
def test_the_destination_needs_the_numa_cells(nodes: str, mode: str, cells: str, ok: bool | None, message: str) -> None:
    of = subject(hugepages=f"<numatune><memory mode='{mode}' nodeset='{nodes}'/></numatune>")
    assert check(of, "numa", host=host(cells=cells)) == [(ok, message)]
