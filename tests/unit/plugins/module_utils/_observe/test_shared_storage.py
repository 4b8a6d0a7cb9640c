# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._observe.procfs import Mount
from ansible_collections.virtops.balance.plugins.module_utils._observe.shared_storage import SharedStorage

MOUNTS = (
    Mount("/", "ext4", "/dev/vda1"),
    Mount("/srv", "xfs", "/dev/vdb"),
    Mount("/srv/images", "nfs4", "nas:/images"),
    Mount("/srv/images/scratch", "tmpfs", "tmpfs"),
    Mount("/over", "nfs", "nas:/over"),
    Mount("/over", "ext4", "/dev/vdc"),
    Mount("/q", "fuse", "quobyte@registry/vol"),
    Mount("/far", "fuse.sshfs", "nas:/far"),
    Mount("/lustre", "lustre", "mgs:/fs"),
    Mount("/ntfs", "fuseblk", "/dev/vdd"),
)
LINKS = {"/var/lib/libvirt/images/a": "/srv/images/a", "/declared-link": "/mnt/declared"}


def storage(mounts: t.Sequence[Mount] | None = MOUNTS, **options: t.Any) -> SharedStorage:
    return SharedStorage(mounts=mounts, resolve=lambda path: LINKS.get(path, path), **options)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/var/lib/libvirt/images/b", False),
        ("/srv/other", False),
        ("/srv/images/a", True),
        ("/srv/images", True),
        ("/srv/images-local/a", False),
        ("/srv/images/scratch/a", False),
        pytest.param("/over/a", False, id="the last mount on a point counts"),
        ("/q/a", True),
        ("/far/a", None),
        ("/lustre/a", None),
        ("/ntfs/a", False),
        pytest.param("/var/lib/libvirt/images/a", True, id="symbolic link"),
        ("relative", None),
    ],
)
def test_file_on_this_machine(path: str, expected: bool | None) -> None:
    assert storage().file(path) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/mnt/declared/a", True),
        ("/mnt/declared", True),
        ("/mnt/declared2/a", False),
        ("/mnt/declared/../other", False),
    ],
)
@pytest.mark.parametrize("declared", ["/mnt/declared", "/mnt/declared/", "/declared-link"])
def test_declared(declared: str, path: str, expected: bool) -> None:
    assert storage(shared_paths=[declared]).file(path) is expected


def test_root_can_be_declared() -> None:
    assert storage(shared_paths=["/"]).file("/anything") is True


def pool(name: str, path: str | None, shared: bool | None) -> dict[str, t.Any]:
    return {"name": name, "path": path, "shared": shared}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/srv/images/a", True),
        ("/srv/images/local/a", False),
        ("/srv/unknown/a", None),
        ("/elsewhere", None),
        ("/mnt/declared/a", True),
        ("/declared-link/a", None),
    ],
)
def test_file_on_another_machine(path: str, expected: bool | None) -> None:
    seen = storage(None, shared_paths=["/mnt/declared"])
    seen.add_pools(
        [
            pool("images", "/srv/images", True),
            pool("local", "/srv/images/local", False),
            pool("unknown", "/srv/unknown", None),
            pool("rbd", None, True),
        ]
    )
    assert seen.file(path) is expected


@pytest.mark.parametrize(
    ("kind", "path", "expected"),
    [
        ("netfs", "/srv/x", True),
        ("rbd", None, True),
        ("iscsi", "/dev/disk/by-path", True),
        ("logical", "/dev/vg0", False),
        ("logical", "/dev/shared-vg", True),
        ("zfs", None, False),
        ("dir", "/srv/images", True),
        ("dir", "/var/lib/libvirt/images", False),
        ("fs", "/srv", False),
        ("scsi", "/dev/disk/by-path", None),
        ("dir", None, None),
        (None, None, None),
    ],
)
def test_pool(kind: str | None, path: str | None, expected: bool | None) -> None:
    assert storage(shared_paths=["/dev/shared-vg"]).pool(kind, path) is expected


def test_pool_directory_of_another_machine_is_not_known() -> None:
    assert storage(None).pool("dir", "/srv/images") is None


def test_volume() -> None:
    seen = storage()
    seen.add_pools([pool("images", None, True), pool("vg", None, False)])
    assert [seen.volume(name) for name in ("images", "vg", "none", None)] == [True, False, None, None]


def test_mounts_that_cannot_be_matched() -> None:
    assert storage([]).file("/a") is None
