# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import json
import os
import pathlib
import threading
import types
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError, DeadlineError
from ansible_collections.virtops.balance.plugins.module_utils._history import store as _store
from ansible_collections.virtops.balance.plugins.module_utils._observe import host as observed_host
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts, power_meter, sampler
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import (
    GIB,
    FakeConnection,
    FakeDomain,
    FakeLibvirt,
    FakeLibvirtError,
    Named,
    fixture,
)

NOW = 1_769_860_800.0
SECOND = 1_000_000_000


class FakeClock:
    """A clock on which only sleeping takes time."""

    def __init__(self) -> None:
        self.time = 100.0

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def clock(self) -> observed_host.Clock:
        return observed_host.Clock(now=lambda: NOW, monotonic=self.monotonic, sleep=self.sleep)


def stats(cpu: float = 0, *, ran: float = 0, waited: float = 0, **more: t.Any) -> dict[str, t.Any]:
    return {
        "state.state": 1,
        "state.reason": 1,
        "cpu.time": int(cpu * SECOND),
        "balloon.current": 98304,
        "balloon.maximum": 98304,
        "balloon.available": 62016,
        "balloon.usable": 39260,
        "balloon.last-update": int(NOW) - 1,
        "balloon.rss": 217280,
        "vcpu.current": 1,
        "vcpu.maximum": 1,
        "vcpu.0.state": 1,
        "vcpu.0.time": int(ran * SECOND),
        "vcpu.0.delay": int(waited * SECOND),
        **more,
    }


def held(**more: t.Any) -> dict[str, t.Any]:
    """What NOWAIT leaves of a domain that something else holds."""
    kept = ("state.", "cpu.", "vcpu.", "balloon.current", "balloon.maximum")
    return {**{key: value for key, value in stats().items() if key.startswith(kept)}, **more}


def domain(name: str, *samples: dict[str, t.Any] | None, **options: t.Any) -> FakeDomain:
    return FakeDomain(name, f"uuid-{name}", stats=samples or (stats(),), **options)


def observe(
    fake: FakeConnection, root: pathlib.Path, *, uri: str = "qemu:///system", interval: float = 5
) -> dict[str, t.Any]:
    observation = observed_host.observe(
        Connection(FakeLibvirt(fake), fake, uri),
        interval=interval,
        shared_paths=["/srv/images"],
        clock=FakeClock().clock(),
        root=str(root),
    )
    json.dumps(observation)
    return observation


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """A host's /proc and /sys."""
    for path, text in {
        "proc/stat": "cpu  1\ncpu0 1\n",
        "proc/meminfo": "MemAvailable: 3145728 kB\nSwapTotal: 4096 kB\nSwapFree: 1024 kB\n",
        "proc/pressure/cpu": "some avg10=0.00 avg60=2.00 avg300=0.00 total=0\n",
        "proc/self/mountinfo": "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n",
        "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
        "sys/class/net/br0/bridge/bridge_id": "",
        "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "3700000\n",
    }.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return tmp_path


def test_host(root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = (
        "<pool type='dir'><capacity>{}</capacity><available>{}</available>"
        "<target><path>/srv/images</path></target></pool>"
    )
    fake = FakeConnection(
        pools=([Named("images", images.format(8 * GIB, 4 * GIB), "uuid-pool")], [Named("off", "<pool type='dir'/>")])
    )
    monkeypatch.setattr(os, "statvfs", lambda _path: types.SimpleNamespace(f_fsid=17712732303371485611))
    observation = observe(fake, root)
    assert {
        key: observation[key] for key in ("schema", "taken_at", "interval_seconds", "domains", "inactive_domains")
    } == {
        "schema": 1,
        "taken_at": "2026-01-31T12:00:00Z",
        "interval_seconds": 5.0,
        "domains": [],
        "inactive_domains": [],
    }
    assert observation["host"] == {
        "hostname": "kvm1",
        "uuid": "df686e8e-a0b8-54ba-bc2a-9ae8669e3718",
        "hypervisor": {"type": "QEMU", "version": "7.2.22"},
        "libvirt_version": "9.0.0",
        "cgroup_version": 2,
        "cpu": {
            "arch": "x86_64",
            "model": "kvm64",
            "vendor": "AMD",
            "features": ["aes", "avx2", "hypervisor"],
            "usable_models": ["Nehalem", "qemu64"],
            "threads": 1,
            "mhz": 2445,
            "max_mhz": 3700,
            "usage": 0.4,
            "iowait": 0.05,
            "pressure": 0.02,
        },
        "memory": {
            "total_mib": 4096,
            "available_mib": 3072,
            "swap_used_mib": 3,
            "zfs_cache_mib": 0,
            "shared_mib": None,
            "pressure": None,
            "hugepages": [],
        },
        "numa": [{"id": 0, "total_mib": 7130, "free_mib": 1024, "cpus": [0, 1]}],
        "networks": [{"name": "lab", "bridge": "br0", "active": True}],
        "bridges": ["br0"],
        "storage_pools": [
            {
                "name": "images",
                "uuid": "uuid-pool",
                "type": "dir",
                "path": "/srv/images",
                "active": True,
                "shared": True,
                "total_mib": 8192,
                "available_mib": 4096,
            },
            {
                "name": "off",
                "uuid": "00000000-0000-0000-0000-000000000001",
                "type": "dir",
                "path": None,
                "active": False,
                "shared": None,
                "total_mib": None,
                "available_mib": None,
            },
        ],
        "mounts": [
            {
                "path": "/srv/images",
                "type": "ext4",
                "source": "/dev/vda1",
                "root": "/srv/images",
                "identity": "17712732303371485611",
            }
        ],
        "machine_types": {"i686": ["pc-i440fx-7.2", "pc-q35-7.2"], "x86_64": ["pc-i440fx-7.2", "pc-q35-7.2"]},
        "domain_types": ["kvm", "qemu"],
        "power": {"watts": None, "source": None, "cpu_watts": None, "cpu_source": None},
        "marks": {
            "uneven_rounds": 0,
            "idle_rounds": 0,
            "detection": None,
            "asleep": {},
            "inside": {},
            "refusals": [],
            "drained": None,
            "maintained": None,
        },
        "marks_problem": None,
        "interrupted_restarts": [],
        "history": None,
        "history_problem": None,
    }


def test_host_of_another_machine_does_not_show_this_one(root: pathlib.Path) -> None:
    interfaces = [Named("br1", "<interface type='bridge'/>"), Named("eth0", "<interface type='ethernet'/>")]
    fake = FakeConnection(domains=[domain("web-1")], interfaces=interfaces)
    observation = observe(fake, root, uri="qemu+ssh://kvm1/system")
    host = observation["host"]
    assert (host["cpu"]["threads"], host["cpu"]["pressure"], host["cgroup_version"]) == (2, None, None)
    assert host["cpu"]["max_mhz"] is None
    assert host["memory"]["available_mib"] == 1024 + 1 + 2
    assert host["memory"]["swap_used_mib"] is None
    assert host["bridges"] == ["br0", "br1"]
    assert observation["domains"][0]["weight"] is None


def test_tap_devices_are_not_asked_whether_they_are_bridges(root: pathlib.Path) -> None:
    class Tap(Named):
        def XMLDesc(self, _flags: int = 0) -> t.NoReturn:  # noqa: N802
            pytest.fail("asked")

    observe(FakeConnection(interfaces=[Tap("vnet0", "")]), root, uri="qemu+ssh://kvm1/system")


def test_domain(root: pathlib.Path) -> None:
    fake = FakeConnection(domains=[domain("web-1", stats(10, ran=9, waited=1), stats(12.5, ran=11, waited=2))])
    assert observe(fake, root)["domains"] == [
        {
            "uuid": "uuid-web-1",
            "name": "web-1",
            "state": "running",
            "reason": "booted",
            "persistent": True,
            "type": "qemu",
            "arch": "x86_64",
            "machine": "pc-q35-7.2",
            "vcpus": 1,
            "cpu_cores": 0.5,
            "cpu_ready": 0.331,  # Ran for 2 s, or 0.02 s more, and waited for 1 s.
            "memory": {
                "maximum_mib": 96,
                "current_mib": 96,
                "rss_mib": 212,
                "usable_mib": 38,
                "available_mib": 60,
                "fresh": True,
            },
            "disks": [
                {
                    "target": "vda",
                    "device": "disk",
                    "type": "file",
                    "source": "/srv/images/web-1.qcow2",
                    "shared": True,
                    "readonly": False,
                }
            ],
            "interfaces": [{"type": "bridge", "source": "br0", "mac": "52:54:00:c2:60:7c"}],
            "cpu": {"mode": "custom", "model": "qemu64", "features": ["hypervisor", "lahf_lm"], "disabled": []},
            "weight": 20.48,
            "cap": 50,
            "pins": {"0": [0]},
            "hugepages": False,
            "hugepage_sizes": [],
            "secrets": [],
            "bound": {"cpus": [0], "cells": []},
            "tags": ["web"],
            "allocation": None,
            "last_moved_at": None,
            "unfinished_move": None,
            "job": None,
            "blockers": [],
            "history": None,
        }
    ]


@pytest.mark.parametrize("count", [0, 1, 100])
def test_calls_to_the_daemon(root: pathlib.Path, count: int) -> None:
    """The statistics are two calls whatever the number of domains; only the definition and the job are per domain."""
    domains = [domain(f"d{number}") for number in range(count)]
    fake = FakeConnection(domains=[*domains, domain("off", active=False)])
    observation = observe(fake, root)
    assert len(observation["domains"]) == count
    # STATE, CPU_TOTAL, BALLOON and VCPU; ACTIVE and NOWAIT
    assert fake.stats_arguments == [(1 | 2 | 4 | 8, 1 | 1 << 29)] * 2
    assert fake.calls["listAllDomains"] == 3
    assert fake.calls["getCPUStats"] == 2
    assert all(found.calls == {"XMLDesc": 1, "jobStats": 1} for found in domains)


def test_one_sample_has_no_rates(root: pathlib.Path) -> None:
    fake = FakeConnection(domains=[domain("web-1", stats(1, ran=1))])
    observation = observe(fake, root, interval=0)
    assert fake.calls["getAllDomainStats"] == 1
    assert observation["interval_seconds"] == 0
    assert observation["host"]["cpu"]["usage"] is None
    assert (observation["domains"][0]["cpu_cores"], observation["domains"][0]["cpu_ready"]) == (None, None)
    assert observation["domains"][0]["memory"]["usable_mib"] == 38


def test_domains_that_come_and_go(root: pathlib.Path) -> None:
    fake = FakeConnection(
        domains=[
            domain("stays", stats(1), stats(2)),
            domain("ends", stats(), None),
            domain("comes", None, stats(7, ran=7)),
            domain("vanishes-later", xml=t.cast("t.Any", FakeLibvirtError(42))),
            domain("vanishes-last", job=t.cast("t.Any", FakeLibvirtError(42))),
        ]
    )
    found = observe(fake, root)["domains"]
    assert [(entry["name"], entry["cpu_cores"]) for entry in found] == [("comes", None), ("stays", 0.2)]
    assert found[0]["cpu_ready"] is None


@pytest.mark.parametrize("reason", [2, 11, 12])
@pytest.mark.parametrize(
    ("now", "told"), [((1, 1), ("running", "booted")), ((3, 2), ("paused", "migration")), ((3, 1), ("paused", "user"))]
)
def test_what_was_under_way_in_the_sample_does_not_look_as_if_it_had_been_left(
    root: pathlib.Path, reason: int, now: tuple[int, int], told: tuple[str, str]
) -> None:
    web = domain("web-1", stats(**{"state.state": 3, "state.reason": reason}), now=now)
    (entry,) = observe(FakeConnection(domains=[web]), root)["domains"]
    assert (entry["state"], entry["reason"]) == told


def test_what_has_left_since_the_sample_is_left_out(root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web = domain("web-1", stats(**{"state.state": 3, "state.reason": 2}))
    monkeypatch.setattr(web, "isActive", lambda: False)
    assert observe(FakeConnection(domains=[web]), root)["domains"] == []


def test_a_frozen_qemu(root: pathlib.Path) -> None:
    web = domain("web-1", held())
    entry = observe(FakeConnection(domains=[web]), root)["domains"][0]
    assert web.calls["jobStats"] == 0
    assert entry["job"] == {
        "operation": "unknown",
        "elapsed_seconds": None,
        "remaining_mib": None,
        "dirty_mib_s": None,
    }
    assert [found["code"] for found in entry["blockers"]] == ["job"]
    assert entry["memory"] == {
        "maximum_mib": 96,
        "current_mib": 96,
        "rss_mib": None,
        "usable_mib": None,
        "available_mib": None,
        "fresh": None,
    }


NEEDY = """
<domain type='kvm' id='3'>
  <name>db-1</name>
  <memory unit='KiB'>3145728</memory>
  <memoryBacking><hugepages>
    <page size='2048' unit='KiB' nodeset='0'/><page size='1048576' unit='KiB' nodeset='1'/>
  </hugepages></memoryBacking>
  <vcpu placement='static' cpuset='0-1'>2</vcpu>
  <cputune><vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='0-1'/><iothreadpin iothread='1' cpuset='4'/></cputune>
  <numatune><memory mode='strict' nodeset='0-1'/></numatune>
  <cpu><numa>
    <cell id='0' cpus='0' memory='1048576' unit='KiB'/><cell id='1' cpus='1' memory='2097152' unit='KiB'/>
  </numa></cpu>
  <devices>
    <disk type='network' device='disk'>
      <auth username='libvirt'><secret type='ceph' usage='client.libvirt secret'/></auth>
      <source protocol='rbd' name='pool/db-1' index='1'><host name='ceph1' port='6789'/></source>
      <target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>
"""


def test_what_a_domain_needs_of_a_host(root: pathlib.Path) -> None:
    fake = FakeConnection(domains=[domain("db-1", xml=NEEDY), domain("on-its-way", xml=FakeLibvirtError(9))])
    needy, unknown = observe(fake, root)["domains"]
    assert needy["hugepage_sizes"] == [{"size_kib": 2048, "mib": 1024}, {"size_kib": 1048576, "mib": 2048}]
    assert needy["secrets"] == ["client.libvirt secret (ceph)"]
    # The host has the CPUs 0 and 1: what may run on both is free.
    assert needy["bound"] == {"cpus": [1, 4], "cells": [0, 1]}
    assert [unknown[key] for key in ("hugepage_sizes", "secrets", "bound")] == [None, None, None]
    # Once for all domains.
    assert fake.calls["getCPUMap"] == 1


def test_a_domain_without_a_balloon_device(root: pathlib.Path) -> None:
    web = domain(
        "web-1",
        {key: value for key, value in stats().items() if key in ("state.state", "balloon.maximum", "balloon.rss")},
    )
    entry = observe(FakeConnection(domains=[web]), root)["domains"][0]
    assert web.calls["jobStats"] == 1
    assert (entry["memory"]["rss_mib"], entry["memory"]["fresh"]) == (212, None)


def test_the_destination_of_a_migration(root: pathlib.Path) -> None:
    incoming = held(**{"state.state": 3, "state.reason": 2})
    fake = FakeConnection(domains=[domain("web-1", incoming, job=t.cast("t.Any", FakeLibvirtError(84)))])
    entry = observe(fake, root)["domains"][0]
    assert entry["job"]["operation"] == "migration_in"
    assert [found["code"] for found in entry["blockers"]] == ["job", "not_running"]


@pytest.mark.parametrize(
    ("version", "samples", "asked"),
    [
        (9_000_000, held(), True),
        (11_003_000, held(), False),
        (11_003_000, stats(), True),
        (11_005_000, held(), True),
    ],
)
def test_definition_that_would_take_30_seconds(
    root: pathlib.Path, version: int, samples: dict[str, t.Any], asked: bool
) -> None:
    web = domain("web-1", samples)
    entry = observe(FakeConnection(domains=[web], getLibVersion=version), root)["domains"][0]
    assert bool(web.calls["XMLDesc"]) is asked
    assert (entry["disks"] is not None) is asked


@pytest.mark.parametrize("xml", [FakeLibvirtError(68), "<domain"])
def test_without_a_definition(root: pathlib.Path, xml: t.Any) -> None:
    entry = observe(FakeConnection(domains=[domain("web-1", xml=xml)]), root)["domains"][0]
    unknown = ("type", "machine", "disks", "interfaces", "cpu", "weight", "cap", "pins", "tags", "last_moved_at")
    assert [entry[key] for key in unknown] == [None] * len(unknown)
    assert [found["code"] for found in entry["blockers"]] == ["unknown_storage"]


def test_what_lists_tell(root: pathlib.Path) -> None:
    fake = FakeConnection(
        domains=[
            domain("b", persistent=False),
            domain("a", snapshot=True),
            domain("old-2", active=False),
            domain("old-1", active=False),
        ]
    )
    observation = observe(fake, root)
    assert [(entry["name"], entry["persistent"]) for entry in observation["domains"]] == [("a", True), ("b", False)]
    assert [[found["code"] for found in entry["blockers"]] for entry in observation["domains"]] == [["snapshot"], []]
    assert observation["inactive_domains"] == [
        {"uuid": "uuid-old-1", "name": "old-1"},
        {"uuid": "uuid-old-2", "name": "old-2"},
    ]


NOTE = '<state><move source="kvm1" destination="kvm2" started_at="2026-01-31T12:00:00Z"{}/></state>'


def test_restarts_that_were_interrupted(root: pathlib.Path) -> None:
    fake = FakeConnection(
        domains=[
            domain("on", metadata=NOTE.format(' restart="true"')),
            domain("off", active=False, metadata=NOTE.format(' restart="true"')),
            domain("gone", active=False, metadata=FakeLibvirtError(42)),
            domain("moved", active=False, metadata=NOTE.format("")),
            domain("old", active=False),
        ]
    )
    assert observe(fake, root)["host"]["interrupted_restarts"] == [
        {
            "uuid": "uuid-off",
            "name": "off",
            "source": "kvm1",
            "destination": "kvm2",
            "started_at": "2026-01-31T12:00:00Z",
        }
    ]


def test_notes_that_cannot_be_read_are_not_none(root: pathlib.Path) -> None:
    fake = FakeConnection(domains=[domain("off", active=False, metadata=FakeLibvirtError(38))])
    assert observe(fake, root)["host"]["interrupted_restarts"] is None


def test_a_hypervisor_that_answers_almost_nothing(tmp_path: pathlib.Path) -> None:
    """Like libvirt's test driver, and like an access rule that forbids everything."""
    refused = FakeLibvirtError(3)
    answers: dict[str, t.Any] = dict.fromkeys(FakeConnection().answers, refused)
    fake = FakeConnection(
        domains=[domain("web-1", {"state.state": 1, "state.reason": 0}, job=t.cast("t.Any", refused))], **answers
    )
    observation = observe(fake, tmp_path, uri="qemu+ssh://kvm1/system")
    host = observation["host"]
    known = {"hypervisor", "cpu", "memory", "power", "interrupted_restarts"}
    assert {key for key, value in host.items() if value is not None} == known
    for part in ("cpu", "memory"):
        assert set(host[part].values()) == {None}
    entry = observation["domains"][0]
    assert (entry["job"], entry["cpu_cores"], entry["memory"]["rss_mib"]) == (None, None, None)


def test_a_connection_that_breaks_is_no_observation(root: pathlib.Path) -> None:
    with pytest.raises(FakeLibvirtError):
        observe(FakeConnection(getHostname=FakeLibvirtError(1, "client socket is closed", 7)), root)


# As virtqemud hands it on, its own connection being fine (src/remote/remote_daemon_dispatch.c, remoteOpenConn).
NO_OTHER_DAEMON = "Failed to connect socket to '/var/run/libvirt/{}-sock-ro': No such file or directory"


@pytest.mark.parametrize(
    ("answer", "daemon", "unknown"),
    [
        ("interfaces", "virtinterfaced", {"bridges"}),
        ("networks", "virtnetworkd", {"networks", "bridges"}),
        ("pools", "virtstoraged", {"storage_pools"}),
    ],
)
def test_a_daemon_beside_that_of_the_hypervisor_is_missing(
    tmp_path: pathlib.Path, answer: str, daemon: str, unknown: set[str]
) -> None:
    missing = FakeLibvirtError(38, NO_OTHER_DAEMON.format(daemon), 7)
    whole = observe(FakeConnection(), tmp_path, uri="qemu+ssh://kvm1/system")["host"]
    answers: dict[str, t.Any] = {answer: missing, "isAlive": 1}
    fake = FakeConnection(**answers)
    host = observe(fake, tmp_path, uri="qemu+ssh://kvm1/system")["host"]
    assert {key for key, value in host.items() if value != whole[key]} == unknown
    assert {host[key] for key in unknown} == {None}


def test_odd_names_are_data(root: pathlib.Path) -> None:
    name = '"; rm -rf / #{{ 1 }}\n<x>'
    assert observe(FakeConnection(domains=[domain(name)]), root)["domains"][0]["name"] == name


def test_hugepages(root: pathlib.Path) -> None:
    text = fixture("capabilities_qemu.xml").replace("size='2048'>0<", "size='2048'>512<")
    fake = FakeConnection(getCapabilities=text, getFreePages={0: {2048: 12}})
    assert observe(fake, root)["host"]["memory"]["hugepages"] == [{"size_kib": 2048, "total": 512, "free": 12}]


# A CPU that is offline has no other attributes; the third cell has no CPUs and no pages of 1 GiB; there is no cell 1.
CELL = """<cell id='{id}'><memory unit='KiB'>4194304</memory>
  <pages unit='KiB' size='4'>100</pages>
  <pages unit='KiB' size='2048'>512</pages>
  <pages unit='KiB' size='1048576'>{gigantic}</pages>
  <cpus num='{count}'>{cpus}</cpus></cell>"""
CELLS = [
    CELL.format(
        id=0, gigantic=1, count=2, cpus="<cpu id='0' socket_id='0' core_id='0' siblings='0,96'/><cpu id='96'/>"
    ),
    CELL.format(id=2, gigantic=1, count=1, cpus="<cpu id='130' socket_id='1' core_id='0' siblings='130'/>"),
    CELL.format(id=3, gigantic=0, count=0, cpus=""),
]


def test_cells_with_gaps_in_their_numbers_and_without_cpus(root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = fixture("capabilities_qemu.xml")
    begin, end = text.index("<cells"), text.index("</cells>")
    fake = FakeConnection(
        getCapabilities=f"{text[:begin]}<cells num='3'>{''.join(CELLS)}{text[end:]}",
        getCellsFreeMemory=[GIB, 0, 2 * GIB, 3 * GIB],
    )
    free = {0: 10, 2: 20, 3: 30}

    def free_pages(sizes: list[int], first: int, count: int, _flags: int) -> dict[int, dict[int, int]]:
        if any(number not in free for number in range(first, first + count)):
            raise FakeLibvirtError(1, "internal error: Unable to query page size")
        if 1048576 in sizes and first + count > 3:
            raise FakeLibvirtError(1, "operation failed: page size 1048576 is not available on node 3")
        return {number: dict.fromkeys(sizes, free[number]) for number in range(first, first + count)}

    monkeypatch.setattr(fake, "getFreePages", free_pages, raising=False)
    host = observe(fake, root)["host"]

    assert host["memory"]["hugepages"] == [
        {"size_kib": 2048, "total": 1536, "free": 60},
        {"size_kib": 1048576, "total": 2, "free": 30},
    ]
    assert [(cell["id"], cell["free_mib"], cell["cpus"]) for cell in host["numa"]] == [
        (0, 1024, [0, 96]),
        (2, 2048, [130]),
        (3, 3072, []),
    ]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({}, ["Nehalem", "qemu64"]),
        ({"compareCPU": FakeLibvirtError(3)}, None),
        ({"compareCPU": [2, -1]}, None),
        ({"getCPUModelNames": []}, None),
    ],
)
def test_usable_models(answers: dict[str, t.Any], expected: list[str] | None) -> None:
    fake = FakeConnection(**answers)
    connection = Connection(FakeLibvirt(fake), fake, "qemu:///system")
    assert host_facts.read_usable_models(connection, "x86_64") == expected


def test_usable_models_of_a_slow_daemon_are_not_known() -> None:
    fake = FakeConnection()
    ticks = itertools.count(0, 2)
    connection = Connection(FakeLibvirt(fake), fake, "qemu:///system")
    assert host_facts.read_usable_models(connection, "x86_64", monotonic=lambda: float(next(ticks))) is None


def test_zfs_gives_back_its_cache(root: pathlib.Path) -> None:
    arc = root / "proc/spl/kstat/zfs/arcstats"
    arc.parent.mkdir(parents=True)
    arc.write_text(f"c_min 4 {GIB}\nsize 4 {GIB + GIB // 2}\n", encoding="utf-8")
    memory = observe(FakeConnection(), root)["host"]["memory"]
    assert (memory["available_mib"], memory["zfs_cache_mib"]) == (3072 + 512, 512)
    arc.write_text(f"c_min 4 {GIB}\nsize 4 {9 * GIB}\n", encoding="utf-8")
    assert observe(FakeConnection(), root)["host"]["memory"]["available_mib"] == 4096


def test_shared_memory(root: pathlib.Path) -> None:
    with (root / "proc/meminfo").open("a", encoding="utf-8") as meminfo:
        meminfo.write("Shmem:            12345 kB\n")
    assert observe(FakeConnection(), root)["host"]["memory"]["shared_mib"] == 12


def test_libvirt_that_estimates_itself(tmp_path: pathlib.Path) -> None:
    fake = FakeConnection(getMemoryStats={"total": 4194304, "free": 1, "available": 2097152})
    assert observe(fake, tmp_path)["host"]["memory"]["available_mib"] == 2048


@pytest.mark.parametrize("interval", [-1, 3601, float("nan"), float("inf")])
def test_interval_that_makes_no_sense(interval: float) -> None:
    with pytest.raises(BalanceError, match="interval must be from 0 to 3600 seconds"):
        observed_host.check_options(interval=interval, shared_paths=[])


def test_shared_paths_are_absolute() -> None:
    observed_host.check_options(interval=0, shared_paths=["/srv/images"])
    with pytest.raises(BalanceError, match="shared_paths must be absolute paths, but one is 'srv'"):
        observed_host.check_options(interval=0, shared_paths=["/srv/images", "srv"])


def test_a_second_attempt_gets_past_a_frozen_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first to ask waits for ever. The domain is then held, and the next to ask gets an answer."""
    thawed = threading.Event()

    class Frozen(FakeConnection):
        def getAllDomainStats(self, groups: int, flags: int) -> list[tuple[FakeDomain, dict[str, t.Any]]]:  # noqa: N802
            if not self.calls["getAllDomainStats"]:
                self.calls["getAllDomainStats"] += 1
                thawed.wait()
            return super().getAllDomainStats(groups, flags)

    monkeypatch.setattr(sampler, "STATS_TIMEOUT_SECONDS", 0.01)
    api = FakeLibvirt(Frozen(domains=[domain("web-1", held())]))
    observation = observed_host.observe_host(api, "qemu:///system", interval=5, clock=FakeClock().clock())
    thawed.set()
    assert len(api.opened) == 2
    assert observation["domains"][0]["blockers"][0]["code"] == "job"


def test_what_a_daemon_looks_for_before_its_first_answer_is_no_part_of_the_figures() -> None:
    """The first figures are 2.4 s old when they come, so they are asked for again."""
    clock = FakeClock()

    class JustStarted(FakeConnection):
        def getAllDomainStats(self, groups: int, flags: int) -> list[tuple[FakeDomain, dict[str, t.Any]]]:  # noqa: N802, libvirt's name
            found = super().getAllDomainStats(groups, flags)
            if self.calls["getAllDomainStats"] == 1:
                clock.sleep(2.4)
            return found

    fake = JustStarted(domains=[domain("web-1", stats(0), stats(1), stats(2))])
    observation = observed_host.observe_host(FakeLibvirt(fake), "qemu:///system", interval=5, clock=clock.clock())
    assert fake.calls["getAllDomainStats"] == 3
    assert observation["interval_seconds"] == 5
    assert observation["domains"][0]["cpu_cores"] == 0.2


def test_a_daemon_that_never_answers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    fake = FakeConnection()
    monkeypatch.setattr(fake, "getAllDomainStats", lambda _groups, _flags: never.wait())
    monkeypatch.setattr(sampler, "STATS_TIMEOUT_SECONDS", 0.01)
    with pytest.raises(DeadlineError, match="Cannot read the statistics of the domains"):
        observed_host.observe_host(FakeLibvirt(fake), "qemu:///system", interval=5, clock=FakeClock().clock())
    never.set()


def test_brief() -> None:
    def entry(name: str, operation: str | None = None, note: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        job = None if operation is None else {"operation": operation}
        return {"uuid": f"uuid-{name}", "name": name, "job": job, "unfinished_move": note}

    found = observed_host.brief(
        {
            "host": {
                "cgroup_version": 2,
                "bridges": ["br0"],
                "mounts": [],
                "memory": {"zfs_cache_mib": 512, "shared_mib": 12},
            },
            "domains": [
                entry("quiet"),
                entry("out", "migration_out"),
                entry("in", "migration_in"),
                entry("backup", "backup"),
                entry("left", note={"source": "a"}),
            ],
        }
    )

    assert found == {
        "cgroup_version": 2,
        "bridges": ["br0"],
        "zfs_cache_mib": 512,
        "mounts": [],
        "shared_memory_mib": 12,
        "migrations": ["out", "in"],
        "unfinished_moves": [{"uuid": "uuid-left", "name": "left"}],
    }


def test_history(root: pathlib.Path) -> None:
    path = root / _store.PATH
    path.parent.mkdir(parents=True)
    store = _store.Store(str(path), keep_samples=100, max_bytes=10**6)
    for minute in (2, 1, 0):
        rows = [_store.DomainRow(f"uuid-{name}", name, 0.5, 0.0) for name in ("web", "gone")]
        store.add(_store.Row(at=NOW - 60 * minute - 60, elapsed=60, usage=0.25, domains=rows))
    store.close()
    fake = FakeConnection(domains=[domain("web"), domain("new")])
    observation = observed_host.observe(
        Connection(FakeLibvirt(fake), fake, "qemu:///system"),
        interval=0,
        lookback=observed_host.Lookback(minutes=2, step=60),
        clock=FakeClock().clock(),
        root=str(root),
    )
    steps = {"step_seconds": 60, "ends_at": "2026-01-31T11:59:00Z"}
    assert observation["host"]["history"] == {**steps, "cpu": [0.25, 0.25]}
    assert observation["host"]["history_problem"] is None
    column = {**steps, "cpu_cores": [0.5, 0.5], "cpu_ready": [0.0, 0.0]}
    assert [(entry["name"], entry["history"]) for entry in observation["domains"]] == [("new", None), ("web", column)]
    assert observation["departed_domains"] == {"uuid-gone": column}


@pytest.mark.parametrize(
    ("uri", "problem"),
    [("qemu:///system", "This host keeps no history."), ("qemu+ssh://a/system", "The history is on the host itself,")],
)
def test_no_history(root: pathlib.Path, uri: str, problem: str) -> None:
    fake = FakeConnection(domains=[domain("web")])
    observation = observed_host.observe(
        Connection(FakeLibvirt(fake), fake, uri),
        interval=0,
        lookback=observed_host.Lookback(minutes=2),
        clock=FakeClock().clock(),
        root=str(root),
    )
    assert observation["host"]["history"] is None
    assert observation["host"]["history_problem"].startswith(problem)
    assert observation["domains"][0]["history"] is None
    assert observation["departed_domains"] == {}


@pytest.mark.parametrize(("uri", "watts"), [("qemu:///system", 25.0), ("qemu+ssh://a/system", None)])
def test_what_the_cpu_drew_over_the_interval(
    root: pathlib.Path, monkeypatch: pytest.MonkeyPatch, uri: str, watts: float | None
) -> None:
    readings = [{"intel-rapl:0": power_meter.Energy(used, 10**12)} for used in (0, 125_000_000)]
    monkeypatch.setattr(power_meter, "read_energy", lambda *, root: readings.pop(0))
    power = observe(FakeConnection(domains=[]), root, uri=uri)["host"]["power"]
    assert (power["cpu_watts"], power["watts"]) == (watts, None)
