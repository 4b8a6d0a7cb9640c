# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the options about the destination that domain_migrate and domain_restart share."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Known
from ansible_collections.virtops.balance.plugins.module_utils._option_checks import check_number, check_shared_paths

# Of one of the file systems that a destination was observed with.
MOUNT_OPTIONS: dict[str, dict[str, t.Any]] = {
    "path": {"type": "str", "required": True},
    "type": {"type": "str", "required": True},
    "source": {"type": "str", "required": True},
    "root": {"type": "str", "default": "/"},
    "identity": {"type": "str"},
}

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "shared_paths": {"type": "list", "elements": "str", "default": []},
    "memory_reserve_mib": {"type": "int", "default": 256},
    "destination_cgroup_version": {"type": "int", "choices": [1, 2]},
    "destination_bridges": {"type": "list", "elements": "str"},
    "destination_mounts": {"type": "list", "elements": "dict", "options": MOUNT_OPTIONS},
    "destination_zfs_cache_mib": {"type": "int"},
    "destination_shared_memory_mib": {"type": "int"},
    "memory_overcommit": {"type": "float", "default": 1},
}


class DestinationOptions(t.Protocol):
    """A request with these options, under their names."""

    @property
    def shared_paths(self) -> t.Sequence[str]: ...

    @property
    def memory_reserve_mib(self) -> int: ...

    @property
    def destination_bridges(self) -> t.Sequence[str] | None: ...

    @property
    def destination_mounts(self) -> t.Sequence[t.Mapping[str, t.Any]] | None: ...

    @property
    def destination_zfs_cache_mib(self) -> int | None: ...

    @property
    def destination_shared_memory_mib(self) -> int | None: ...

    @property
    def memory_overcommit(self) -> float: ...


def check(request: DestinationOptions) -> None:
    """Raise BalanceError where the options make no sense."""
    for name, least, most in (
        ("memory_reserve_mib", 0, 1_000_000_000),
        ("destination_zfs_cache_mib", 0, 1_000_000_000),
        ("destination_shared_memory_mib", 0, 1_000_000_000),
        ("memory_overcommit", 1, 1_000),
    ):
        value = getattr(request, name)
        if value is not None:
            check_number(name, value, least, most)
    check_shared_paths(request.shared_paths)


def known(request: DestinationOptions, *, trusts_storage: bool = False, room_mib: int = 0) -> Known:
    """Return what the request says of the destination and wants of it, for the checks."""
    return Known(
        bridges=request.destination_bridges,
        mounts=request.destination_mounts,
        zfs_cache_mib=request.destination_zfs_cache_mib,
        shared_memory_mib=request.destination_shared_memory_mib,
        memory_reserve_mib=request.memory_reserve_mib,
        memory_overcommit=request.memory_overcommit,
        trusts_storage=trusts_storage,
        room_mib=room_mib,
    )
