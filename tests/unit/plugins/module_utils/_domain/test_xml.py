# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._domain import xml as domain_xml
from ansible_collections.virtops.balance.plugins.module_utils._domain.metadata import DomainState, MoveNote
from ansible_collections.virtops.balance.plugins.module_utils._domain.xml import Cpu, Layer
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import fixture


def test_domain_of_a_real_host() -> None:
    xml = domain_xml.parse(fixture("domain_qemu.xml"))
    assert (xml.type, xml.arch, xml.machine) == ("qemu", "x86_64", "pc-q35-7.2")
    assert (xml.vcpus, xml.memory_kib, xml.current_memory_kib, xml.stats_period_seconds) == (1, 98304, 98304, 2)
    assert [(disk.target, disk.source, disk.readonly) for disk in xml.disks] == [
        ("vda", "/srv/images/web-1.qcow2", False)
    ]
    assert [(found.type, found.source) for found in xml.interfaces] == [("bridge", "br0")]
    assert xml.cpu == Cpu("custom", "qemu64", ("hypervisor", "lahf_lm"), ())
    assert (xml.shares, xml.cap, xml.pins) == (2048, 50, {"0": [0]})
    assert xml.boot_files == ("/srv/images/vmlinuz", "/srv/images/initramfs.gz")
    assert (xml.host_devices, xml.file_systems, xml.tpm, xml.shared_memory) == ((), (), False, False)
    assert xml.state == DomainState(tags=("web",))


def test_everything() -> None:
    xml = domain_xml.parse(fixture("domain_rich.xml"))
    assert (xml.vcpus, xml.memory_kib, xml.current_memory_kib, xml.stats_period_seconds) == (2, 4194304, 2097152, 10)
    assert xml.cpu == Cpu("host-passthrough", None, ("aes", "vmx"), ("svm",))
    assert xml.pins == {"0": [0, 1, 3], "1": [8]}
    assert xml.cap == 100
    assert xml.hugepages is True
    assert xml.host_devices == ("usb", "pci")
    assert xml.file_systems == ("virtiofs", "9p")
    assert {disk.target: disk.layers for disk in xml.disks} == {
        "vda": (
            Layer("file", "/srv/images/overlay.qcow2"),
            Layer("file", "/var/lib/libvirt/images/base.qcow2", format="qcow2"),
        ),
        "vdb": (Layer("block", "/dev/vg0/data"),),
        "vdc": (Layer("network", "rbd:pool/image"),),
        "vdd": (Layer("volume", "images/v1", "images"),),
        "vde": (Layer("nvme", None),),
        "sda": (Layer("file", "/var/lib/libvirt/images/install.iso"),),
        "sdb": (),
    }
    assert [(found.type, found.source) for found in xml.interfaces] == [
        ("network", "default"),
        ("direct", "eth0"),
        ("hostdev", None),
        ("hostdev", None),
        ("vhostuser", "/run/vhost1.sock"),
        ("user", None),
        ("user", None),
        ("network", "macvtap"),
    ]
    assert xml.state == DomainState(
        tags=("web", "db"),
        last_moved_at="2026-01-31T12:00:00Z",
        unfinished_move=MoveNote("kvm1", "kvm2", "2026-01-31T12:00:00Z", 150),
    )


def test_almost_nothing() -> None:
    xml = domain_xml.parse(fixture("domain_bare.xml"))
    assert (xml.arch, xml.machine, xml.vcpus, xml.memory_kib, xml.shares) == (None, None, None, None, None)
    assert (xml.cap, xml.pins, xml.hugepages) == (0, {}, False)
    assert xml.cpu == Cpu(None, None, (), ())
    assert xml.host_devices == ("unknown",)
    assert xml.state == DomainState()


@pytest.mark.parametrize("text", ["", "<domain>", "no XML at all"])
def test_no_xml(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        domain_xml.parse(text)


@pytest.mark.parametrize(
    ("tune", "expected"),
    [
        ("", 0),
        ("<global_quota>150000</global_quota>", 150),
        ("<global_period>50000</global_period><global_quota>25000</global_quota>", 50),
        ("<global_quota>33333</global_quota>", 33.3),
        ("<global_quota>-1</global_quota><quota>50000</quota>", 100),
        ("<global_quota>50000</global_quota><quota>100000</quota>", 50),
        ("<quota>20000</quota>", 40),
        ("<quota>0</quota>", 0),
        ("<quota>-1</quota><global_quota>17592186044415</global_quota>", 0),
        ("<quota>17592186044415</quota><global_quota>50000</global_quota>", 50),
        ("<global_quota>half</global_quota>", 0),
        ("<emulator_quota>1000</emulator_quota>", 0),
    ],
)
def test_cap_is_of_the_whole_domain_in_percent_of_one_cpu(tune: str, expected: float) -> None:
    assert domain_xml.parse(f"<domain><vcpu>2</vcpu><cputune>{tune}</cputune></domain>").cap == expected


@pytest.mark.parametrize(
    ("shares", "cgroup_version", "expected"),
    [
        (None, 1, 1.0),
        (None, None, 1.0),
        (1024, 1, 1.0),
        (1024, 2, 10.24),
        (100, 2, 1.0),
        (2, 1, 0.002),
        (100, None, None),
        (100, 3, None),
    ],
)
def test_weight(shares: int | None, cgroup_version: int | None, expected: float | None) -> None:
    assert domain_xml.weight(shares, cgroup_version) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", [0]),
        ("0-3", [0, 1, 2, 3]),
        ("8,0-3,^2", [0, 1, 3, 8]),
        (" 1 , 3 ", [1, 3]),
        ("", []),
        (None, []),
        ("-1", []),
        ("0-", [0]),
        ("0-99999999999", []),
        ("a-b", []),
    ],
)
def test_cpuset(text: str | None, expected: list[int]) -> None:
    assert domain_xml.parse_cpuset(text) == expected


@pytest.mark.parametrize(
    ("inside", "cpuset", "cells", "balloon"),
    [
        ("", None, None, None),
        ("<vcpu cpuset='0-2,^1'>2</vcpu>", (0, 2), None, None),
        ("<numatune><memory mode='strict' nodeset='1'/></numatune>", None, (1,), None),
        ("<numatune><memory nodeset='0-1'/></numatune>", None, (0, 1), None),
        ("<numatune><memory mode='preferred' nodeset='1'/></numatune>", None, None, None),
        ("<numatune><memnode cellid='0' mode='strict' nodeset='2'/></numatune>", None, (2,), None),
        ("<devices><memballoon model='none'/></devices>", None, None, "none"),
        ("<devices><memballoon model='virtio'><stats period='2'/></memballoon></devices>", None, None, "virtio"),
    ],
)
def test_where_a_domain_must_stay(
    inside: str, cpuset: tuple[int, ...] | None, cells: tuple[int, ...] | None, balloon: str | None
) -> None:
    xml = domain_xml.parse(f"<domain>{inside}</domain>")
    assert (xml.cpuset, xml.strict_cells, xml.balloon) == (cpuset, cells, balloon)
