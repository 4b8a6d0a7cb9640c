# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._connection import connect
from ansible_collections.virtops.balance.plugins.module_utils._doctor import (
    cpu_models,
    guest_needs,
    migration_address,
    secrets,
    this_host,
)
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import (
    FakeConnection,
    FakeDomain,
    FakeLibvirt,
    FakeLibvirtError,
    fixture,
)

URI = "qemu+tcp://kvm1/system"


class Secret:
    """A secret. Nothing may ask for its value."""

    def UUIDString(self) -> str:  # noqa: N802
        return "0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f"

    def usageType(self) -> int:  # noqa: N802
        return 2

    def usageID(self) -> str:  # noqa: N802
        return "client.libvirt secret"


class Libvirt(FakeLibvirt):
    """The constants that the doctor needs besides."""

    VIR_SECRET_USAGE_TYPE_NONE = 0
    VIR_SECRET_USAGE_TYPE_CEPH = 2
    VIR_CONNECT_BASELINE_CPU_MIGRATABLE = 2
    VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE = 1


def test_what_a_host_says_about_itself() -> None:
    connection = FakeConnection(
        domains=[FakeDomain("web-1", "u1"), FakeDomain("off", "u2", active=False)],
        listAllSecrets=[Secret()],
        getDomainCapabilities=fixture("domain_capabilities_9.0.xml"),
    )
    told = this_host.Told("qemu+tcp://10.0.0.1/system", "", ["/srv"])
    answer = this_host.describe(Libvirt(connection), URI, told)
    assert answer["schema"] == 1
    assert answer["hypervisor"] == {"type": "QEMU", "version": "7.2.22"}
    assert answer["libvirt_version"] == "9.0.0"
    assert answer["networks"] == [{"name": "lab", "bridge": "br0", "active": True}]
    assert list(answer["needs"]["memory_mib"]) == ["web-1"]
    assert answer["secrets"] == [
        {"uuid": "0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f", "type": "ceph", "usage": "client.libvirt secret"}
    ]
    assert (answer["migration_uri"], answer["migrate_uri"]) == ("qemu+tcp://10.0.0.1/system", None)
    assert answer["clock"]["started_at"] <= answer["clock"]["ended_at"]
    # Its files cannot be looked at from here.
    assert (answer["migration"], answer["lease"], answer["asleep"]) == (None, None, [])


def test_what_does_not_answer_is_not_known() -> None:
    nothing: dict[str, t.Any] = {
        name: FakeLibvirtError(3)
        for name in ("getCapabilities", "getHostname", "getVersion", "getLibVersion", "networks", "pools", "interfaces")
    }
    nothing.update(listAllSecrets=FakeLibvirtError(3), getMemoryStats=FakeLibvirtError(3))
    answer = this_host.describe(Libvirt(FakeConnection(**nothing)), URI, this_host.Told("", None, []))
    assert answer["cpu"] == {"arch": None, "model": None, "for_guests": {}}
    for key in ("hostname", "uuid", "libvirt_version", "machine_types", "networks", "bridges", "pools", "secrets"):
        assert answer[key] is None


def test_a_connection_that_breaks() -> None:
    connection = FakeConnection(getHostname=FakeLibvirtError(1, "client socket is closed", 7))
    with pytest.raises(
        BalanceError, match=r"Cannot ask qemu.tcp://kvm1/system about this host: client socket is closed"
    ):
        this_host.describe(Libvirt(connection), URI, this_host.Told("", None, []))


def test_what_guests_need() -> None:
    needs = guest_needs.GuestNeeds()
    needs.add("rich", fixture("domain_rich.xml"))
    needs.add("plain", fixture("domain_qemu.xml"))
    kinds = {kind for kind, _name in needs.things}
    assert {"domain_type", "machine", "network", "bridge", "disk", "pool"} <= kinds
    assert needs.things["domain_type", "x86_64 qemu"] == ["plain"]
    with pytest.raises(ValueError, match="syntax error"):
        needs.add("broken", "no XML")


def test_secrets_that_disks_name() -> None:
    needs = guest_needs.GuestNeeds()
    disk = "<disk type='network'><source protocol='rbd' name='p/i'><auth>{}</auth></source><target dev='vda'/></disk>"
    by_uuid = disk.format("<secret type='ceph' uuid='0A81F5B2-8403-7B23-C8D6-21CCC2F80D6F'/>")
    by_usage = disk.format("<secret type='ceph' usage='client.libvirt secret'/>")
    for name, text in (("one", by_uuid), ("two", by_usage)):
        needs.add(name, f"<domain type='kvm'><devices>{text}</devices></domain>")
    assert [key for key in needs.things if key[0] == "secret"] == [
        ("secret", "0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f"),
        ("secret", "ceph client.libvirt secret"),
    ]


def test_equal_cpus_are_asked_about_once() -> None:
    needs = guest_needs.GuestNeeds()
    for name in ("one", "two"):
        needs.add(name, fixture("domain_qemu.xml"))
    assert [cpu.domains for cpu in needs.cpus] == [["one", "two"]]


def test_cpus_that_the_other_host_cannot_offer() -> None:
    needs = guest_needs.GuestNeeds()
    needs.add("web-1", fixture("domain_qemu.xml"))
    lacking = FakeLibvirtError(91, "the CPU is incompatible with host CPU: missing features: avx512f")
    with connect(Libvirt(FakeConnection(compareHypervisorCPU=1)), URI, read_only=False) as source:
        cpus = guest_needs.comparable_cpus(source, needs)
    with connect(Libvirt(FakeConnection(compareHypervisorCPU=lacking)), URI, read_only=False) as destination:
        assert guest_needs.missing_on(destination, cpus) == [
            {"domains": ["web-1"], "missing": "the CPU is incompatible with host CPU: missing features: avx512f"}
        ]
    cannot = FakeLibvirtError(3)
    with connect(Libvirt(FakeConnection(compareHypervisorCPU=cannot)), URI, read_only=False) as destination:
        assert guest_needs.missing_on(destination, cpus) == []
        assert guest_needs.comparable_cpus(destination, needs) == []


@pytest.mark.parametrize("release", ["9.0", "11.3"])
def test_the_cpu_that_a_host_offers_to_guests(release: str) -> None:
    cpu = cpu_models.host_model(fixture(f"domain_capabilities_{release}.xml"))
    assert cpu is not None
    assert {part.tag for part in ET.fromstring(cpu)} == {"model", "vendor", "feature"}
    assert ET.fromstring(cpu).findtext("model") == "EPYC"


@pytest.mark.parametrize("text", ["", "<domainCapabilities/>", "<domainCapabilities><cpu/></domainCapabilities>"])
def test_no_cpu_for_guests(text: str) -> None:
    assert cpu_models.host_model(text) is None


class Baseline(FakeConnection):
    """A libvirt that does not know a feature of newer ones: as 9.0 answered to the CPU of an 11.3."""

    def __init__(self, unknown: str) -> None:
        super().__init__()
        self.unknown = unknown
        self.asked: list[list[str]] = []

    def baselineHypervisorCPU(self, *arguments: t.Any) -> str:  # noqa: N802
        *_emulator, cpus, _flags = arguments
        self.asked.append(cpus)
        if any(f'"{self.unknown}"' in cpu for cpu in cpus):
            raise FakeLibvirtError(1, f"internal error: Unknown CPU feature {self.unknown}")
        return "<cpu>common</cpu>\n"


def best(connection: FakeConnection) -> dict[str, t.Any]:
    cpus = [cpu_models.host_model(fixture(f"domain_capabilities_{release}.xml")) or "" for release in ("9.0", "11.3")]
    with connect(Libvirt(connection), URI, read_only=False) as opened:
        return cpu_models.best_common(opened, arch="x86_64", domain_type="kvm", cpus=cpus)


def test_a_feature_that_is_not_known_here_is_none_of_the_common_cpu() -> None:
    connection = Baseline("cmpccxadd")
    assert best(connection) == {"xml": "<cpu>common</cpu>", "problem": None}
    assert len(connection.asked) == 2
    assert all('"fsrm"' not in cpu or '"cmpccxadd"' not in cpu for cpu in connection.asked[1])


def test_why_there_is_no_common_cpu() -> None:
    refusal = FakeLibvirtError(1, "CPUs are incompatible.")
    assert best(FakeConnection(baselineHypervisorCPU=refusal)) == {"xml": None, "problem": "CPUs are incompatible"}


@pytest.mark.parametrize(
    ("conf", "host", "ports"),
    [
        (None, None, [49152, 49215]),
        ('#migration_host = "commented"\n', None, [49152, 49215]),
        (
            'migration_host = "10.0.0.2"\nmigration_port_min = 49300\nmigration_port_max=49310 # few\n',
            "10.0.0.2",
            [49300, 49310],
        ),
        ("migration_port_min = many\nmigration_port_max = 99999\n", None, [49152, 49215]),
    ],
)
def test_settings_of_migrations(tmp_path: Path, conf: str | None, host: str | None, ports: list[int]) -> None:
    if conf is not None:
        (tmp_path / "etc/libvirt").mkdir(parents=True)
        (tmp_path / "etc/libvirt/qemu.conf").write_text(conf)
    assert migration_address.read(root=str(tmp_path)) == {"host": host, "ports": ports, "listening": None}


def test_ports_on_which_something_listens(tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    # As Linux writes it, without the columns after the state.
    head = "  sl  local_address rem_address   st\n"
    (tmp_path / "proc/net/tcp").write_text(
        f"{head}   0: 0B00420A:C001 00000000:0000 0A\n   1: 0B00420A:C002 0C00420A:9C40 01\n"
        "   2: 00000000:0016 00000000:0000 0A\n"
    )
    (tmp_path / "proc/net/tcp6").write_text(f"{head}   0: {'0' * 32}:C000 {'0' * 32}:0000 0A\n")
    assert migration_address.read(root=str(tmp_path))["listening"] == [49152, 49153]


def test_secrets_that_cannot_be_listed() -> None:
    with connect(Libvirt(FakeConnection(listAllSecrets=FakeLibvirtError(3))), URI, read_only=False) as connection:
        assert secrets.read(connection) is None
