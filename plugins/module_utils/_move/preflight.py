# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what can be known before a migration about whether the destination takes the domain.

Every check is one or two cheap calls. A check that cannot be made because this hypervisor, version or user gets no
answer is neither passed nor failed: libvirt itself looks again when the migration begins, before anything is moved.
Only the memory is different, because libvirt does not look at it: what is not known there does not pass.
"""

from __future__ import annotations

import dataclasses
import typing as t
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import xml as domain_xml
from ansible_collections.virtops.balance.plugins.module_utils._move import guest_cpu
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts, migration_blockers
from ansible_collections.virtops.balance.plugins.module_utils._observe.shared_storage import SharedStorage

_SAFE_CACHE_MODES = ("none", "directsync")
# The size of a page that stands for ordinary memory.
_ORDINARY = 0
_KIB_PER_UNIT = {"KiB": 1, "KB": 1, "MiB": 1024, "M": 1024, "GiB": 1024**2, "G": 1024**2}


@dataclass(frozen=True)
class Check:
    """One check. RV(ok) is None where it could not be made; RV(stale): the reason may be over with the next plan."""

    name: str
    ok: bool | None
    message: str
    stale: bool = False

    def to_result(self) -> dict[str, t.Any]:
        return {"check": self.name, "ok": self.ok, "message": self.message}


@dataclass(frozen=True)
class Subject:
    """The domain that is to move.

    RV(migratable) is the definition that libvirt would send, parsed; RV(cpu) is the CPU that it has to have on the
    destination: that of the running domain, or that of the definition where it starts there anew.
    """

    name: str
    uuid: str
    source: str
    destination: str
    migratable: ET.Element
    live: domain_xml.DomainXml
    cpu: ET.Element | None


def check_destination(
    subject: Subject,
    source: Connection,
    destination: Connection,
    *,
    reserve_mib: int,
    bridges: t.Collection[str] | None = None,
    zfs_cache_mib: int | None = None,
) -> t.Iterator[Check]:
    """Make all checks that ask the destination. Raises libvirtError where the connection is lost.

    RV(bridges) are those that the destination was observed with, None = not known. They count where its libvirt cannot
    be asked for them. RV(zfs_cache_mib) is what its ZFS cache would give back, which libvirt does not know.
    """
    yield _names_free(subject, destination)
    yield _machine(subject, destination)
    yield _cpu(subject, source, destination)
    yield check_memory(
        subject.live,
        subject.migratable,
        destination,
        host=subject.destination,
        reserve_mib=reserve_mib,
        zfs_cache_mib=zfs_cache_mib,
    )
    yield from _interfaces(subject, destination, bridges)


def check_blockers(
    subject: Subject,
    storage: SharedStorage,
    *,
    state: str,
    reason: str | None,
    has_snapshot: bool | None,
    accepted: t.Collection[str],
    copied: t.Collection[str],
    shadow_paging: bool | None = None,
) -> Check:
    """Check whether the domain itself can be migrated live.

    RV(copied) are the targets of the disks that are copied, which therefore need not be shared. A domain that its
    user paused moves and stays paused, so that alone is no obstacle.
    """
    kept = [disk for disk in subject.live.disks if disk.target not in copied]
    found = migration_blockers.find_blockers(
        dataclasses.replace(subject.live, disks=tuple(kept)),
        storage,
        state=state,
        reason=reason,
        job=None,
        has_snapshot=has_snapshot,
        shadow_paging=shadow_paging,
    )
    left = [
        blocker["message"] for blocker in found if blocker["code"] not in accepted and blocker["code"] != "not_running"
    ]
    if left:
        return Check("blockers", False, "; ".join(left))
    return Check("blockers", True, "nothing in the domain prevents a live migration")


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
            name for name, disk in writable.items() if migration_blockers.layer_shared(disk.layers[0], storage) is False
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
) -> tuple[bool, list[str]]:
    """Return whether libvirt has to be told to skip its own check of the storage, and what forbids to tell it so.

    Libvirt refuses a writable file that is not on a file system it knows to be shared, and a cache mode that may hold
    back data (error MIGRATE_UNSAFE). The flag VIR_MIGRATE_UNSAFE switches both off, for all disks at once. So it is
    only right where every writable disk is known to be safe on both counts: libvirt's own types of file systems
    (RV(recognised)) or the operator's word (RV(declared)) for the first, a cache mode of none or directsync for the
    second.
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
        if cache not in _SAFE_CACHE_MODES:
            objections.append(f"disk {name} has the cache mode {cache}; give it none or directsync")
    return needed, objections


def _names_free(subject: Subject, destination: Connection) -> Check:
    api, handle = destination.api, destination.handle
    by_uuid = _lookup(api, handle.lookupByUUIDString, subject.uuid)
    if by_uuid is not None and by_uuid.name() != subject.name:
        return Check(
            "names_free", False, f"{subject.destination} already has a domain with this UUID, named {by_uuid.name()}"
        )
    by_name = _lookup(api, handle.lookupByName, subject.name)
    if by_name is not None and by_name.UUIDString() != subject.uuid:
        return Check(
            "names_free",
            False,
            f"{subject.destination} already has another domain of this name, with the UUID {by_name.UUIDString()}",
        )
    return Check("names_free", True, f"its name and UUID are free on {subject.destination}")


def _lookup(api: t.Any, call: t.Callable[[str], t.Any], key: str) -> t.Any | None:
    try:
        return call(key)
    except api.libvirtError as error:
        if _errors.code_of(error) == _errors.NO_DOMAIN:
            return None
        raise


def _hypervisor_arguments(subject: Subject) -> tuple[str | None, str | None, str | None, str | None]:
    return (
        subject.migratable.findtext("devices/emulator"),
        subject.live.arch,
        subject.live.machine,
        subject.live.type,
    )


def _machine(subject: Subject, destination: Connection) -> Check:
    """Ask for the capabilities of exactly this emulator, machine and domain type: libvirt refuses unknown ones."""
    what = f"machine type {subject.live.machine}, domain type {subject.live.type}"
    try:
        destination.handle.getDomainCapabilities(*_hypervisor_arguments(subject), 0)
    except destination.api.libvirtError as error:
        if destination.lost(error):
            raise
        if _errors.code_of(error) in (_errors.NO_SUPPORT, _errors.OPERATION_DENIED, _errors.ACCESS_DENIED):
            return Check("machine", None, f"{subject.destination} cannot be asked for its machine types")
        return Check("machine", False, f"{subject.destination} does not offer {what}: {_text(error)}")
    return Check("machine", True, f"{subject.destination} offers {what}")


def _cpu(subject: Subject, source: Connection, destination: Connection) -> Check:
    cpu = subject.cpu
    if cpu is None or cpu.find("model") is None:
        # host-passthrough, maximum: a blocker says so where nobody accepted it, and there is nothing to compare.
        return Check("cpu", None, "its CPU has no model that could be compared")
    arguments = _hypervisor_arguments(subject)
    asked = destination
    try:
        missing = guest_cpu.find_missing(destination, arguments, cpu)
        if missing is not None:
            asked = source
            cpu = guest_cpu.comparable(source, arguments, cpu)
            if cpu is None:
                return Check("cpu", None, f"not even {subject.source} is said to offer its CPU")
            asked = destination
            missing = guest_cpu.find_missing(destination, arguments, cpu)
    except asked.api.libvirtError as error:
        if asked.lost(error):
            raise
        name = subject.source if asked is source else subject.destination
        return Check("cpu", None, f"{name} cannot compare CPUs: {_text(error)}")
    if missing is not None:
        return Check("cpu", False, f"{subject.destination} cannot offer its CPU: {_text(missing)}")
    return Check("cpu", True, f"{subject.destination} can offer its CPU")


def check_memory(
    domain: domain_xml.DomainXml,
    root: ET.Element,
    destination: Connection,
    *,
    host: str,
    reserve_mib: int,
    zfs_cache_mib: int | None = None,
) -> Check:
    """Compare the domain's maximum, not its balloon: the guest may take all of it at any time.

    RV(root) is the definition of the same domain, parsed.
    """
    if domain.memory_kib is None:
        return Check("memory", False, "its maximum memory is not known")
    needed = -(-domain.memory_kib // 1024)
    if domain.hugepages:
        wanted = _huge_pages(root, domain.memory_kib)
        cells = host_facts.read_capabilities(destination).cells
        pages = host_facts.read_hugepages(destination, cells) or []
        needed = -(-wanted.pop(_ORDINARY, 0) // 1024)
        for size, kib in wanted.items():
            # Without a size in the definition the domain gets the default size, usually the smallest of the huge ones.
            sizes = [entry for entry in pages if size is None or entry["size_kib"] == size]
            free_mib = (sizes[0]["free"] or 0) * sizes[0]["size_kib"] // 1024 if sizes else 0
            if free_mib < -(-kib // 1024):
                return Check(
                    "memory",
                    False,
                    f"{host} has {free_mib} MiB of free huge pages{'' if size is None else f' of {size} KiB'} and the "
                    f"domain may use {-(-kib // 1024)} MiB",
                    stale=True,
                )
    memory = host_facts.read_memory(destination)
    available = memory["available_mib"]
    if available is not None and memory["zfs_cache_mib"] is None and zfs_cache_mib:
        available = min(available + zfs_cache_mib, memory["total_mib"] or available)
    if available is None:
        return Check("memory", False, f"{host} does not say how much memory it has available")
    if available < needed + reserve_mib:
        return Check(
            "memory",
            False,
            f"{host} has {available} MiB available; the domain may use {needed} MiB and {reserve_mib} MiB must remain",
            stale=True,
        )
    return Check("memory", True, f"{host} has {available} MiB available for its {needed} MiB")


def _huge_pages(root: ET.Element, memory_kib: int) -> dict[int | None, int]:
    """Return how much memory in KiB a domain takes in pages of each size in KiB, None = of the default size.

    Each cell of the guest may have another size, and ordinary pages where none is meant for it.
    """
    pages = root.findall("memoryBacking/hugepages/page")
    sizes = {id(page): int(page.get("size", "0")) * _KIB_PER_UNIT.get(page.get("unit", "KiB"), 1) for page in pages}
    everywhere = next(
        (sizes[id(page)] for page in pages if page.get("nodeset") is None), None if not pages else _ORDINARY
    )
    found: dict[int | None, int] = {}
    for cell in root.findall("cpu/numa/cell"):
        number, kib = cell.get("id", ""), int(cell.get("memory", "0")) * _KIB_PER_UNIT.get(cell.get("unit", "KiB"), 1)
        own = (sizes[id(page)] for page in pages if number in map(str, domain_xml.parse_cpuset(page.get("nodeset"))))
        size = next(own, everywhere)
        found[size] = found.get(size, 0) + kib
    if not found:
        return {next(iter(sizes.values()), None): memory_kib}
    # What was plugged in besides is of no cell that is listed.
    rest = memory_kib - sum(found.values())
    if rest > 0:
        found[everywhere] = found.get(everywhere, 0) + rest
    return found


def _interfaces(subject: Subject, destination: Connection, bridges: t.Collection[str] | None) -> t.Iterator[Check]:
    seen = set()
    for interface in subject.live.interfaces:
        if interface.transient or interface.source is None or (interface.type, interface.source) in seen:
            continue
        seen.add((interface.type, interface.source))
        if interface.type == "network":
            yield _network(subject, destination, interface.source)
        elif interface.type == "bridge":
            yield _bridge(subject, destination, interface.source, bridges)


def _network(subject: Subject, destination: Connection, name: str) -> Check:
    api, handle = destination.api, destination.handle
    try:
        active = handle.networkLookupByName(name).isActive()
    except api.libvirtError as error:
        if _errors.code_of(error) == _errors.NO_NETWORK:
            return Check("network", False, f"{subject.destination} has no network {name}")
        if destination.lost(error):
            raise
        return Check("network", None, f"{subject.destination} cannot be asked for its networks")
    if not active:
        return Check("network", False, f"the network {name} is not active on {subject.destination}")
    return Check("network", True, f"{subject.destination} has the network {name}")


def _bridge(subject: Subject, destination: Connection, name: str, observed: t.Collection[str] | None) -> Check:
    api, handle = destination.api, destination.handle
    try:
        handle.interfaceLookupByName(name)
    except api.libvirtError as error:
        if _errors.code_of(error) == _errors.NO_INTERFACE:
            return Check("bridge", False, f"{subject.destination} has no bridge {name}")
        if destination.lost(error):
            raise
        # Not every libvirt is built with, or runs, the driver for interfaces: Debian 13 does not install it by itself.
        return _bridge_without_interfaces(subject, destination, name, observed)
    return Check("bridge", True, f"{subject.destination} has the bridge {name}")


def _bridge_without_interfaces(
    subject: Subject, destination: Connection, name: str, observed: t.Collection[str] | None
) -> Check:
    networks = host_facts.read_networks(destination)
    present = host_facts.read_bridges(destination, networks)
    active = {network["bridge"] for network in networks or () if network["active"]}
    if name in active or name in (present or ()):
        return Check("bridge", True, f"{subject.destination} has the bridge {name}")
    if present is not None:
        return Check("bridge", False, f"{subject.destination} has no bridge {name}")
    if observed is None:
        return Check("bridge", None, f"{subject.destination} cannot be asked for its bridges")
    if name in observed:
        return Check("bridge", True, f"{subject.destination} was observed with the bridge {name}")
    return Check("bridge", False, f"{subject.destination} was observed without a bridge {name}")


def _text(error: Exception | str) -> str:
    return str(error).strip().rstrip(".")
