# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._observe import mounts
from ansible_collections.virtops.balance.plugins.module_utils._observe.procfs import Mount

TABLE = [
    Mount("/", "ext4", "/dev/vda1"),
    Mount("/proc/stat", "fuse.lxcfs", "lxcfs", "/proc/stat"),
    Mount("/srv", "nfs4", "old:/srv"),
    Mount("/srv", "nfs4", "filer:/srv"),
    Mount("/srv/local", "xfs", "/dev/vdb", "/below"),
    Mount("/mnt/gluster", "fuse.glusterfs", "localhost:/gv0"),
    Mount("/later", "autofs", "systemd-1"),
]


def resolve(path: str) -> str:
    return path.replace("/link", "/srv/local")


def of(path: str) -> tuple[t.Any, ...]:
    found = mounts.describe(path, TABLE, resolve=resolve, identity=lambda point: f"id of {point}")
    assert found is not None
    assert found["path"] == path
    return found["type"], found["source"], found["root"], found["identity"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/var/a", ("ext4", "/dev/vda1", "/var/a", "id of /")),
        ("/srv", ("nfs4", "filer:/srv", "/", None)),
        ("/srv/images/a", ("nfs4", "filer:/srv", "/images/a", None)),
        ("/srvx", ("ext4", "/dev/vda1", "/srvx", "id of /")),
        ("/srv/local/a", ("xfs", "/dev/vdb", "/below/a", "id of /srv/local")),
        ("/link/a", ("xfs", "/dev/vdb", "/below/a", "id of /srv/local")),
    ],
)
def test_what_is_seen_at_a_path(path: str, expected: tuple[t.Any, ...]) -> None:
    assert of(path) == expected


def test_without_a_table_nothing_is_known() -> None:
    assert mounts.describe("/srv", []) is None


def test_what_another_host_has_to_know() -> None:
    looked_at = []

    def look(path: str) -> str:
        looked_at.append(path)
        return resolve(path)

    found = mounts.describe_all(TABLE, ["/link", "/var"], resolve=look, identity=str.upper)
    assert looked_at == ["/link", "/var"]
    assert [(entry["path"], entry["source"], entry["root"]) for entry in found] == [
        ("/later", "systemd-1", "/"),
        ("/link", "/dev/vdb", "/below"),
        ("/mnt/gluster", "localhost:/gv0", "/"),
        ("/srv", "filer:/srv", "/"),
        ("/srv/local", "/dev/vdb", "/below"),
        ("/var", "/dev/vda1", "/var"),
    ]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/srv/images/a", ("filer:/srv", "/images/a")),
        ("/link/a", ("/dev/vdb", "/below/a")),
        ("/var", ("/dev/vda1", "/var")),
        ("/etc", None),
    ],
)
def test_what_was_said_about_a_path(path: str, expected: tuple[str, str] | None) -> None:
    said = mounts.describe_all(TABLE, ["/link", "/var"], resolve=resolve, identity=str.upper)
    found = mounts.find(path, said)
    assert (None if found is None else (found["source"], found["root"])) == expected


def test_the_identity_of_what_is_not_there() -> None:
    assert mounts.read_identity("/nowhere/at/all") is None
    assert mounts.read_identity("/") is None or mounts.read_identity("/") == mounts.read_identity("/")
