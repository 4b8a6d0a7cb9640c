# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import typing as t
import xml.etree.ElementTree as ET

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._move import preflight
from ansible_collections.virtops.balance.plugins.module_utils._move.checks import memory as memory_check
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Known, Subject
from ansible_collections.virtops.balance.plugins.module_utils._observe import procfs
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.checked import (
    NOTHING_SHARED,
    check,
    host,
    refusing,
    subject,
)
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import Fleet, Host
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirtError, fixture

BRIDGE = "<interface type='bridge'><source bridge='{}'/></interface>"
NETWORK = "<interface type='network'><source network='{}'/></interface>"
BRIDGE_OF_NETWORK = "<interface type='bridge'><source network='{}' portid='1' bridge='br7'/></interface>"
GIB_PAGES = "<memoryBacking><hugepages><page size='1' unit='GiB'/></hugepages></memoryBacking>"
CELLS = """
<topology><cells num='1'><cell id='0'><memory unit='KiB'>4194304</memory>
  <pages unit='KiB' size='4'>100</pages>
  <pages unit='KiB' size='2048'>512</pages>
  <pages unit='KiB' size='1048576'>2</pages>
  <cpus num='1'><cpu id='0'/></cpus>
</cell></cells></topology>
"""


def test_a_destination_with_everything_passes() -> None:
    found = preflight.check_destination(
        subject(BRIDGE.format("br0") + NETWORK.format("default")),
        Connection(api=Fleet(), handle=host(), uri="test:///"),
        Connection(api=Fleet(), handle=host(), uri="test://kvm2/"),
        Known(),
        storage=NOTHING_SHARED,
    )

    assert {one.name: one.ok for one in found} == dict.fromkeys(
        ["names_free", "machine", "cpu", "memory", "bridge", "network"], True
    )


@pytest.mark.parametrize(
    ("there", "ok", "message"),
    [
        ({}, True, "free"),
        ({"name_": "web-1"}, True, "free"),
        ({"name_": "other"}, False, "already has a domain with this UUID, named other"),
        ({"uuid": "another"}, False, "already has another domain of this name, with the UUID another"),
    ],
)
def test_names(there: dict[str, str], ok: bool, message: str) -> None:
    fleet = Fleet()
    if there:
        fleet.add("kvm2", now=None, **there)
    ((found, text),) = check(subject(), "names_free", host=fleet.hosts["kvm2"])
    assert found is ok
    assert message in text


@pytest.mark.parametrize(
    ("code", "ok", "message"),
    [
        pytest.param(8, False, "does not offer machine type pc-q35-7.2, domain type kvm: no", id="unknown machine"),
        pytest.param(3, None, "cannot be asked", id="a hypervisor that cannot tell"),
        pytest.param(88, None, "cannot be asked", id="a user who must not ask"),
    ],
)
def test_machine(code: int, ok: bool | None, message: str) -> None:
    ((found, text),) = check(subject(), "machine", host=refusing("getDomainCapabilities", code))
    assert found is ok
    assert message in text


class OtherEmulator(Host):
    """A host that has another emulator than the domain."""

    def getDomainCapabilities(self, emulator: t.Any, *_rest: t.Any) -> str:  # noqa: N802  # libvirt's name
        if emulator is not None:
            raise FakeLibvirtError(8, "no such file")
        return "<domainCapabilities/>"


def test_an_emulator_that_is_not_there_says_nothing_about_the_machine_type() -> None:
    there = OtherEmulator(Fleet(), "kvm2", "uuid-of-kvm2")
    assert check(subject(), "machine", host=there) == []
    ((found, text),) = check(subject(), "emulator", host=there)
    assert found is False
    assert "does not offer machine type pc-q35-7.2, domain type kvm by /usr/bin/qemu: no such" in text


def host_model() -> Subject:
    """A domain whose definition says host-model, with the CPU that it was seen to have while it ran (EPYC)."""
    of = subject(cpu_xml="<cpu mode='host-model' check='partial'/>")
    return dataclasses.replace(of, cpu=ET.fromstring(fixture("cpu_running_host_model.xml")))


# What libvirt did not count as offered where the very same CPU ran.
ADDED = frozenset({"topoext"})
LACKS = "kvm2 cannot offer its CPU: the CPU is incompatible with host CPU: Host CPU does not provide required features:"


@pytest.mark.parametrize(
    ("source", "destination", "ok", "message"),
    [
        pytest.param({}, {}, True, "kvm2 can offer its CPU", id="all is there"),
        pytest.param(ADDED, ADDED, True, "kvm2 can offer its CPU", id="equal hosts, both said to lack what QEMU adds"),
        pytest.param(
            ADDED,
            ADDED | {"x2apic"},
            False,
            f"{LACKS} x2apic",
            id="a feature",
        ),
        pytest.param({}, {"EPYC"}, False, f"{LACKS} EPYC", id="the model"),
        pytest.param({}, {"svm"}, True, "kvm2 can offer its CPU", id="a feature that the domain has not"),
        pytest.param(
            {"EPYC"}, {"EPYC"}, None, "not even kvm1 is said to offer its CPU", id="a model that nobody knows"
        ),
    ],
)
def test_the_cpu_of_the_running_domain_counts(
    source: t.Collection[str], destination: t.Collection[str], ok: bool | None, message: str
) -> None:
    hosts = [
        Host(Fleet(), name, name, lacks=frozenset(lacks)) for name, lacks in (("kvm1", source), ("kvm2", destination))
    ]

    assert check(host_model(), "cpu", source=hosts[0], host=hosts[1]) == [(ok, message)]


@pytest.mark.parametrize("name", ["kvm1", "kvm2"])
def test_a_hypervisor_that_cannot_compare_cpus_refuses_nothing(name: str) -> None:
    hosts = {one: Host(Fleet(), one, one, lacks=ADDED) for one in ("kvm1", "kvm2")}
    hosts[name].refuses["compareHypervisorCPU"] = FakeLibvirtError(3, "no", 10)

    assert check(host_model(), "cpu", source=hosts["kvm1"], host=hosts["kvm2"]) == [
        (None, f"{name} cannot compare CPUs: no")
    ]


def test_a_cpu_that_is_passed_through_cannot_be_compared() -> None:
    ((ok, _text),) = check(subject(cpu_xml="<cpu mode='host-passthrough'/>"), "cpu")
    assert ok is None


@pytest.mark.parametrize(
    "call", ["getDomainCapabilities", "compareHypervisorCPU", "networkLookupByName", "interfaceLookupByName"]
)
def test_a_lost_connection_is_no_answer(call: str) -> None:
    with pytest.raises(FakeLibvirtError):
        check(subject(BRIDGE.format("br0") + NETWORK.format("default")), "none", host=refusing(call, 38, domain=7))


@pytest.mark.parametrize("call", ["networkLookupByName", "interfaceLookupByName"])
def test_a_daemon_beside_that_of_the_hypervisor_is_missing(call: str) -> None:
    missing = FakeLibvirtError(
        38, "Failed to connect socket to '/var/run/libvirt/virt...': No such file or directory", 7
    )
    there = host(refuses={call: missing}, alive=True)
    devices, kind = (NETWORK.format("default"), "network") if "network" in call else (BRIDGE.format("br0"), "bridge")
    ((ok, _text),) = check(subject(devices), kind, host=there)
    assert ok is None


@pytest.mark.parametrize(
    ("memory", "reserve", "ok"),
    [(512, 256, True), (1792, 256, True), (1793, 256, False), (2048, 0, True), (2049, 0, False)],
)
def test_memory_for_its_maximum(memory: int, reserve: int, ok: bool) -> None:
    ((found, _text),) = check(subject(memory=memory), "memory", memory_reserve_mib=reserve)
    assert found is ok


@pytest.mark.parametrize(("memory", "ok"), [(768, True), (769, False)])
def test_memory_on_xen_which_has_no_statistics(memory: int, ok: bool) -> None:
    xen = refusing("getMemoryStats", 3)
    xen.kind = "Xen"
    ((found, _text),) = check(subject(memory=memory), "memory", host=xen)
    assert found is ok


@pytest.mark.parametrize(
    ("cache", "memory", "uri", "ok"),
    [
        # Libvirt says that 2048 of 4096 MiB are available.
        (None, 2048, "test://kvm2/", True),
        (None, 2049, "test://kvm2/", False),
        (1024, 3072, "test://kvm2/", True),
        (1024, 3073, "test://kvm2/", False),
        (9000, 4096, "test://kvm2/", True),
        (9000, 4097, "test://kvm2/", False),
        # The kernel of this very machine is asked itself.
        (1024, 2049, "test:///", False),
    ],
)
def test_what_the_zfs_cache_of_another_machine_would_give_back(
    cache: int | None, memory: int, uri: str, ok: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(procfs, "read_meminfo", lambda **_root: {"MemAvailable": 2048 * 1024})
    monkeypatch.setattr(procfs, "read_arc_reclaimable_kib", lambda **_root: 0)
    of = subject(memory=memory)
    there = Connection(api=Fleet(), handle=host(), uri=uri)
    known = Known(zfs_cache_mib=cache, memory_reserve_mib=0)
    found = memory_check.check_memory(of.live, of.migratable, there, known, host="kvm2")
    assert found.ok is ok


@pytest.mark.parametrize(
    ("shared", "memory", "ok"),
    [(None, 2048, True), (512, 1536, True), (512, 1537, False), (4096, 1024, True), (4096, 1025, False)],
)
def test_shared_memory_is_not_free_though_it_counts_as_cached(shared: int | None, memory: int, ok: bool) -> None:
    """Of 2048 MiB that seem to be available, 1024 are cached."""
    there = host(memory={"total": 4 * 1024**2, "free": 1024**2, "buffers": 0, "cached": 1024**2})
    ((found, _text),) = check(
        subject(memory=memory), "memory", host=there, memory_reserve_mib=0, shared_memory_mib=shared
    )
    assert found is ok


def promising(*domains: tuple[int, int], **values: t.Any) -> Host:
    """A host with 4096 MiB, half of which is available, and domains of this maximum and with so much memory, in MiB."""
    there = host(**values)
    there.statistics = [{"balloon.maximum": most * 1024, "balloon.rss": held * 1024} for most, held in domains]
    return there


@pytest.mark.parametrize(
    ("overcommit", "used", "domains", "ok", "message"),
    [
        pytest.param(1, 100, (), False, "kvm2 has 2048 MiB available; the domain may use 3000 MiB", id="not allowed"),
        # The host itself has 2048 MiB.
        pytest.param(2, 100, (), True, "kvm2 has 2048 MiB available for its 100 MiB", id="once more"),
        pytest.param(2, 1792, (), True, "kvm2 has 2048 MiB available for its 1792 MiB", id="just enough for now"),
        pytest.param(2, 1793, (), False, "kvm2 has 2048 MiB available; the domain holds 1793", id="too much for now"),
        # The others hold 1024 MiB of these and may grow by 2072 MiB, or by one more.
        pytest.param(2, 100, ((3096, 1024), (1072, 0)), True, "kvm2 has 2048 MiB available", id="all that is allowed"),
        pytest.param(
            2,
            100,
            ((3097, 1024), (1072, 0)),
            False,
            "kvm2 has promised 5193 of the 8192 MiB that it may promise (memory_overcommit 2)",
            id="more than is allowed",
        ),
        pytest.param(2, None, (), False, "kvm2 has 2048 MiB available; the domain may use 3000 MiB", id="not known"),
    ],
)
def test_memory_that_is_promised_more_than_once(
    overcommit: float, used: int | None, domains: tuple[tuple[int, int], ...], ok: bool, message: str
) -> None:
    of = dataclasses.replace(subject(memory=3000), used_mib=used)
    ((found, text),) = check(of, "memory", host=promising(*domains), memory_overcommit=overcommit)
    assert found is ok
    assert text.startswith(message)


@pytest.mark.parametrize(
    ("memory", "known", "ok", "about"),
    [
        # 2048 MiB are available, of which 256 must remain.
        (1792, {}, True, 1792),
        (1793, {}, False, 1792),
        (1793, {"room_mib": 1}, True, 1792),
        (1792, {"room_mib": -1}, False, 1792),
        # The host itself has 2048 of 8192 MiB that may be promised.
        (6144, {"memory_overcommit": 2}, True, 6144),
        (6144, {"memory_overcommit": 2, "room_mib": -1}, False, 6144),
        (6145, {"memory_overcommit": 2, "room_mib": 1}, True, 6144),
        # What comes may grow to 3000 MiB, and need not have them now.
        (3000, {"memory_overcommit": 2, "room_mib": -3000}, True, 6144),
    ],
)
def test_what_other_moves_free_counts_and_the_figure_leaves_it_out(
    memory: int, known: dict[str, t.Any], ok: bool, about: int
) -> None:
    of = dataclasses.replace(subject(memory=memory), used_mib=100)
    there = Connection(api=Fleet(), handle=promising(), uri="test://kvm2/")
    found = memory_check.check_memory(of.live, of.migratable, there, Known(**known), host="kvm2", used_mib=100)
    assert (found.ok, found.about) == (ok, about)


def test_a_figure_that_holds_for_one_domain_alone_is_not_told() -> None:
    of = subject(memory=1024, hugepages=GIB_PAGES)
    there = Connection(api=Fleet(), handle=host(cells=CELLS, pages={0: {2048: 512, 1048576: 2}}), uri="test://kvm2/")
    huge = memory_check.check_memory(of.live, of.migratable, there, Known(), host="kvm2")
    of = subject(memory=100)
    unknown = memory_check.check_memory(of.live, of.migratable, there, Known(memory_overcommit=2), host="kvm2")
    assert [(one.ok, one.about) for one in (huge, unknown)] == [(True, None), (True, None)]


@pytest.mark.parametrize(
    "there",
    [
        pytest.param({"cells": CELLS, "pages": {0: {2048: 512, 1048576: 2}}}, id="some domains may be in huge pages"),
        pytest.param({"kind": "Xen"}, id="Xen"),
        pytest.param({"refuses": {"getAllDomainStats": FakeLibvirtError(3)}}, id="not known"),
    ],
)
def test_where_the_promises_are_not_known_the_maximum_counts(there: dict[str, t.Any]) -> None:
    of = dataclasses.replace(subject(memory=3000), used_mib=100)
    ((found, _text),) = check(of, "memory", host=promising(**there), memory_overcommit=2)
    assert found is False


def test_memory_that_is_not_known_does_not_pass() -> None:
    silent = host(refuses={call: FakeLibvirtError(3) for call in ("getMemoryStats", "getFreeMemory")})
    ((ok, text),) = check(subject(), "memory", host=silent)
    assert ok is False
    assert "does not say" in text


@pytest.mark.parametrize(
    ("hugepages", "memory", "free", "ok"),
    [
        ("<memoryBacking><hugepages/></memoryBacking>", 512, {2048: 256, 1048576: 0}, True),
        ("<memoryBacking><hugepages/></memoryBacking>", 514, {2048: 256, 1048576: 2}, False),
        (GIB_PAGES, 2048, {2048: 0, 1048576: 2}, True),
        (GIB_PAGES, 2049, {2048: 512, 1048576: 2}, False),
    ],
)
def test_huge_pages(hugepages: str, memory: int, free: dict[int, int], ok: bool) -> None:
    of = subject(memory=memory, hugepages=hugepages)
    ((found, _text),) = check(of, "memory", host=host(cells=CELLS, pages={0: free}))
    assert found is ok


NO_GIB_PAGES = "kvm2 has no huge pages of 1048576 KiB, only of 2048 KiB"


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("", "kvm2 does not say how many huge pages it has"),
        (
            CELLS.replace("<pages unit='KiB' size='1048576'>2</pages>", ""),
            "kvm2 has no huge pages of 1048576 KiB, only of 2048 KiB",
        ),
        (CELLS.replace(">2</pages>", ">0</pages>"), "kvm2 has no huge pages of 1048576 KiB, only of 2048 KiB"),
    ],
)
def test_a_size_of_pages_that_the_destination_does_not_have(cells: str, message: str) -> None:
    of = subject(memory=1024, hugepages=GIB_PAGES)
    assert check(of, "memory", host=host(cells=cells, pages={0: {2048: 512}})) == [(False, message)]


# A guest of two cells of 512 MiB each and what is said about their pages.
TWO_CELLS = (
    "<memoryBacking><hugepages>{pages}</hugepages></memoryBacking><cpu><numa>"
    "<cell id='0' cpus='0' memory='524288' unit='KiB'/><cell id='1' cpus='1' memory='1048576' unit='KiB'/></numa></cpu>"
)
SMALL = "<page size='2048' unit='KiB' nodeset='0'/>"
LARGE = "<page size='1048576' unit='KiB' nodeset='1'/>"


@pytest.mark.parametrize(
    ("pages", "free", "reserve", "ok"),
    [
        (SMALL + LARGE, {2048: 256, 1048576: 1}, 0, True),
        (SMALL + LARGE, {2048: 255, 1048576: 1}, 0, False),
        (SMALL + LARGE, {2048: 512, 1048576: 0}, 0, False),
        # The rest of the guest: the size that is named for no cell, or ordinary pages.
        (SMALL + "<page size='1' unit='G'/>", {2048: 256, 1048576: 1}, 0, True),
        (SMALL + "<page size='1' unit='G'/>", {2048: 256, 1048576: 0}, 0, False),
        (SMALL, {2048: 256, 1048576: 0}, 1024, True),
        (SMALL, {2048: 256, 1048576: 0}, 1025, False),
        ("", {2048: 768, 1048576: 0}, 0, True),
        ("", {2048: 767, 1048576: 1}, 0, False),
    ],
)
def test_huge_pages_of_both_sizes(pages: str, free: dict[int, int], reserve: int, ok: bool) -> None:
    of = subject(memory=1536, hugepages=TWO_CELLS.format(pages=pages), cpu_xml="")
    ((found, _text),) = check(of, "memory", host=host(cells=CELLS, pages={0: free}), memory_reserve_mib=reserve)
    assert found is ok


@pytest.mark.parametrize(
    ("devices", "kind", "answers"),
    [
        (BRIDGE.format("br0"), "bridge", [True]),
        (BRIDGE.format("br9"), "bridge", [False]),
        (BRIDGE.format("br0") * 2, "bridge", [True]),
        (NETWORK.format("default"), "network", [True]),
        (NETWORK.format("other"), "network", [False]),
        (NETWORK.format("off-default"), "network", [False]),
        ("<interface type='user'/>", "bridge", []),
        # As a running domain shows a network that stands for a bridge of the host (forward mode='bridge').
        (BRIDGE_OF_NETWORK.format("default"), "network", [True]),
        (BRIDGE_OF_NETWORK.format("default"), "bridge", []),
        (BRIDGE_OF_NETWORK.format("other"), "network", [False]),
    ],
)
def test_networks(devices: str, kind: str, answers: list[bool]) -> None:
    assert [ok for ok, _text in check(subject(devices), kind)] == answers


@pytest.mark.parametrize(
    ("name", "observed", "ok", "message"),
    [
        ("br0", None, None, "kvm2 cannot be asked for its bridges"),
        ("br0", ["br0", "br1"], True, "kvm2 was observed with the bridge br0"),
        ("br0", ["br1"], False, "kvm2 was observed without a bridge br0"),
        ("br0", [], False, "kvm2 was observed without a bridge br0"),
        ("virbr-default", None, True, "kvm2 has the bridge virbr-default"),
        ("virbr-default", [], True, "kvm2 has the bridge virbr-default"),
    ],
)
def test_bridges_without_the_driver_for_interfaces(
    name: str, observed: list[str] | None, ok: bool | None, message: str
) -> None:
    """As Debian 13 is installed: libvirt 11.3 without libvirt-daemon-driver-interface."""
    there = refusing(
        "interfaceLookupByName",
        3,
        "this function is not supported by the connection driver: virInterfaceLookupByName",
    )
    assert check(subject(BRIDGE.format(name)), "bridge", host=there, bridges=observed) == [(ok, message)]


def test_the_kernel_tells_the_bridges_of_this_very_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "read_bridges", lambda **_root: ["br0"])
    destination = Connection(api=Fleet(), handle=refusing("interfaceLookupByName", 3), uri="test:///")
    found = preflight.check_destination(
        subject(BRIDGE.format("br0") + BRIDGE.format("br9")),
        destination,
        destination,
        Known(bridges=["br9"]),
        storage=NOTHING_SHARED,
    )
    assert [(one.ok, one.message) for one in found if one.name == "bridge"] == [
        (True, "kvm2 has the bridge br0"),
        (False, "kvm2 has no bridge br9"),
    ]


def test_libvirts_own_answer_counts_more_than_an_observation() -> None:
    assert check(subject(BRIDGE.format("br0")), "bridge", bridges=[]) == [(True, "kvm2 has the bridge br0")]


@pytest.mark.parametrize("call", ["networkLookupByName", "interfaceLookupByName"])
def test_networks_that_cannot_be_asked_for(call: str) -> None:
    devices, kind = (NETWORK.format("default"), "network") if "network" in call else (BRIDGE.format("br0"), "bridge")
    ((ok, _text),) = check(subject(devices), kind, host=refusing(call, 3))
    assert ok is None
