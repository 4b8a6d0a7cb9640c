# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: why a domain cannot be migrated live.

The rules are libvirt's own (qemuMigrationSrcIsAllowed, qemuMigrationSrcIsSafe) and, where libvirt lets a migration
start that then fails or does harm on the other host, stricter ones.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._domain.xml import (
    HOST_DISKS,
    HOST_INTERFACES,
    Disk,
    DomainXml,
    Interface,
    Layer,
)
from ansible_collections.virtops.balance.plugins.module_utils._observe.shared_storage import SharedStorage

Blocker = dict[str, str]

_PV = "xenpv"
_DRIVES = ("cdrom", "floppy")
# With these a medium that is missing on the other host is taken out of its drive: libvirt's startupPolicy
# (qemuDomainCheckDiskStartupPolicy).
_LEFT_OUT_WHEN_MOVED = ("optional", "requisite")
_LEFT_OUT_WHEN_STARTED = ("optional",)
# What ties a domain to its host, by an argument that libvirt passes on to QEMU without a look at it.
_QEMU_ARGUMENTS = (
    (re.compile(r"\bvfio-"), "host_device", "a device of this host is passed through (vfio)"),
    (re.compile(r"\bivshmem\b"), "shared_memory", "the domain shares memory with processes of this host (ivshmem)"),
    (re.compile(r"^-tpmdev$|^tpm-"), "tpm", "the domain has a TPM, whose state is kept on this host"),
    (re.compile(r"\bvhost-user-fs\b|^-fsdev$|^-virtfs$"), "virtiofs", "a directory of this host is passed through"),
)
_MOVABLE_INTERFACES = ("bridge", "network", "user", "null", "udp", "mcast", "server", "client")


def find_blockers(
    xml: DomainXml | None,
    storage: SharedStorage,
    *,
    state: str,
    reason: str | None,
    job: t.Mapping[str, t.Any] | None,
    has_snapshot: bool | None,
    shadow_paging: bool | None = None,
    starts_anew: bool = False,
) -> list[Blocker]:
    """Return [{code, message}] for one domain, sorted as found; [] = nothing speaks against a live migration.

    RV(xml) is None for a domain whose definition libvirt did not give: it cannot be judged, so it is blocked.
    RV(shadow_paging) says whether the Xen of its host has that, None = not known. RV(starts_anew): it is not to be
    migrated but to be shut down, and started on the other host.
    """
    found = list(_state(state, reason, job))
    if has_snapshot is None:
        found.append(_blocker("snapshot", "it is not known whether the domain has snapshots"))
    elif has_snapshot:
        found.append(_blocker("snapshot", "the domain has snapshots, with which libvirt does not migrate"))
    if xml is None:
        found.append(_blocker("unknown_storage", "libvirt did not give the definition of the domain"))
        return found
    for disk in xml.disks:
        found.extend(_disk(disk, storage, _LEFT_OUT_WHEN_STARTED if starts_anew else _LEFT_OUT_WHEN_MOVED))
    found.extend(_boot_files(xml, storage))
    found.extend(_devices(xml))
    found.extend(_qemu_arguments(xml))
    if xml.machine == _PV and shadow_paging is False:
        found.append(
            _blocker(
                "shadow_paging", "the Xen of this host is built without shadow paging, so it moves no PV guest live"
            )
        )
    for interface in xml.interfaces:
        found.extend(_interface(interface))
    return found


def layer_shared(layer: Layer, storage: SharedStorage) -> bool | None:
    """Return whether other hosts see this layer of a disk under the same name; None = not known."""
    if layer.type == "network":
        return not layer.here_only
    if layer.type == "volume":
        return storage.volume(layer.pool)
    if layer.source is None:
        return None
    if layer.type == "file":
        return storage.file(layer.source)
    if layer.type == "block":
        # Nothing tells a local logical volume from a LUN that all hosts see.
        return True if storage.declared(layer.source) else None
    return None


def disk_shared(disk: Disk, storage: SharedStorage) -> bool | None:
    """Return whether other hosts see all layers of a disk. A drive without a medium is no obstacle: True."""
    if not disk.layers:
        return True if disk.device in _DRIVES else None
    answers = [layer_shared(layer, storage) for layer in disk.layers]
    if False in answers:
        return False
    return None if None in answers else True


def _blocker(code: str, message: str) -> Blocker:
    return {"code": code, "message": message}


def _state(state: str, reason: str | None, job: t.Mapping[str, t.Any] | None) -> t.Iterator[Blocker]:
    if job is not None:
        yield _blocker("job", f"a job is running on the domain ({job['operation']})")
    elif state == "paused" and reason in ("migration", "postcopy", "postcopy_failed"):
        yield _blocker("interrupted_migration", "the domain was left paused by a migration that nobody finished")
    elif state == "running" and reason == "postcopy_failed":
        yield _blocker("interrupted_migration", "the post-copy phase of a migration failed")
    if state not in ("running", "blocked"):
        yield _blocker("not_running", f"the domain is {state}" + (f" ({reason})" if reason else ""))


def _disk(disk: Disk, storage: SharedStorage, left_out: t.Collection[str]) -> t.Iterator[Blocker]:
    if disk.copying:
        yield _blocker("job", f"a block job is copying disk {disk.target}")
    if disk.transient:
        yield _blocker(
            "transient_disk", f"disk {disk.target} is transient, and libvirt does not migrate what was written to it"
        )
    if (
        disk.device in _DRIVES
        and disk.startup_policy in left_out
        and all(layer.type == "file" for layer in disk.layers)
    ):
        return
    if not disk.layers and disk.device not in _DRIVES:
        yield _blocker("unknown_storage", f"disk {disk.target}: it is not known where it is stored")
    for layer in disk.layers:
        shared = layer_shared(layer, storage)
        if shared:
            continue
        where = f"disk {disk.target}: {layer.source or 'its source'}"
        if layer.here_only:
            yield _blocker("local_disk", f"{where} is served on this very host (localhost, or a socket)")
        elif layer.type in HOST_DISKS:
            yield _blocker("host_device", f"disk {disk.target} is {HOST_DISKS[layer.type]} of this host")
        elif layer.type == "block":
            yield _blocker("block_disk", f"{where} is a block device that is not declared to be shared")
        elif shared is None:
            yield _blocker("unknown_storage", f"{where}: it is not known whether other hosts see it")
        elif disk.readonly or disk.device in _DRIVES:
            yield _blocker("local_media", f"{where} is a medium that only this host has")
        else:
            yield _blocker("local_disk", f"{where} is not on shared storage")


def _boot_files(xml: DomainXml, storage: SharedStorage) -> t.Iterator[Blocker]:
    for path in xml.boot_files:
        shared = storage.file(path)
        if shared is None:
            yield _blocker(
                "unknown_storage", f"the domain boots from {path}: it is not known whether other hosts see it"
            )
        elif not shared:
            yield _blocker("local_media", f"the domain boots from {path}, which is not on shared storage")


def _devices(xml: DomainXml) -> t.Iterator[Blocker]:
    for kind in sorted(set(xml.host_devices)):
        yield _blocker("host_device", f"a device of this host is passed through ({kind})")
    for kind in sorted(set(xml.file_systems)):
        yield _blocker("virtiofs", f"a directory of this host is passed through ({kind})")
    if xml.shared_memory:
        yield _blocker("shared_memory", "the domain shares memory with processes of this host (shmem)")
    if xml.tpm:
        yield _blocker("tpm", "the domain has a TPM, whose state is kept on this host")
    if xml.accelerated_video:
        yield _blocker(
            "accelerated_video", "the GPU of this host draws for the domain (accel3d), which QEMU does not migrate"
        )
    if xml.cpu.mode in ("host-passthrough", "maximum"):
        yield _blocker("host_cpu", f"the CPU mode {xml.cpu.mode} ties the domain to this host's CPU")
    if xml.encrypted_memory:
        yield _blocker("host_cpu", "the memory is encrypted by this host's CPU (launchSecurity)")


def _qemu_arguments(xml: DomainXml) -> t.Iterator[Blocker]:
    for pattern, code, message in _QEMU_ARGUMENTS:
        if any(pattern.search(argument) for argument in xml.qemu_arguments):
            yield _blocker(code, f"{message}, by an argument for QEMU (qemu:commandline)")


def _interface(interface: Interface) -> t.Iterator[Blocker]:
    name = f"interface {interface.mac or interface.type}"
    if interface.transient:
        return
    if interface.type in HOST_INTERFACES:
        yield _blocker("network_device", f"{name} is a device of this host ({interface.type})")
    elif interface.type == "direct" or (interface.type == "network" and interface.device is not None):
        yield _blocker("network_device", f"{name} is attached to this host's device {interface.device} (macvtap)")
    elif interface.type not in _MOVABLE_INTERFACES:
        yield _blocker("network_device", f"{name} is connected outside of libvirt ({interface.type})")
    elif interface.type == "user" and interface.backend is not None:
        yield _blocker("network_device", f"{name} is served by a process of this host ({interface.backend})")
