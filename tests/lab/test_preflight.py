# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What a destination lacks is told before a move, by the answers of real hosts. The guest of these tests never runs."""

from __future__ import annotations

import subprocess
import typing as t
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import Lab

NAME = "needy"
HERE, THERE = "kvm1", "kvm2"
IMAGES = "/var/lib/virtops-lab/images"
SECRET = "6f0a3c1e-5b8e-4f0e-9d7a-2d1f6c1b9a55"
POOL, NETWORK = "only-here", "only-here"
MEDIUM = "/root/only-here.iso"
DOMAIN = """
<domain type='qemu'>
  <name>{name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>{cputune}
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <cpu mode='custom' match='exact'><model>qemu64</model></cpu>
  <devices><emulator>{emulator}</emulator>{devices}<memballoon model='none'/></devices>
</domain>
"""
DISK = "<disk type='{}'><driver name='qemu' type='raw' cache='none'/>{}<target dev='{}' bus='ide'/></disk>"
VOLUME = DISK.format("volume", f"<source pool='{POOL}' volume='volume.raw'/>", "hda")
ENCRYPTED = DISK.format(
    "file",
    f"<source file='{IMAGES}/needy.luks'/>"
    f"<encryption format='luks'><secret type='passphrase' uuid='{SECRET}'/></encryption>",
    "hdb",
)
DRIVE = (
    "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='{}' startupPolicy='{}'/>"
    "<target dev='hdc' bus='ide'/><readonly/></disk>"
)
INTERFACE = f"<interface type='network'><source network='{NETWORK}'/><model type='e1000'/></interface>"
PINNED = "<cputune><vcpupin vcpu='0' cpuset='1'/></cputune>"


POOL_XML = f"<pool type='dir'><name>{POOL}</name><target><path>{IMAGES}/{POOL}</path></target></pool>"


class Needy:
    """The guest, which is created paused, and what only kvm1 has."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.emulator = ET.fromstring(lab.virsh(HERE, "dumpxml", next(iter(lab.guests)))).findtext("devices/emulator")

    def define(self, command: str, name: str, text: str, host: str = HERE) -> None:
        file = self.lab.run_dir / f"{name}.xml"
        file.write_text(text)
        self.lab.virsh(host, *command.split(), str(file))

    def prepare(self) -> None:
        Path(IMAGES, POOL).mkdir(exist_ok=True)
        for command, text in {
            "net-create": f"<network><name>{NETWORK}</name><forward mode='bridge'/><bridge name='br0'/></network>",
            "pool-create": POOL_XML,
            "secret-define": f"<secret ephemeral='yes' private='no'><uuid>{SECRET}</uuid></secret>",
        }.items():
            self.define(command, command, text)
        self.lab.virsh(HERE, "vol-create-as", POOL, "volume.raw", "1M", "--format", "raw")
        self.lab.virsh(HERE, "secret-set-value", SECRET, "--base64", "c2VjcmV0")
        secret = ("--object", "secret,id=s,data=secret", "-o", "key-secret=s")
        subprocess.run(["qemu-img", "create", "-q", "-f", "luks", *secret, f"{IMAGES}/needy.luks", "1M"], check=True)
        self.lab.shell(HERE, f"echo medium > {MEDIUM}")

    def create(self, *devices: str, cputune: str = "") -> None:
        text = DOMAIN.format(name=NAME, emulator=self.emulator, devices="".join(devices), cputune=cputune)
        self.define("create --paused", NAME, text)

    def destroy(self) -> None:
        for host in self.lab.hosts:
            self.lab.virsh(host, "destroy", NAME, check=False)

    def clean(self) -> None:
        self.destroy()
        for command in ("net-destroy", "pool-destroy"):
            self.lab.virsh(HERE, command, POOL, check=False)
        self.lab.virsh(HERE, "secret-undefine", SECRET, check=False)
        self.lab.machine(f"rm -rf {IMAGES}/{POOL} {IMAGES}/needy.luks")
        self.lab.shell(HERE, f"rm -f {MEDIUM}")

    def move(self, **options: t.Any) -> dict[str, t.Any]:
        done: dict[str, t.Any] = self.lab.module(
            HERE,
            "domain_migrate",
            domain=NAME,
            destination=THERE,
            destination_uri=self.lab.uri(THERE),
            shared_paths=[IMAGES],
            **options,
        )
        return done


@pytest.fixture(scope="module")
def prepared(whole_lab: Lab) -> t.Iterator[Needy]:
    needy = Needy(whole_lab)
    try:
        needy.prepare()
        yield needy
    finally:
        needy.clean()


@pytest.fixture
def needy(prepared: Needy) -> t.Iterator[Needy]:
    yield prepared
    prepared.destroy()


def test_all_that_the_destination_lacks_is_told_at_once(needy: Needy) -> None:
    needy.create(VOLUME, ENCRYPTED, INTERFACE, cputune=PINNED)
    interface = ET.fromstring(needy.lab.virsh(HERE, "dumpxml", NAME)).find("devices/interface")
    assert interface is not None
    assert interface.get("type") == "bridge", "a network that stands for a bridge"

    elsewhere = [{"path": IMAGES, "type": "nfs4", "source": "filer.invalid:/images"}]
    done = needy.move(fails=True, destination_mounts=elsewhere)

    start, _colon, reasons = done["msg"].partition(": ")
    assert start == f"{NAME} cannot be moved from {HERE} to {THERE}"
    failed = {check["check"]: check["message"] for check in done["checks"] if check["ok"] is False}
    assert all(message in reasons for message in failed.values())
    assert set(failed) == {"pins", "volume", "mounts", "secret", "network"}
    assert failed["pins"] == f"it is pinned (vCPU 0) to CPUs which {THERE} has offline: 1"
    assert failed["volume"] == f"{THERE} has no storage pool {POOL}"
    assert failed["mounts"].endswith(f"and on filer.invalid:/images /needy.luks (nfs4) on {THERE}")
    assert failed["secret"] == f"{THERE} does not have the secret {SECRET}"
    assert failed["network"] == f"{THERE} has no network {NETWORK}"
    assert needy.lab.virsh(HERE, "domstate", NAME) == "paused"


def test_a_volume_goes_where_its_pool_is(needy: Needy) -> None:
    needy.create(VOLUME)
    needy.define("pool-create", "pool-there", POOL_XML, THERE)
    try:
        assert needy.move()["outcome"] == "on_destination"
    finally:
        needy.destroy()
        needy.lab.virsh(THERE, "pool-destroy", POOL)


@pytest.mark.parametrize("policy", ["optional", "requisite"])
def test_a_medium_that_only_the_source_has_is_left_out(needy: Needy, policy: str) -> None:
    needy.create(DRIVE.format(MEDIUM, policy))

    done = needy.move()

    assert done["outcome"] == "on_destination"
    drive = ET.fromstring(needy.lab.virsh(THERE, "dumpxml", NAME)).find("devices/disk[@device='cdrom']")
    assert drive is not None
    assert drive.find("source") is None


def test_a_medium_that_the_domain_cannot_do_without_is_told(needy: Needy) -> None:
    needy.create(DRIVE.format(MEDIUM, "mandatory"))
    assert f"disk hdc: {MEDIUM} is a medium that only this host has" in needy.move(fails=True)["msg"]


def test_the_data_file_of_an_image_is_seen_though_libvirt_does_not_show_it(needy: Needy) -> None:
    image = f"{IMAGES}/needy.qcow2"
    needy.lab.shell(HERE, f"qemu-img create -q -f qcow2 -o data_file=/root/needy.raw {image} 1M")
    try:
        disk = DISK.replace("'raw'", "'qcow2'").format("file", f"<source file='{image}'/>", "hda")
        needy.create(disk)
        assert "dataStore" not in needy.lab.virsh(HERE, "dumpxml", NAME)
        assert "disk hda: /root/needy.raw is not on shared storage" in needy.move(fails=True)["msg"]
    finally:
        needy.destroy()
        needy.lab.shell(HERE, f"rm -f {image} /root/needy.raw")
