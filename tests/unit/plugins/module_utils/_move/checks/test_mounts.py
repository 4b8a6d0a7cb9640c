# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import socket
import types
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._move.checks import mounts
from ansible_collections.virtops.balance.plugins.module_utils._observe.procfs import Mount
from ansible_collections.virtops.balance.plugins.module_utils._observe.shared_storage import SharedStorage
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.checked import check, host, subject
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import DISK

HERE = [Mount("/", "ext4", "/dev/vda1"), Mount("/srv/images", "nfs4", "filer:/vol/images")]
NAMES = {
    "filer": "10.0.0.1",
    "filer.example.org": "10.0.0.1",
    "nas": "10.0.0.2",
    "kvm2": "10.0.0.12",
    "me": "10.0.0.11",
}


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(name: str, _port: None) -> list[t.Any]:
        if name not in NAMES and not name[0].isdigit():
            raise socket.gaierror(-2, "Name or service not known")
        return [(2, 1, 6, "", (NAMES.get(name, name), 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(mounts, "_is_here", lambda addresses: "10.0.0.11" in addresses)


def seen(fs_type: str, source: str, root: str = "/", identity: str | None = None) -> dict[str, t.Any]:
    return {"path": "/srv/images", "type": fs_type, "source": source, "root": root, "identity": identity}


def nfs(source: str, root: str = "/", *, version: str = "nfs4") -> dict[str, t.Any]:
    return seen(version, source, root)


def ext4(identity: str | None = None, root: str = "/srv/images") -> dict[str, t.Any]:
    return seen("ext4", "/dev/vda1", root, identity)


FILER = nfs("filer:/vol/images")


@pytest.mark.parametrize(
    ("here", "there", "same"),
    [
        pytest.param(FILER, nfs("filer:/vol/images"), True, id="the same export"),
        pytest.param(FILER, nfs("filer:/vol", "/images"), True, id="a directory of a larger export"),
        pytest.param(FILER, nfs("filer.example.org:/vol/images/"), True, id="a longer name of the server"),
        pytest.param(FILER, nfs("10.0.0.1:/vol/images"), True, id="the address of the server"),
        pytest.param(FILER, nfs("FILER:/vol/images"), True, id="capital letters"),
        pytest.param(FILER, nfs("nas:/vol/images"), None, id="another name: a server may have several"),
        pytest.param(FILER, nfs("filer:/vol/old"), False, id="another export"),
        pytest.param(FILER, nfs("filer:/vol/images", "/a"), False, id="another directory of it"),
        pytest.param(FILER, nfs("filer:/export/vol/images", version="nfs"), None, id="versions name exports unlike"),
        pytest.param(FILER, nfs("filer:/vol/images", version="nfs"), True, id="versions name it alike"),
        pytest.param(nfs("[fd00::1]:/a"), nfs("[fd00::1]:/a"), True, id="an IPv6 address"),
        pytest.param(FILER, ext4("1"), False, id="not mounted there"),
        pytest.param(FILER, None, False, id="nothing shared there"),
        pytest.param(nfs("kvm2:/srv/images"), ext4("1"), None, id="the destination exports it"),
        pytest.param(ext4("1"), nfs("me:/srv/images"), None, id="the source exports it"),
        pytest.param(ext4("1"), FILER, False, id="not mounted here"),
        pytest.param(ext4("1"), ext4("1"), True, id="parts of one machine"),
        pytest.param(ext4("1"), ext4("1", "/other"), False, id="parts of one machine, another directory"),
        pytest.param(ext4("1"), ext4("2"), False, id="each has its own"),
        pytest.param(ext4("1"), ext4(None), None, id="a local one of which too little is known"),
        pytest.param(ext4("1"), None, None, id="a local one, and nothing is known of the other"),
        pytest.param(FILER, nfs("nas:/other"), None, id="another name and another export"),
        pytest.param(FILER, seen("cifs", "//filer/images"), False, id="another kind"),
        pytest.param(seen("ceph", "m:6789:/vm"), seen("fuse.ceph-fuse", "ceph-fuse"), None, id="CephFS by FUSE there"),
        pytest.param(seen("fuse.ceph-fuse", "ceph-fuse"), seen("ceph", "m:6789:/vm"), None, id="CephFS by FUSE here"),
        pytest.param(seen("fuse.mfs", "mfs#m:9421"), ext4("1"), False, id="something by FUSE is not mounted there"),
        pytest.param(FILER, seen("autofs", "systemd-1"), None, id="mounted when it is used"),
        pytest.param(FILER, seen("fuse.sshfs", "filer:/vol/images"), None, id="FUSE may be anything"),
        pytest.param(seen("cifs", "//nas/vm"), seen("smb3", "//nas/vm"), True, id="CIFS"),
        pytest.param(seen("cifs", "//nas/vm"), seen("cifs", "//nas/other"), False, id="another share"),
        pytest.param(
            seen("fuse.glusterfs", "localhost:/gv0"), seen("fuse.glusterfs", "gl2:gv0"), True, id="Gluster, any server"
        ),
        pytest.param(
            seen("fuse.glusterfs", "gl1:/gv0"), seen("fuse.glusterfs", "gl1:/gv1"), False, id="another volume"
        ),
        pytest.param(
            seen("ceph", "10.0.0.1:6789,10.0.0.2:6789:/vm"),
            seen("ceph", "vm@f5f8.fs=/vm"),
            True,
            id="CephFS, both ways",
        ),
        pytest.param(seen("ceph", "m:6789:/vm"), seen("ceph", "m:6789:/"), False, id="another directory of CephFS"),
        pytest.param(seen("gfs2", "/dev/dm-1"), seen("gfs2", "/dev/dm-1"), True, id="GFS2"),
        pytest.param(seen("gfs2", "/dev/dm-1"), seen("gfs2", "/dev/dm-7"), None, id="GFS2, devices have other names"),
        pytest.param(seen("gfs2", "/dev/dm-1"), ext4("1"), False, id="GFS2 is not mounted there"),
    ],
)
def test_file_systems(here: dict[str, t.Any], there: dict[str, t.Any] | None, same: bool | None) -> None:
    found, _why = mounts.compare(here, there, lambda server: server in ("kvm2", "me"))
    assert found is same


def disk(path: str, more: str = "") -> str:
    return DISK.format(path=path, cache="none", target="vda").replace("</disk>", f"{more}</disk>")


def ask(devices: str, there: list[dict[str, t.Any]] | None, **options: t.Any) -> list[tuple[t.Any, str]]:
    storage = SharedStorage(mounts=HERE, shared_paths=["/declared"], resolve=str)
    return check(subject(devices), "mounts", storage=storage, mounts=there, **options)


def test_what_was_not_observed_is_not_checked() -> None:
    assert ask(disk("/srv/images/a"), None) == []


def test_a_share_that_is_not_mounted_there() -> None:
    message = "/srv/images/a is on filer:/vol/images /a (nfs4) on kvm1, and on no file system that hosts share on kvm2"
    assert ask(disk("/srv/images/a"), []) == [(False, message)]
    assert ask(disk("/srv/images/a"), [ext4("1")])[0][0] is False


def test_one_check_for_each_directory() -> None:
    second = disk("/srv/images/b").replace("vda", "vdb")
    local = disk("/var/c").replace("vda", "vdc")
    assert ask(disk("/srv/images/a") + second + local, [FILER]) == [
        (True, "/srv/images/a is on filer:/vol/images /a (nfs4) on kvm2 as well")
    ]


def test_what_is_only_read_may_be_a_copy_on_each_host() -> None:
    base = "<backingStore type='file'><source file='/srv/images/base'/></backingStore>"
    read_only = disk("/srv/images/a", "<readonly/>")
    medium = disk("/srv/images/a.iso").replace("device='disk'", "device='cdrom'")
    assert ask(disk("/var/b", base) + read_only + medium, []) == []


def test_a_disk_that_is_copied_may_be_anywhere() -> None:
    assert ask(disk("/srv/images/a"), [], copied=["vda"]) == []


def test_who_vouches_for_storage_is_believed() -> None:
    ((ok, _message),) = ask(disk("/srv/images/a"), [], trusts_storage=True)
    assert ok is None


def test_a_file_that_the_destination_has_by_another_way() -> None:
    """The directory may be a symbolic link there."""
    there = host(pools={"images": ("/srv/images/a",)})
    ((ok, _message),) = ask(disk("/srv/images/a"), [], host=there)
    assert ok is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nas:/vol/images", ": the servers are called filer and nas"),
        ("kvm1:/vol/images", ": the servers are called filer and kvm1"),
    ],
)
def test_why_it_is_not_known(source: str, message: str) -> None:
    ((ok, text),) = ask(disk("/srv/images/a"), [nfs(source)])
    assert ok is None
    assert text == f"it is not known whether /srv/images/a is on the same file system on kvm2{message}"


def test_a_declared_path_of_which_each_host_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _point: types.SimpleNamespace(f_fsid=1))
    said = [{**ext4("2", "/declared"), "path": "/declared"}]
    message = "/declared/a is on /dev/vda1 /declared/a (ext4) on kvm1, and on /dev/vda1 /declared/a (ext4) on kvm2"
    assert ask(disk("/declared/a"), said) == [(False, message)]
    assert ask(disk("/declared/a"), [{**said[0], "identity": "1"}])[0][0] is True
