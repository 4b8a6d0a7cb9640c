# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._move.checks import blockers, storage
from ansible_collections.virtops.balance.plugins.module_utils._observe.procfs import Mount
from ansible_collections.virtops.balance.plugins.module_utils._observe.shared_storage import SharedStorage
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.checked import subject
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import DISK

MOUNTS = [
    Mount("/", "ext4", "/dev/sda1"),
    Mount("/nfs", "nfs4", "filer:/images"),
    Mount("/fuse", "fuse.sshfs", "filer:/images"),
]


NBD = "<disk type='network'><source protocol='nbd'><host name='localhost'/></source><target dev='vda'/></disk>"


def disk(path: str, cache: str = "none", target: str = "vda", more: str = "") -> str:
    return DISK.format(path=path, cache=cache, target=target).replace("</disk>", f"{more}</disk>")


def base(path: str) -> str:
    return f"<backingStore type='file'><source file='{path}'/></backingStore>"


def storages(*shared_paths: str) -> dict[str, SharedStorage]:
    def resolve(path: str) -> str:
        return path

    return {
        "recognised": SharedStorage(mounts=MOUNTS, resolve=resolve),
        "declared": SharedStorage(mounts=MOUNTS, shared_paths=shared_paths, resolve=resolve),
    }


@pytest.mark.parametrize(
    ("devices", "needed", "objections"),
    [
        pytest.param("", False, 0, id="no disk"),
        pytest.param(disk("/nfs/a"), False, 0, id="libvirt knows that it is shared"),
        pytest.param(disk("/nfs/a", "writeback"), False, 1, id="shared, but the cache is for libvirt to judge"),
        pytest.param(disk("/srv/a"), True, 0, id="declared"),
        pytest.param(disk("/srv/a", "directsync"), True, 0, id="declared, directsync"),
        pytest.param(disk("/srv/a", "writeback"), True, 1, id="declared, with a cache"),
        pytest.param(disk("/srv/a", "default"), True, 1, id="declared, with the default cache"),
        pytest.param(disk("/other/a"), False, 1, id="not declared"),
        pytest.param(disk("/srv/../other/a"), False, 1, id="only looks declared"),
        pytest.param(disk("/srvx/a"), False, 1, id="a name that begins alike"),
        pytest.param(disk("/srv/a") + disk("/other/b", target="vdb"), True, 1, id="one of two"),
        pytest.param(disk("/srv/a") + disk("/nfs/b", target="vdb"), True, 0, id="declared and known"),
        pytest.param(
            disk("/srv/a") + disk("/nfs/b", "writeback", "vdb"), True, 1, id="the flag would hide another's cache"
        ),
        pytest.param(disk("/srv/a") + disk("/other/b", target="vdb", more="<readonly/>"), True, 0, id="read-only"),
        pytest.param(disk("/srv/a") + disk("/other/b", target="copied"), True, 0, id="copied along"),
        pytest.param(
            disk("/srv/a") + "<disk type='network'><source protocol='rbd' name='p/i'/><target dev='vdb'/></disk>",
            True,
            0,
            id="network",
        ),
        pytest.param(
            disk("/srv/a") + "<disk type='volume'><source pool='p' volume='v'/><target dev='vdb'/></disk>",
            True,
            1,
            id="volume",
        ),
        pytest.param(
            disk("/srv/a") + "<disk type='nvme'><source type='pci'/><target dev='vdb'/></disk>", True, 1, id="nvme"
        ),
    ],
)
def test_when_libvirt_is_told_to_skip_its_check(devices: str, needed: bool, objections: int) -> None:
    kinds = storages("/srv")
    found, why = storage.needs_unsafe(
        subject(devices).migratable, recognised=kinds["recognised"], declared=kinds["declared"], copied=["copied"]
    )

    assert found is needed
    assert len(why) == objections


@pytest.mark.parametrize(
    ("kind", "path", "needed", "objections"),
    [
        ("dir", "/srv/pool", True, []),
        ("netfs", "/nfs/pool", False, []),
        ("dir", "/other", False, ["disk vda (/other/v) is not below any of shared_paths"]),
        ("logical", "/dev/vg", False, ["disk vda is of the type volume, which only libvirt can judge"]),
        ("dir", None, False, ["disk vda is of the type volume, which only libvirt can judge"]),
    ],
)
def test_a_volume_is_the_file_that_it_stands_for(
    kind: str, path: str | None, needed: bool, objections: list[str]
) -> None:
    kinds = storages("/srv")
    kinds["declared"].add_pools([{"name": "p", "type": kind, "path": path, "shared": True}])
    volume = "<disk type='volume'><driver cache='none'/><source pool='p' volume='v'/><target dev='vda'/></disk>"
    found = storage.needs_unsafe(subject(volume).migratable, recognised=kinds["recognised"], declared=kinds["declared"])
    assert found == (needed, objections)


@pytest.mark.parametrize(
    ("cache", "drops_cache", "objections"),
    [
        ("none", False, []),
        ("directsync", False, []),
        ("writeback", False, ["disk vda has the cache mode writeback; give it none or directsync"]),
        ("writeback", True, []),
        ("writethrough", True, []),
        ("default", True, []),
        ("unsafe", True, ["disk vda has the cache mode unsafe; give it none or directsync"]),
    ],
)
def test_cache_modes_are_judged_as_libvirt_judges_them(cache: str, drops_cache: bool, objections: list[str]) -> None:
    kinds = storages("/srv")
    _needed, why = storage.needs_unsafe(
        subject(disk("/srv/a", cache)).migratable,
        recognised=kinds["recognised"],
        declared=kinds["declared"],
        drops_cache=drops_cache,
    )
    assert why == objections


@pytest.mark.parametrize(
    ("devices", "chosen", "copied", "failed"),
    [
        pytest.param(disk("/local/a"), None, ["vda"], False, id="local"),
        pytest.param(disk("/nfs/a"), None, [], False, id="shared"),
        pytest.param(disk("/local/a") + disk("/nfs/b", target="vdb"), None, ["vda"], False, id="one of two"),
        pytest.param(disk("/local/a", more="<readonly/>"), None, [], False, id="read-only"),
        pytest.param(
            "<disk type='block'><source dev='/dev/vg/a'/><target dev='vda'/></disk>", None, [], False, id="not known"
        ),
        pytest.param(
            "<disk type='block'><source dev='/dev/vg/a'/><target dev='vda'/></disk>",
            ["vda"],
            ["vda"],
            False,
            id="chosen",
        ),
        pytest.param(disk("/local/a"), ["vdz"], [], True, id="chosen and not there"),
        # What is copied is the topmost image: one that both hosts see would be copied onto itself.
        pytest.param(disk("/nfs/a"), ["vda"], [], True, id="chosen and shared"),
        pytest.param(disk("/nfs/a", more=base("/local/b")), None, [], False, id="shared above a local base"),
        pytest.param(disk("/fuse/a", more=base("/local/b")), None, [], False, id="not known above a local base"),
        pytest.param(disk("/local/a", more=base("/nfs/b")), None, ["vda"], False, id="local above a shared base"),
        pytest.param(disk("/fuse/a"), None, [], False, id="a file system that may be shared"),
        pytest.param(NBD, None, [], False, id="served by this very host"),
    ],
)
def test_which_disks_are_copied(devices: str, chosen: list[str] | None, copied: list[str], failed: bool) -> None:
    found, checks = storage.disks_to_copy(subject(devices), storages()["declared"], chosen=chosen)

    assert found == copied
    assert bool(checks) is failed


@pytest.mark.parametrize(
    ("devices", "accepted", "copied", "ok"),
    [
        pytest.param(disk("/nfs/a"), [], [], True, id="nothing"),
        pytest.param(disk("/local/a"), [], [], False, id="a local disk"),
        pytest.param(disk("/local/a"), ["local_disk"], [], True, id="accepted"),
        pytest.param(disk("/local/a"), [], ["vda"], True, id="copied"),
        pytest.param(disk("/local/a"), ["host_cpu"], [], False, id="something else accepted"),
        pytest.param("<hostdev mode='subsystem' type='pci'/>", ["local_disk"], [], False, id="a host device"),
    ],
)
def test_blockers(devices: str, accepted: list[str], copied: list[str], ok: bool) -> None:
    found = blockers.check_blockers(
        subject(devices),
        storages()["declared"],
        state="paused",
        reason="user",
        has_snapshot=False,
        accepted=accepted,
        copied=copied,
    )
    assert found.ok is ok
