# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: which storage other hosts can see as well.

Libvirt refuses to migrate a domain whose disks it does not take for shared (error MIGRATE_UNSAFE), so for files the
answer is libvirt's own: the type of the file system (virFileIsSharedFSType). What libvirt cannot know the
operator declares.
"""

from __future__ import annotations

import os
import posixpath
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._observe.procfs import Mount

_SHARED_FILE_SYSTEMS = frozenset(
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
_SHARED_POOLS = frozenset(["netfs", "gluster", "rbd", "sheepdog", "vstorage", "iscsi", "iscsi-direct"])
_LOCAL_POOLS = frozenset(["logical", "disk", "zfs"])


def _contains(directory: str, path: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


class SharedStorage:
    """Answers "do other hosts see this too?" with True, False or None (not known).

    RV(mounts) is None for a host whose files cannot be looked at from here (a remote URI): there only the pools and
    the declared paths count. RV(pools) is the list in the form of the observation.
    """

    def __init__(
        self,
        *,
        mounts: t.Sequence[Mount] | None,
        shared_paths: t.Sequence[str] = (),
        resolve: t.Callable[[str], str] = os.path.realpath,
    ) -> None:
        self._mounts = mounts
        self._resolve = resolve
        self._declared = [posixpath.normpath(path) for path in shared_paths]
        self._pools: dict[str, dict[str, t.Any]] = {}

    def add_pools(self, pools: t.Iterable[dict[str, t.Any]]) -> None:
        """Make the host's pools known, each already with its own answer in RV(shared)."""
        self._pools = {pool["name"]: pool for pool in pools}

    def declared(self, path: str) -> bool:
        """Return whether the operator declared this path, or a directory above it, to be shared."""
        literal = posixpath.normpath(path)
        if any(_contains(directory, literal) for directory in self._declared):
            return True
        if self._mounts is None:
            return False
        real = self._resolve(literal)
        return any(_contains(self._resolve(directory), real) for directory in self._declared)

    def file(self, path: str) -> bool | None:
        """Answer for a file or directory."""
        if not path.startswith("/"):
            return None
        if self.declared(path):
            return True
        if self._mounts is not None:
            return self._file_system_shared(self._resolve(path))
        return self._pool_above_shared(posixpath.normpath(path))

    def volume(self, pool: str | None) -> bool | None:
        """Answer for a volume of a storage pool, by the pool's name."""
        found = self._pools.get(pool or "")
        return None if found is None else found["shared"]

    def pool(self, kind: str | None, path: str | None) -> bool | None:
        """Answer for a storage pool of a type (libvirt's names) with its target path."""
        if kind in _SHARED_POOLS:
            return True
        if path and self.declared(path):
            return True
        if kind in _LOCAL_POOLS:
            return False
        if kind in ("dir", "fs") and path:
            return self.file(path)
        return None

    def _file_system_shared(self, path: str) -> bool | None:
        above = [mount for mount in self._mounts or () if _contains(mount.point, path)]
        if not above:
            return None
        longest = max(len(mount.point) for mount in above)
        # Of several mounts on one point the last one made is the one that is seen.
        mount = [mount for mount in above if len(mount.point) == longest][-1]
        if mount.fs_type in _SHARED_FILE_SYSTEMS or mount.source.startswith("quobyte@"):
            return True
        return None if mount.fs_type in _PERHAPS_SHARED or mount.fs_type.startswith("fuse.") else False

    def _pool_above_shared(self, path: str) -> bool | None:
        above = [pool for pool in self._pools.values() if pool["path"] and _contains(pool["path"], path)]
        return max(above, key=lambda pool: len(pool["path"]))["shared"] if above else None
