# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: which file system a path is on, in a form that two hosts can be compared by."""

from __future__ import annotations

import os
import posixpath
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._observe.procfs import Mount

# Types of file systems that libvirt takes for shared (virFileIsSharedFSType).
SHARED = frozenset(
    [
        "nfs",
        "nfs4",
        "gfs2",
        "ocfs2",
        "afs",
        "smb",
        "smb3",
        "smbfs",
        "cifs",
        "ceph",
        "gpfs",
        "acfs",
        "beegfs",
        "fuse.glusterfs",
        "fuse.quobyte",
    ]
)
# Of these libvirt knows nothing, so it refuses them, and still another host may see the same files. So may FUSE.
_PERHAPS_SHARED = frozenset(["9p", "fuse", "lustre", "orangefs", "virtiofs"])
# What is mounted here by and by, nobody can tell before.
_LATER = "autofs"
# Nothing of what is mounted below these holds disks.
_NO_DISKS = ("/dev", "/proc", "/run", "/sys")
# Of these one host at a time has the device, and the kernel derives their identity from what is on it (statfs(2)).
LOCAL = frozenset(["ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay"])


def is_shared(mount: Mount) -> bool | None:
    """Return whether other hosts may have the same file system, by its type; None = not known."""
    if mount.fs_type in SHARED or mount.source.startswith("quobyte@"):
        return True
    return None if perhaps_shared(mount.fs_type) else False


def perhaps_shared(fs_type: str) -> bool:
    return fs_type in _PERHAPS_SHARED or fs_type == _LATER or fs_type.startswith("fuse.")


def contains(directory: str, path: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def covering(path: str, mounts: t.Iterable[Mount]) -> Mount | None:
    """Return the mount that a path, free of symbolic links, is on. Of several on one point the last one is seen."""
    above = [mount for mount in mounts if contains(mount.point, path)]
    longest = max((len(mount.point) for mount in above), default=0)
    return next((mount for mount in reversed(above) if len(mount.point) == longest), None)


def read_identity(point: str) -> str | None:
    """Return the identity of a local file system as text, None where the kernel gives none."""
    try:
        return str(os.statvfs(point).f_fsid or "") or None
    except OSError:
        return None


def describe(
    path: str,
    mounts: t.Sequence[Mount],
    *,
    resolve: t.Callable[[str], str] = os.path.realpath,
    identity: t.Callable[[str], str | None] = read_identity,
) -> dict[str, t.Any] | None:
    """Return {path, type, source, root, identity} of what is seen at a path, None where that is not known.

    RV(root) is the path inside the file system. RV(identity) is only asked of local ones: a server may not answer.
    """
    real = resolve(path)
    mount = covering(real, mounts)
    return None if mount is None else _describe(path, real, mount, identity)


def _describe(path: str, real: str, mount: Mount, identity: t.Callable[[str], str | None]) -> dict[str, t.Any]:
    inside = posixpath.relpath(real, mount.point)
    return {
        "path": path,
        "type": mount.fs_type,
        "source": mount.source,
        "root": posixpath.normpath(posixpath.join(mount.root, inside)),
        "identity": identity(mount.point) if mount.fs_type in LOCAL else None,
    }


def describe_all(
    mounts: t.Sequence[Mount],
    paths: t.Iterable[str],
    *,
    resolve: t.Callable[[str], str] = os.path.realpath,
    identity: t.Callable[[str], str | None] = read_identity,
) -> list[dict[str, t.Any]]:
    """Return what another host has to know about the file systems of this one, sorted by path: those that hosts may
    share, and all that is at or below one of these paths.

    Where something is mounted is not looked at, because a server may not answer.
    """
    real = {path: resolve(path) for path in paths}
    for mount in mounts:
        of_use = is_shared(mount) is not False and not any(contains(path, mount.point) for path in _NO_DISKS)
        if of_use or any(contains(path, mount.point) for path in list(real.values())):
            real.setdefault(mount.point, mount.point)
    seen = ((path, real[path], covering(real[path], mounts)) for path in sorted(real))
    return [_describe(path, where, mount, identity) for path, where, mount in seen if mount is not None]


def find(path: str, described: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, t.Any] | None:
    """Return what RV(described), of another host, says about a path there; None where it says nothing."""
    above = [entry for entry in described if contains(entry["path"], path)]
    if not above:
        return None
    nearest = max(above, key=lambda entry: len(entry["path"]))
    inside = posixpath.relpath(path, nearest["path"])
    return {**nearest, "path": path, "root": posixpath.normpath(posixpath.join(nearest["root"], inside))}
