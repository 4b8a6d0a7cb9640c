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

from ansible_collections.virtops.balance.plugins.module_utils._observe.mounts import (
    contains,
    covering,
    describe,
    describe_all,
    is_shared,
    read_identity,
)
from ansible_collections.virtops.balance.plugins.module_utils._observe.procfs import Mount

_SHARED_POOLS = frozenset(["netfs", "gluster", "rbd", "sheepdog", "vstorage", "iscsi", "iscsi-direct"])
_POOLS_OF_FILES = frozenset(["dir", "fs", "netfs", "vstorage"])
_LOCAL_POOLS = frozenset(["logical", "disk", "zfs"])


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
        if any(contains(directory, literal) for directory in self._declared):
            return True
        if self._mounts is None:
            return False
        real = self._resolve(literal)
        return any(contains(self._resolve(directory), real) for directory in self._declared)

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

    def volume_file(self, pool: str | None, volume: str | None) -> str | None:
        """Return the path of a volume that is a file in a directory, None for all others and where it is not known."""
        found = self._pools.get(pool or "")
        if found is None or not found["path"] or not volume or found["type"] not in _POOLS_OF_FILES:
            return None
        return posixpath.join(found["path"], volume)

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

    def describe_mounts(self, identity: t.Callable[[str], str | None] = read_identity) -> list[dict[str, t.Any]] | None:
        """Return the file systems that matter for disks, see mounts.describe_all(); None = not known."""
        if self._mounts is None:
            return None
        # What the others have is mounted at their paths, and so it is in the table.
        pools = [pool["path"] for pool in self._pools.values() if pool["path"] and pool["type"] not in _SHARED_POOLS]
        return describe_all(self._mounts, [*self._declared, *pools], resolve=self._resolve, identity=identity)

    def describe(self, path: str) -> dict[str, t.Any] | None:
        """Return the file system of a path, see mounts.describe(); None = not known."""
        return None if self._mounts is None else describe(path, self._mounts, resolve=self._resolve)

    def _file_system_shared(self, path: str) -> bool | None:
        mount = covering(path, self._mounts or ())
        return None if mount is None else is_shared(mount)

    def _pool_above_shared(self, path: str) -> bool | None:
        above = [pool for pool in self._pools.values() if pool["path"] and contains(pool["path"], path)]
        return max(above, key=lambda pool: len(pool["path"]))["shared"] if above else None
