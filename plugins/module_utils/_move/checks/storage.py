# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: which disks are copied, and does libvirt take the others for safe?"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Check, Subject
from ansible_collections.virtops.balance.plugins.module_utils._observe import migration_blockers
from ansible_collections.virtops.balance.plugins.module_utils._observe.shared_storage import SharedStorage

_SAFE_CACHE_MODES = ("none", "directsync")


def disks_to_copy(
    subject: Subject, storage: SharedStorage, *, chosen: t.Sequence[str] | None
) -> tuple[list[str], list[Check]]:
    """Return the targets of the disks to copy and what speaks against that.

    Without a choice these are the writable disks that are known not to be shared. One of which it is not known is
    never copied unasked: if it were shared after all, it would be copied onto itself. What counts is the topmost image,
    because that is what is written on the destination.
    """
    writable = {disk.target: disk for disk in subject.live.disks if disk.layers and not disk.readonly}
    if chosen is None:
        return [
            name
            for name, disk in writable.items()
            # What a server on this host offers is no file: one there would have to offer the same, empty.
            if not disk.layers[0].here_only and migration_blockers.layer_shared(disk.layers[0], storage) is False
        ], []
    missing = sorted(set(chosen) - set(writable))
    if missing:
        there = ", ".join(sorted(writable)) or "none"
        return [], [
            Check("copy_disks", False, f"it has no writable disk {', '.join(missing)} (copy_disks); it has: {there}")
        ]
    shared = [name for name in chosen if migration_blockers.layer_shared(writable[name].layers[0], storage)]
    if shared:
        return [], [
            Check(
                "copy_disks",
                False,
                f"{', '.join(shared)} (copy_disks) is on storage that {subject.destination} sees as well, so it would "
                "be copied onto itself",
            )
        ]
    return list(chosen), []


def needs_unsafe(
    migratable: ET.Element,
    *,
    recognised: SharedStorage,
    declared: SharedStorage,
    copied: t.Collection[str] = (),
    drops_cache: bool = False,
) -> tuple[bool, list[str]]:
    """Return whether libvirt has to be told to skip its own check of the storage, and what forbids to tell it so.

    Libvirt refuses a writable file that is not on a file system it knows to be shared, and a cache mode that may hold
    back data (error MIGRATE_UNSAFE). The flag VIR_MIGRATE_UNSAFE switches both off, for all disks at once. So it is
    only right where every writable disk is known to be safe on both counts: libvirt's own types of file systems
    (RV(recognised)) or the operator's word (RV(declared)) for the first, for the second a cache mode of none or
    directsync, or a QEMU that drops its cache where the domain arrives (RV(drops_cache)). That libvirt takes for safe
    in any mode; the mode C(unsafe) is left out here, because with it not even the source writes all back.
    """
    needed = False
    objections = []
    for disk in migratable.findall("devices/disk"):
        target = disk.find("target")
        name = "" if target is None else target.get("dev", "")
        source = disk.find("source")
        if source is None or name in copied or disk.find("readonly") is not None or disk.get("device") == "cdrom":
            continue
        kind = disk.get("type", "file")
        if kind == "network":
            continue
        path = source.get("file") or source.get("dev") or ""
        if kind == "volume":
            # Libvirt judges what it is; a pool of files is one of the directory that it was defined with.
            found = declared.volume_file(source.get("pool"), source.get("volume"))
            kind, path = (kind, path) if found is None else ("file", found)
        driver = disk.find("driver")
        cache = "default" if driver is None else driver.get("cache", "default")
        if kind == "file" and not recognised.file(path):
            if not declared.file(path):
                objections.append(f"disk {name} ({path}) is not below any of shared_paths")
                continue
            needed = True
        elif kind not in ("file", "block"):
            objections.append(f"disk {name} is of the type {kind}, which only libvirt can judge")
            continue
        if cache not in _SAFE_CACHE_MODES and (not drops_cache or cache == "unsafe"):
            objections.append(f"disk {name} has the cache mode {cache}; give it none or directsync")
    return needed, objections
