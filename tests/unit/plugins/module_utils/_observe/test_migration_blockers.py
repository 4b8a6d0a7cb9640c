# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._domain import xml as domain_xml
from ansible_collections.virtops.balance.plugins.module_utils._observe import migration_blockers
from ansible_collections.virtops.balance.plugins.module_utils._observe.procfs import Mount
from ansible_collections.virtops.balance.plugins.module_utils._observe.shared_storage import SharedStorage
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import fixture

RICH = domain_xml.parse(fixture("domain_rich.xml"))
MOUNTS = (Mount("/", "ext4", "/dev/vda1"), Mount("/srv/images", "nfs4", "nas:/images"))


def storage(mounts: t.Sequence[Mount] | None = MOUNTS, **options: t.Any) -> SharedStorage:
    return SharedStorage(mounts=mounts, resolve=str, **options)


def codes(xml: domain_xml.DomainXml | None, seen: SharedStorage | None = None, **state: t.Any) -> list[str]:
    arguments = {"state": "running", "reason": "booted", "job": None, "has_snapshot": False, **state}
    return [found["code"] for found in migration_blockers.find_blockers(xml, seen or storage(), **arguments)]


def with_devices(devices: str) -> domain_xml.DomainXml:
    return domain_xml.parse(f"<domain><devices>{devices}</devices></domain>")


NBD = "<disk type='network'><source protocol='nbd' name='a'>{}</source></disk>"
# A qcow2 image whose data is in a file of its own, as libvirt has shown it since 10.10.
DATA_STORE = (
    "<disk type='file'><driver name='qemu' type='qcow2'/><source file='/srv/images/a.qcow2' index='1'>"
    "<dataStore type='file'><format type='raw'/><source file='{}'/></dataStore></source></disk>"
)
BASE_WITH_DATA_STORE = DATA_STORE.format("/var/a.raw").replace("disk", "backingStore")


def test_an_ordinary_domain_has_none() -> None:
    assert codes(domain_xml.parse(fixture("domain_qemu.xml"))) == []


def test_everything_that_there_is() -> None:
    found = migration_blockers.find_blockers(
        RICH, storage(), state="running", reason="booted", job=None, has_snapshot=False
    )
    assert [(entry["code"], entry["message"].split(" ")[1].rstrip(":")) for entry in found] == [
        ("local_disk", "vda"),
        ("block_disk", "vdb"),
        ("job", "block"),
        ("unknown_storage", "vdd"),
        ("host_device", "vde"),
        ("local_media", "sda"),
        ("local_media", "domain"),
        ("host_device", "device"),
        ("host_device", "device"),
        ("virtiofs", "directory"),
        ("virtiofs", "directory"),
        ("shared_memory", "domain"),
        ("tpm", "domain"),
        ("host_cpu", "CPU"),
        ("host_cpu", "memory"),
        ("network_device", "52:54:00:00:00:02"),
        ("network_device", "52:54:00:00:00:04"),
        ("network_device", "52:54:00:00:00:05"),
        ("network_device", "52:54:00:00:00:06"),
        ("network_device", "52:54:00:00:00:08"),
    ]


@pytest.mark.parametrize(
    ("disk", "seen", "expected"),
    [
        ("<disk type='file'><source file='/srv/images/a'/></disk>", storage(), []),
        ("<disk type='file'><source file='/var/a'/></disk>", storage(), ["local_disk"]),
        ("<disk type='file'><source file='/var/a'/></disk>", storage(shared_paths=["/var"]), []),
        ("<disk type='file'><source file='/var/a'/></disk>", storage(None), ["unknown_storage"]),
        ("<disk type='file'><source file='/var/a'/><readonly/></disk>", storage(), ["local_media"]),
        ("<disk type='file' device='cdrom'><source file='/srv/images/a'/></disk>", storage(), []),
        ("<disk type='file' device='floppy'><source file='/var/a'/></disk>", storage(), ["local_media"]),
        ("<disk type='file' device='floppy'/>", storage(), []),
        ("<disk type='file'/>", storage(), ["unknown_storage"]),
        ("<disk type='block'><source dev='/dev/x'/></disk>", storage(), ["block_disk"]),
        ("<disk type='block'><source dev='/dev/san/x'/></disk>", storage(shared_paths=["/dev/san"]), []),
        ("<disk type='dir'><source dir='/var'/></disk>", storage(), ["unknown_storage"]),
        ("<disk type='vhostuser'><source type='unix' path='/run/s'/></disk>", storage(), ["unknown_storage"]),
        ("<disk type='vhostvdpa'><source dev='/dev/vhost-vdpa-0'/></disk>", storage(), ["host_device"]),
        ("<disk type='network'><source protocol='nbd'/></disk>", storage(None), []),
        (NBD.format("<host name='nas.example.org' port='10809'/>"), storage(None), []),
        (NBD.format("<host name='localhost'/>"), storage(None), ["local_disk"]),
        (NBD.format("<host name='127.0.0.2'/>"), storage(None), ["local_disk"]),
        (NBD.format("<host name='::1'/>"), storage(None), ["local_disk"]),
        (NBD.format("<host transport='unix' socket='/run/nbd.sock'/>"), storage(None), ["local_disk"]),
        (NBD.format("<host name='localhost.example.org'/>"), storage(None), []),
        # Each host of a cluster may ask itself.
        (NBD.format("<host name='localhost'/>").replace("nbd", "gluster"), storage(None), []),
        ("<disk type='file'><source file='/srv/images/a'/><transient/></disk>", storage(), ["transient_disk"]),
        (DATA_STORE.format("/srv/images/a.raw"), storage(), []),
        (DATA_STORE.format("/var/a.raw"), storage(), ["local_disk"]),
        (f"<disk type='file'><source file='/srv/images/b'/>{BASE_WITH_DATA_STORE}</disk>", storage(), ["local_disk"]),
    ],
)
def test_disk(disk: str, seen: SharedStorage, expected: list[str]) -> None:
    assert codes(with_devices(disk), seen) == expected


@pytest.mark.parametrize(
    ("policy", "starts_anew", "expected"),
    [
        ("mandatory", False, ["local_media"]),
        ("optional", False, []),
        ("requisite", False, []),
        ("mandatory", True, ["local_media"]),
        ("optional", True, []),
        ("requisite", True, ["local_media"]),
    ],
)
def test_a_medium_that_the_domain_can_do_without(policy: str, starts_anew: bool, expected: list[str]) -> None:
    drive = f"<disk type='file' device='cdrom'><source file='/var/a.iso' startupPolicy='{policy}'/><readonly/></disk>"
    assert codes(with_devices(drive), starts_anew=starts_anew) == expected
    # The drive of the host is no file that could be missing, and a disk is never left out.
    block = drive.replace("file=", "dev=").replace("'file'", "'block'")
    assert codes(with_devices(block), starts_anew=starts_anew) == ["block_disk"]
    assert codes(with_devices(drive.replace("cdrom", "disk")), starts_anew=starts_anew) == ["local_media"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-device", "vfio-pci,host=01:00.0"], ["host_device"]),
        (["-device", '{"driver":"vfio-pci","host":"0000:01:00.0"}'], ["host_device"]),
        (["-device", "ivshmem-plain,memdev=hostmem"], ["shared_memory"]),
        (["-chardev", "socket,id=t,path=/run/swtpm.sock", "-tpmdev", "emulator,id=t0,chardev=t"], ["tpm"]),
        (["-device", "vhost-user-fs-pci,chardev=c,tag=t"], ["virtiofs"]),
        (["-virtfs", "local,path=/srv"], ["virtiofs"]),
        (["-device", "edu", "-fw_cfg", "name=opt/x,string=tpm-less"], []),
    ],
)
def test_arguments_that_were_given_to_qemu_past_libvirt(arguments: list[str], expected: list[str]) -> None:
    lines = "".join(f"<q:arg value='{argument}'/>" for argument in arguments)
    name = "http://libvirt.org/schemas/domain/qemu/1.0"
    text = f"<domain xmlns:q='{name}'><q:commandline>{lines}</q:commandline></domain>"
    assert codes(domain_xml.parse(text)) == expected


@pytest.mark.parametrize(("on", "expected"), [("yes", ["accelerated_video"]), ("no", [])])
def test_a_card_whose_3d_the_host_draws(on: str, expected: list[str]) -> None:
    card = f"<video><model type='virtio' heads='1'><acceleration accel3d='{on}'/></model></video>"
    assert codes(with_devices(card)) == expected


@pytest.mark.parametrize(("shared", "expected"), [(True, []), (False, ["local_disk"]), (None, ["unknown_storage"])])
def test_volume(shared: bool | None, expected: list[str]) -> None:
    seen = storage()
    seen.add_pools([{"name": "p", "path": None, "shared": shared}])
    assert codes(with_devices("<disk type='volume'><source pool='p' volume='v'/></disk>"), seen) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [("vda", False), ("vdb", None), ("vdc", True), ("vdd", None), ("sda", False), ("sdb", True)],
)
def test_shared_takes_all_layers_into_account(target: str, expected: bool | None) -> None:
    disk = next(disk for disk in RICH.disks if disk.target == target)
    assert migration_blockers.disk_shared(disk, storage()) is expected


@pytest.mark.parametrize("kind", ["bridge", "network", "user", "null", "udp"])
def test_interface_that_every_host_can_have(kind: str) -> None:
    assert codes(with_devices(f"<interface type='{kind}'/>")) == []


@pytest.mark.parametrize("kind", ["hostdev", "vdpa", "direct", "ethernet", "vhostuser", "invented"])
def test_interface_of_this_host(kind: str) -> None:
    assert codes(with_devices(f"<interface type='{kind}'/>")) == ["network_device"]


@pytest.mark.parametrize(("shadow_paging", "expected"), [(False, ["shadow_paging"]), (True, []), (None, [])])
def test_a_pv_guest_moves_live_only_with_shadow_paging(shadow_paging: bool | None, expected: list[str]) -> None:
    everywhere = storage(shared_paths=["/var/lib/libvirt/images"])
    text = fixture("domain_xen_pv.xml")
    assert codes(domain_xml.parse(text), everywhere, shadow_paging=shadow_paging) == expected
    pvh = text.replace("machine='xenpv'>linux", "machine='xenpvh'>xenpvh")
    assert codes(domain_xml.parse(pvh), everywhere, shadow_paging=shadow_paging) == []


@pytest.mark.parametrize(("mode", "expected"), [("maximum", ["host_cpu"]), ("host-model", []), ("custom", [])])
def test_cpu_mode(mode: str, expected: list[str]) -> None:
    assert codes(domain_xml.parse(f"<domain><cpu mode='{mode}'/></domain>")) == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, []),
        ({"state": "blocked"}, []),
        ({"state": "paused", "reason": "user"}, ["not_running"]),
        ({"state": "crashed"}, ["not_running"]),
        ({"state": "unknown", "reason": None}, ["not_running"]),
        ({"job": {"operation": "backup"}}, ["job"]),
        ({"state": "paused", "reason": "migration"}, ["interrupted_migration", "not_running"]),
        ({"state": "paused", "reason": "migration", "job": {"operation": "migration_in"}}, ["job", "not_running"]),
        ({"state": "paused", "reason": "postcopy_failed"}, ["interrupted_migration", "not_running"]),
        ({"reason": "postcopy_failed"}, ["interrupted_migration"]),
        ({"has_snapshot": True}, ["snapshot"]),
        ({"has_snapshot": None}, ["snapshot"]),
    ],
)
def test_state(state: dict[str, t.Any], expected: list[str]) -> None:
    assert codes(with_devices(""), **state) == expected


def test_without_a_definition_nothing_is_safe() -> None:
    assert codes(None) == ["unknown_storage"]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [(storage(), ["local_media"]), (storage(None), ["unknown_storage"]), (storage(shared_paths=["/boot"]), [])],
)
def test_boot_files(seen: SharedStorage, expected: list[str]) -> None:
    assert codes(domain_xml.parse("<domain><os><kernel>/boot/vmlinuz</kernel></os></domain>"), seen) == expected


def test_a_blocker_disappears_with_its_cause() -> None:
    without = dataclasses.replace(RICH, tpm=False, shared_memory=False, host_devices=(), file_systems=())
    assert {"tpm", "shared_memory", "virtiofs"}.isdisjoint(codes(without))
