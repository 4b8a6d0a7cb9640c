# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: does the destination have the storage pools and the volumes that disks name?"""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import POOL, VOLUME, Check, Subject


def check_volumes(subject: Subject, destination: Connection, *, copied: t.Collection[str] = ()) -> t.Iterator[Check]:
    """Make one check for each volume. For a disk of RV(copied) libvirt makes the volume itself, in the pool."""
    for disk in subject.live.disks:
        for layer in disk.layers:
            if layer.type == "volume" and layer.pool:
                volume = (layer.source or "").partition("/")[2]
                yield _check(subject, destination, layer.pool, None if disk.target in copied else volume)


def _check(subject: Subject, destination: Connection, pool_name: str, volume: str | None) -> Check:
    api, handle, host = destination.api, destination.handle, subject.destination
    kind, about = (POOL, pool_name) if volume is None else (VOLUME, f"{pool_name}/{volume}")
    try:
        pool = handle.storagePoolLookupByName(pool_name)
        if not pool.isActive():
            message = f"the storage pool {pool_name} is not active on {host}"
            return Check("volume", False, message, kind=POOL, about=pool_name)
        if volume is not None:
            pool.storageVolLookupByName(volume)
    except api.libvirtError as error:
        code = _errors.code_of(error)
        if code == _errors.NO_STORAGE_POOL:
            return Check("volume", False, f"{host} has no storage pool {pool_name}", kind=POOL, about=pool_name)
        if code == _errors.NO_STORAGE_VOL:
            message = (
                f"{host} knows no volume {volume} in its storage pool {pool_name} (if another host made it, run "
                f"virsh pool-refresh {pool_name} there)"
            )
            return Check("volume", False, message, kind=kind, about=about)
        if destination.lost(error):
            raise
        return Check("volume", None, f"{host} cannot be asked for its storage pools", kind=kind, about=about)
    there = (
        f"the storage pool {pool_name}" if volume is None else f"the volume {volume} of its storage pool {pool_name}"
    )
    return Check("volume", True, f"{host} has {there}", kind=kind, about=about)
