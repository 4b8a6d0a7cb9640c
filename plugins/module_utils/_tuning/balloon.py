# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: balloons of running domains, read, set, and watched until they have moved.

Libvirt passes a new size on and says nothing about what became of it: without a driver in the guest virDomainSetMemory
returns success and nothing happens. So what counts is the size that QEMU reports afterwards. All amounts are KiB.
Source: https://libvirt.org/formatdomain.html#memory-balloon-device, virDomainMemoryStats.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import original_settings
from ansible_collections.virtops.balance.plugins.module_utils._domain.xml import HOST_DISKS, HOST_INTERFACES, DomainXml
from ansible_collections.virtops.balance.plugins.module_utils._observe import xen_sampler
from ansible_collections.virtops.balance.plugins.module_utils._observe.host import Clock
from ansible_collections.virtops.balance.plugins.module_utils._observe.sampler import STATS_TIMEOUT_SECONDS

# Balloons move by pages; a size that is nearer than this is reached.
TOLERANCE_KIB = 1024
_PAUSE_SECONDS = 0.5

Stats = t.Mapping[str, t.Any]


def obstacle_in(xml: DomainXml, name: str) -> tuple[str, str] | None:
    """Return why the balloon of a domain with this definition is of no use: a code and a sentence."""
    if xml.balloon in (None, "none"):
        return "no_device", f"{name} has no balloon device."
    if xml.hugepages:
        return "hugepages", f"The memory of {name} is in huge pages, which a balloon does not give back."
    if _has_host_device(xml):
        return "host_device", f"{name} has a device of the host, which pins all of its memory."
    if xml.locked_memory:
        return "locked", f"The memory of {name} is locked, so a balloon does not give it back."
    if xml.virtio_mem:
        # Libvirt adds it to the size that it reports and does not subtract it from the size that it sets.
        return (
            "virtio_mem",
            f"{name} has memory of the kind virtio-mem, with which libvirt cannot set a balloon exactly.",
        )
    if xml.encrypted_memory:
        return "encrypted", f"The memory of {name} is encrypted, which pins all of it."
    return None


def _has_host_device(xml: DomainXml) -> bool:
    """Return whether a device that reads and writes the guest's memory itself (VFIO, vDPA) is passed through."""
    return (
        any(kind != "usb" for kind in xml.host_devices)
        or any(interface.type in HOST_INTERFACES for interface in xml.interfaces)
        or any(layer.type in HOST_DISKS for disk in xml.disks for layer in disk.layers)
    )


def read(connection: Connection, domains: t.Sequence[t.Any]) -> dict[str, Stats]:
    """Return by UUID the statistics of those domains that still run. Raises libvirtError or BalanceError."""
    api, handle = connection.api, connection.handle
    if connection.xen:
        xen = {domain.UUIDString(): xen_sampler.read_stats(api, domain) for domain in domains}
        return {uuid: stats for uuid, stats in xen.items() if stats is not None}
    # A QEMU that something holds would keep this waiting.
    flags = api.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    rows = connection.call(
        lambda: handle.domainListGetStats(list(domains), api.VIR_DOMAIN_STATS_BALLOON, flags),
        STATS_TIMEOUT_SECONDS,
        doing="read the statistics of the domains",
    )
    return {domain.UUIDString(): stats for domain, stats in rows}


def remember(api: t.Any, domain: t.Any, size: int, *, flags: int) -> None:
    """Record the size of a balloon before its first change. Raises libvirtError."""
    known = original_settings.read(api, domain, flags=flags)
    if known.balloon_kib is None:
        original_settings.write(api, domain, dataclasses.replace(known, balloon_kib=size), flags=flags)


def forget(api: t.Any, domain: t.Any, *, flags: int) -> None:
    """Raises libvirtError."""
    known = original_settings.read(api, domain, flags=flags)
    if known.balloon_kib is not None:
        original_settings.write(api, domain, dataclasses.replace(known, balloon_kib=None), flags=flags)


def note_problem(api: t.Any, domain: t.Any, problem: str | None, since: str | None) -> None:
    """Record on the running domain whether its balloon can be used. Raises libvirtError."""
    flags = api.VIR_DOMAIN_AFFECT_LIVE
    known = original_settings.read(api, domain, flags=flags)
    changed = dataclasses.replace(known, balloon_problem=problem, balloon_since=since)
    if changed != known:
        original_settings.write(api, domain, changed, flags=flags)


def is_at(size: int | None, target: int) -> bool:
    return size is not None and abs(size - target) < TOLERANCE_KIB


def watch(connection: Connection, targets: t.Mapping[t.Any, int], seconds: float, clock: Clock) -> dict[str, int]:
    """Return by UUID the sizes of balloons that were told to move, when all have arrived or after RV(seconds).

    A domain that ended meanwhile is left out. Raises libvirtError or BalanceError.
    """
    deadline = clock.monotonic() + seconds
    while True:
        found = read(connection, list(targets))
        sizes = {uuid: stats["balloon.current"] for uuid, stats in found.items() if "balloon.current" in stats}
        wanted = {domain.UUIDString(): target for domain, target in targets.items()}
        if clock.monotonic() >= deadline or all(is_at(size, wanted[uuid]) for uuid, size in sizes.items()):
            return sizes
        clock.sleep(min(_PAUSE_SECONDS, max(0.0, deadline - clock.monotonic())))
