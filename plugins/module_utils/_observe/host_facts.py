# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what an observation says about the host itself."""

from __future__ import annotations

import time
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._domain.vcpu_affinity import HostCpus
from ansible_collections.virtops.balance.plugins.module_utils._host import marks as host_marks
from ansible_collections.virtops.balance.plugins.module_utils._observe import capabilities as host_capabilities
from ansible_collections.virtops.balance.plugins.module_utils._observe import procfs
from ansible_collections.virtops.balance.plugins.module_utils._observe.shared_storage import SharedStorage

_MIB = 1024 * 1024
# Asking about all CPU models of a host takes some tenths of a second at most. A daemon that needs longer is busy.
_MODELS_SECONDS = 3.0

T = t.TypeVar("T")


def ask(connection: Connection, call: t.Callable[..., T], *arguments: t.Any) -> T | None:
    """Return what libvirt answers to a call, None where this hypervisor, version or user does not get an answer.

    Raises libvirtError where the connection is lost: then nothing more would be answered.
    """
    try:
        return call(*arguments)
    except connection.api.libvirtError as error:
        if connection.lost(error):
            raise
        return None


def version_text(number: int | None) -> str | None:
    """Return "9.0.0" for libvirt's way to write versions, 9000000."""
    return None if number is None else f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def read_software(connection: Connection) -> str | None:
    """Return "QEMU 10.0.2, libvirt 11.3.0", None where it is not known."""
    hypervisor = version_text(ask(connection, connection.handle.getVersion))
    libvirt = version_text(ask(connection, connection.handle.getLibVersion))
    if hypervisor is None or libvirt is None:
        return None
    return f"{connection.handle.getType()} {hypervisor}, libvirt {libvirt}"


def read_capabilities(connection: Connection) -> host_capabilities.Capabilities:
    text = ask(connection, connection.handle.getCapabilities)
    try:
        return host_capabilities.parse(text or "")
    except ValueError:
        return host_capabilities.Capabilities()


def read_node_info(connection: Connection) -> dict[str, int]:
    """Return {memory_mib, cpus, mhz} from virNodeGetInfo, {} where it does not answer."""
    info = ask(connection, connection.handle.getInfo)
    return {} if info is None else {"memory_mib": info[1], "cpus": info[2], "mhz": info[3]}


def read_cpus(connection: Connection) -> HostCpus | None:
    """Return which CPUs there are and which are online. Libvirt for Python cannot ask Xen for that."""
    answer = ask(connection, connection.handle.getCPUMap, 0)
    return (
        None if answer is None else HostCpus(answer[0], frozenset(cpu for cpu, there in enumerate(answer[1]) if there))
    )


def read_cpu_counters(connection: Connection) -> dict[str, int] | None:
    return ask(connection, connection.handle.getCPUStats, connection.api.VIR_NODE_CPU_STATS_ALL_CPUS, 0)


def read_threads(connection: Connection, *, root: str = "/") -> int | None:
    """Return how many CPUs the usage figures are about.

    These figures are libvirt's sum of /proc/stat. Where /proc can be read its own count is right, in a container
    with its own /proc too; elsewhere it is the number of CPUs that are online.
    """
    counted = procfs.count_cpus(root=root) if connection.local else None
    if counted is not None:
        return counted
    cpu_map = ask(connection, connection.handle.getCPUMap, 0)
    return None if cpu_map is None else cpu_map[2]


def read_used_mib(connection: Connection, domain: t.Any) -> int | None:
    """Return the memory that the hypervisor holds for a running domain, None = not known."""
    rss = (ask(connection, domain.memoryStats) or {}).get("rss")
    return None if rss is None else -(-int(rss) // 1024)


def read_memory(
    connection: Connection, *, root: str = "/", zfs_cache_mib: int | None = None, shared_mib: int | None = None
) -> dict[str, t.Any]:
    """Return {total_mib, available_mib, swap_used_mib, zfs_cache_mib, shared_mib} of a host.

    What is available is the kernel's own estimate (MemAvailable) plus what the ZFS cache would give back. From afar
    it is libvirt's free + buffers + cached. That has neither RV(zfs_cache_mib) in it nor lacks RV(shared_mib), which
    the kernel counts as cached though nobody can have it (tmpfs, memory of guests that others share): give both as the
    host was observed with them. Xen's driver has no such statistics and /proc tells of Domain-0 only, so there it is
    the memory that no domain has.
    """
    if connection.xen:
        free = ask(connection, connection.handle.getFreeMemory)
        return {
            "total_mib": read_node_info(connection).get("memory_mib"),
            "available_mib": None if free is None else free // _MIB,
            "swap_used_mib": None,
            "zfs_cache_mib": None,
            "shared_mib": None,
        }
    stats = ask(connection, connection.handle.getMemoryStats, connection.api.VIR_NODE_MEMORY_STATS_ALL_CELLS, 0)
    stats = stats or {}
    meminfo = procfs.read_meminfo(root=root) if connection.local else {}
    zfs_cache = procfs.read_arc_reclaimable_kib(root=root) if connection.local else None
    total = stats.get("total")
    available = meminfo.get("MemAvailable")
    if available is not None:
        available += zfs_cache or 0
    elif "available" in stats:
        available = stats["available"]
    elif {"free", "buffers", "cached"}.issubset(stats):
        available = stats["free"] + stats["buffers"] + max(0, stats["cached"] - (shared_mib or 0) * 1024)
        available += (zfs_cache_mib or 0) * 1024
    if total is not None and available is not None:
        available = min(available, total)
    swap = {"SwapTotal", "SwapFree"}.issubset(meminfo)
    return {
        "total_mib": _kib_to_mib(total),
        "available_mib": _kib_to_mib(available),
        "swap_used_mib": (meminfo["SwapTotal"] - meminfo["SwapFree"]) // 1024 if swap else None,
        "zfs_cache_mib": _kib_to_mib(zfs_cache),
        "shared_mib": _kib_to_mib(meminfo.get("Shmem")),
    }


def read_hugepages(
    connection: Connection, cells: t.Sequence[host_capabilities.Cell] | None
) -> list[dict[str, t.Any]] | None:
    """Return [{size_kib, total, free}] over all cells. The smallest pages are the ordinary ones."""
    if cells is None:
        return None
    totals: dict[int, int] = {}
    for cell in cells:
        for size in sorted(cell.pages)[1:]:
            totals[size] = totals.get(size, 0) + cell.pages[size]
    sizes = [size for size in sorted(totals) if totals[size]]
    if not sizes:
        return []
    free = _free_pages(connection, cells)
    return [
        {
            "size_kib": size,
            "total": totals[size],
            "free": None if free is None else sum(cell.get(size, 0) for cell in free),
        }
        for size in sizes
    ]


def _free_pages(connection: Connection, cells: t.Sequence[host_capabilities.Cell]) -> list[dict[int, int]] | None:
    """Return the free huge pages by their size in KiB, for each cell that has any. None = not known.

    Libvirt refuses to answer for a cell that does not exist, and for a size that a cell does not have.
    """
    found: list[dict[int, int]] = []
    for cell in cells:
        sizes = [size for size in sorted(cell.pages)[1:] if cell.pages[size]]
        if sizes:
            answer = ask(connection, connection.handle.getFreePages, sizes, cell.id, 1, 0)
            if not answer:
                return None
            found += answer.values()
    return found


def read_numa(
    connection: Connection, cells: t.Sequence[host_capabilities.Cell] | None
) -> list[dict[str, t.Any]] | None:
    if cells is None:
        return None
    last = max(cell.id for cell in cells)
    free = ask(connection, connection.handle.getCellsFreeMemory, 0, last + 1) or []
    return [
        {
            "id": cell.id,
            "total_mib": _kib_to_mib(cell.memory_kib),
            "free_mib": free[cell.id] // _MIB if cell.id < len(free) else None,
            "cpus": list(cell.cpus),
        }
        for cell in cells
    ]


def read_max_mhz(connection: Connection, info: t.Mapping[str, t.Any], *, root: str = "/") -> int | None:
    """Return the highest clock rate of the CPUs in MHz. That of Xen is the one of its CPUs' counters, which is fixed;
    elsewhere RV(info), from virNodeGetInfo, has the rate of this moment."""
    if connection.xen:
        return info.get("mhz") or None
    return procfs.read_max_mhz(root=root) if connection.local else None


def read_networks(connection: Connection) -> list[dict[str, t.Any]] | None:
    """Return [{name, bridge, active}], sorted by name; RV(bridge) is None for a network without one."""
    api, handle = connection.api, connection.handle
    found = []
    for flag, active in (
        (api.VIR_CONNECT_LIST_NETWORKS_ACTIVE, True),
        (api.VIR_CONNECT_LIST_NETWORKS_INACTIVE, False),
    ):
        networks = ask(connection, handle.listAllNetworks, flag)
        if networks is None:
            return None
        for network in networks:
            root = _xml(ask(connection, network.XMLDesc, 0))
            bridge = None if root is None else root.find("bridge")
            name = None if bridge is None else bridge.get("name")
            found.append({"name": network.name(), "bridge": name, "active": active})
    return sorted(found, key=lambda network: network["name"])


def read_bridges(
    connection: Connection, networks: list[dict[str, t.Any]] | None, *, root: str = "/"
) -> list[str] | None:
    """Return the names of all bridges: from the kernel, or from afar the ones of libvirt's networks and interfaces."""
    if connection.local:
        return procfs.read_bridges(root=root)
    interfaces = ask(connection, connection.handle.listAllInterfaces, 0)
    if interfaces is None or networks is None:
        return None
    bridges = {network["bridge"] for network in networks if network["bridge"] and network["active"]}
    for interface in interfaces:
        # The tap devices of domains are listed as well, one call each, and none of them is a bridge.
        if interface.name().startswith("vnet"):
            continue
        root_element = _xml(ask(connection, interface.XMLDesc, 0))
        if root_element is not None and root_element.get("type") == "bridge":
            bridges.add(interface.name())
    return sorted(bridges)


def read_pools(connection: Connection, storage: SharedStorage) -> list[dict[str, t.Any]] | None:
    """Return the storage pools, sorted by name. Sizes are those of the pool's last refresh."""
    api, handle = connection.api, connection.handle
    found = []
    for flag, active in (
        (api.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE, True),
        (api.VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE, False),
    ):
        pools = ask(connection, handle.listAllStoragePools, flag)
        if pools is None:
            return None
        for pool in pools:
            found.append(_pool(connection, pool, storage, active=active))
    return sorted(found, key=lambda pool: pool["name"])


def read_usable_models(
    connection: Connection, arch: str | None, *, monotonic: t.Callable[[], float] = time.monotonic
) -> list[str] | None:
    """Return libvirt's named CPU models that the host's CPU satisfies (virConnectCompareCPU), None = not known.

    This looks at the CPU, not at the hypervisor: QEMU may lack a feature of a model, or emulate one.
    """
    api, handle = connection.api, connection.handle
    names = ask(connection, handle.getCPUModelNames, arch, 0) if arch else None
    if not names:
        return None
    end = monotonic() + _MODELS_SECONDS
    usable = []
    for name in names:
        if monotonic() > end:
            return None
        cpu = ET.Element("cpu")
        ET.SubElement(cpu, "arch").text = str(arch)
        ET.SubElement(cpu, "model").text = name
        result = ask(connection, handle.compareCPU, ET.tostring(cpu, encoding="unicode"), 0)
        if result is None or result == api.VIR_CPU_COMPARE_ERROR:
            return None
        if result in (api.VIR_CPU_COMPARE_IDENTICAL, api.VIR_CPU_COMPARE_SUPERSET):
            usable.append(name)
    return sorted(usable)


def read_host(
    connection: Connection,
    storage: SharedStorage,
    *,
    cpu: t.Mapping[str, float | None],
    threads: int | None,
    memory: t.Mapping[str, t.Any],
    power: t.Mapping[str, t.Any],
    root: str = "/",
) -> dict[str, t.Any]:
    """Return RV(observation.host). The figures that differ by hypervisor are brought by the caller."""
    handle = connection.handle
    capabilities = read_capabilities(connection)
    info = read_node_info(connection)
    pools = read_pools(connection, storage)
    storage.add_pools(pools or [])
    networks = read_networks(connection)
    local = connection.local
    # That of Domain-0 tells of itself only.
    pressure = local and not connection.xen
    arch = capabilities.arch
    return {
        "hostname": ask(connection, handle.getHostname),
        "uuid": capabilities.uuid,
        "hypervisor": {
            "type": ask(connection, handle.getType),
            "version": version_text(ask(connection, handle.getVersion)),
        },
        "libvirt_version": version_text(ask(connection, handle.getLibVersion)),
        "cgroup_version": procfs.read_cgroup_version(root=root) if local else None,
        "cpu": {
            "arch": arch,
            "model": capabilities.cpu_model,
            "vendor": capabilities.cpu_vendor,
            "features": None if capabilities.cpu_features is None else list(capabilities.cpu_features),
            "usable_models": read_usable_models(connection, arch),
            "threads": threads,
            "mhz": info.get("mhz") or None,
            "max_mhz": read_max_mhz(connection, info, root=root),
            "usage": cpu["usage"],
            "iowait": cpu["iowait"],
            "pressure": procfs.read_pressure("cpu", root=root) if pressure else None,
        },
        "memory": {
            "total_mib": memory["total_mib"],
            "available_mib": memory["available_mib"],
            "swap_used_mib": memory["swap_used_mib"],
            "zfs_cache_mib": memory["zfs_cache_mib"],
            "shared_mib": memory["shared_mib"],
            "pressure": procfs.read_pressure("memory", root=root) if pressure else None,
            "hugepages": read_hugepages(connection, capabilities.cells),
        },
        "numa": read_numa(connection, capabilities.cells),
        "networks": networks,
        "bridges": read_bridges(connection, networks, root=root),
        "storage_pools": pools,
        "mounts": storage.describe_mounts(),
        "machine_types": capabilities.machine_types or None,
        "domain_types": list(capabilities.domain_types) or None,
        # Nothing is measured here: what a host draws is told by its management controller.
        "power": power,
        **(host_marks.observe(root=root) if local else {"marks": None, "marks_problem": None}),
    }


def _pool(connection: Connection, pool: t.Any, storage: SharedStorage, *, active: bool) -> dict[str, t.Any]:
    root = _xml(ask(connection, pool.XMLDesc, 0))
    kind = None if root is None else root.get("type")
    path = None if root is None else root.findtext("target/path")
    return {
        "name": pool.name(),
        "uuid": pool.UUIDString(),
        "type": kind,
        "path": path,
        "active": active,
        "shared": storage.pool(kind, path),
        "total_mib": _bytes_to_mib(root, "capacity") if active else None,
        "available_mib": _bytes_to_mib(root, "available") if active else None,
    }


def _bytes_to_mib(root: ET.Element | None, name: str) -> int | None:
    text = None if root is None else root.findtext(name)
    return int(text) // _MIB if text is not None and text.isdigit() else None


def _kib_to_mib(amount: int | None) -> int | None:
    return None if amount is None else amount // 1024


def _xml(text: str | None) -> ET.Element | None:
    try:
        return None if text is None else ET.fromstring(text)
    except ET.ParseError:
        return None
