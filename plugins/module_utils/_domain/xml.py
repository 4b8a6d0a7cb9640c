# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what the XML of a domain says, as plain values.

Source: https://libvirt.org/formatdomain.html
"""

from __future__ import annotations

import re
import typing as t
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils._domain import cpu_shares
from ansible_collections.virtops.balance.plugins.module_utils._domain import metadata as domain_metadata

# Libvirt itself writes KiB; people write others.
_UNITS_IN_KIB = {"k": 1, "KiB": 1, "M": 1024, "MiB": 1024, "G": 1024**2, "GiB": 1024**2, "T": 1024**3, "TiB": 1024**3}
_DEFAULT_SHARES = {1: 1024, 2: 100}
# Interfaces and disks that are devices of the host; of disks also what they are.
HOST_INTERFACES = ("hostdev", "vdpa")
HOST_DISKS = {"nvme": "an NVMe drive", "vhostvdpa": "a vDPA device"}
QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
# A definition cannot have more; it only keeps a broken cpuset from filling the memory.
_MOST_CPUS = 65_536


# Network disks of one server. (Those of a cluster, such as rbd or gluster, each host may ask itself for.)
_SERVER_PROTOCOLS = ("nbd", "iscsi", "http", "https", "ftp", "ftps", "tftp", "ssh", "nfs")
_THIS_HOST = re.compile(r"localhost[46]?(\.localdomain[46]?)?|127\.[0-9.]+|\[?::1\]?", re.IGNORECASE)


@dataclass(frozen=True)
class Layer:
    """Where one layer of a disk is stored: the disk itself, an image that it is based on, or the file that has the data
    of such an image (dataStore, qcow2's external data file).

    RV(format) is that of the image. RV(here_only) says of a network source that only this host reaches it.
    """

    type: str
    source: str | None
    pool: str | None = None
    format: str | None = None
    here_only: bool = False


@dataclass(frozen=True)
class Disk:
    """One disk. RV(layers) starts with the disk itself; a drive without a medium has none.

    What is written to a RV(transient) one is gone when the domain ends. RV(startup_policy) tells what becomes of one
    whose file is missing: mandatory, requisite or optional.
    """

    target: str
    device: str
    type: str
    readonly: bool
    layers: tuple[Layer, ...]
    copying: bool
    transient: bool = False
    startup_policy: str | None = None

    @property
    def source(self) -> str | None:
        return self.layers[0].source if self.layers else None


@dataclass(frozen=True)
class Interface:
    """One network interface. RV(source) is the bridge, network or device that it is attached to."""

    type: str
    source: str | None
    mac: str | None
    device: str | None
    backend: str | None
    transient: bool


@dataclass(frozen=True)
class Cpu:
    """The CPU that the guest sees: what it has beyond the model, and what it lacks of the model (disabled)."""

    mode: str | None
    model: str | None
    features: tuple[str, ...]
    disabled: tuple[str, ...]


@dataclass(frozen=True)
class DomainXml:
    """A domain's live definition."""

    type: str | None
    arch: str | None
    machine: str | None
    vcpus: int | None
    memory_kib: int | None
    current_memory_kib: int | None
    stats_period_seconds: int | None
    disks: tuple[Disk, ...]
    interfaces: tuple[Interface, ...]
    cpu: Cpu
    shares: int | None
    cap: float
    pins: dict[str, list[int]]
    hugepages: bool
    host_devices: tuple[str, ...]
    file_systems: tuple[str, ...]
    boot_files: tuple[str, ...]
    shared_memory: bool
    tpm: bool
    # A graphics card whose 3D the host's GPU draws.
    accelerated_video: bool
    # What was given to QEMU past libvirt, argument by argument.
    qemu_arguments: tuple[str, ...]
    encrypted_memory: bool
    locked_memory: bool
    # Memory that is plugged in and out of a running domain by blocks.
    virtio_mem: bool
    state: domain_metadata.DomainState
    # Where all vCPUs must stay, None = anywhere; the host's NUMA cells whose memory the domain must use, None = any.
    cpuset: tuple[int, ...] | None
    strict_cells: tuple[int, ...] | None
    # Model of the balloon; "none" = the domain has no such device.
    balloon: str | None


def parse(text: str) -> DomainXml:
    """Parse what virDomainGetXMLDesc returned for a running domain. Raises ValueError where it is no XML."""
    return read(parse_root(text))


def parse_root(text: str) -> ET.Element:
    """Parse it for read(). Raises ValueError where it is no XML."""
    try:
        return ET.fromstring(text)
    except ET.ParseError as error:
        raise ValueError(str(error)) from error


def read(root: ET.Element) -> DomainXml:
    """Read a definition that is parsed."""
    os_type = root.find("os/type")
    vcpus = _vcpus(root)
    return DomainXml(
        type=root.get("type"),
        arch=None if os_type is None else os_type.get("arch"),
        machine=None if os_type is None else os_type.get("machine"),
        vcpus=vcpus,
        memory_kib=_kib(root.find("memory")),
        current_memory_kib=_kib(root.find("currentMemory")),
        stats_period_seconds=integer(_attribute(root.find("devices/memballoon/stats"), "period")),
        disks=tuple(_disk(disk) for disk in root.findall("devices/disk")),
        interfaces=tuple(_interface(interface) for interface in root.findall("devices/interface")),
        cpu=_cpu(root.find("cpu")),
        shares=integer(root.findtext("cputune/shares")),
        cap=_cap(root.find("cputune"), vcpus or 0),
        pins=_pins(root, vcpus or 0),
        hugepages=root.find("memoryBacking/hugepages") is not None,
        host_devices=_host_devices(root),
        file_systems=tuple(
            _attribute(fs.find("driver"), "type") or "9p"
            for fs in root.findall("devices/filesystem")
            if fs.get("type", "mount") == "mount"
        ),
        boot_files=tuple(filter(None, (root.findtext(f"os/{name}") for name in ("kernel", "initrd", "dtb")))),
        shared_memory=root.find("devices/shmem") is not None,
        tpm=root.find("devices/tpm") is not None,
        accelerated_video=root.find("devices/video/model/acceleration[@accel3d='yes']") is not None,
        qemu_arguments=tuple(
            argument.get("value", "")
            for argument in root.findall(f"{{{QEMU_NAMESPACE}}}commandline/{{{QEMU_NAMESPACE}}}arg")
        ),
        encrypted_memory=root.find("launchSecurity") is not None,
        locked_memory=root.find("memoryBacking/locked") is not None,
        virtio_mem=root.find("devices/memory[@model='virtio-mem']") is not None,
        state=domain_metadata.parse(domain_metadata.find(root)),
        cpuset=tuple(parse_cpuset(_attribute(root.find("vcpu"), "cpuset"))) or None,
        strict_cells=_strict_cells(root),
        balloon=_attribute(root.find("devices/memballoon"), "model"),
    )


def weight(shares: int | None, cgroup_version: int | None) -> float | None:
    """Return the relative share of a domain (1.0 = default) from <shares>, which means other things per cgroup version.

    Version 1 has cpu.shares (default 1024), version 2 cpu.weight (default 100); libvirt writes the number as it is.
    """
    if shares is None:
        return 1.0
    default = _DEFAULT_SHARES.get(cgroup_version or 0)
    return None if default is None else round(shares / default, 3)


def parse_cpuset(text: str | None) -> list[int]:
    """Return the CPU numbers of a cpuset such as "0-3,^2,8", [] where it is malformed."""
    chosen: set[int] = set()
    for part in (text or "").split(","):
        excluded = part.strip().startswith("^")
        first, _dash, last = part.strip().lstrip("^").partition("-")
        low, high = integer(first), integer(last or first)
        if low is None or high is None or high >= _MOST_CPUS:
            return []
        numbers = range(low, high + 1)
        chosen = chosen.difference(numbers) if excluded else chosen.union(numbers)
    return sorted(chosen)


def integer(text: str | None) -> int | None:
    """Return the number that a text is, None where it is none."""
    try:
        return int((text or "").strip())
    except ValueError:
        return None


def _attribute(element: ET.Element | None, name: str) -> str | None:
    return None if element is None else element.get(name)


def _kib(element: ET.Element | None) -> int | None:
    amount = integer(None if element is None else element.text)
    factor = _UNITS_IN_KIB.get(_attribute(element, "unit") or "KiB")
    return None if amount is None or factor is None else amount * factor


def _vcpus(root: ET.Element) -> int | None:
    element = root.find("vcpu")
    return integer(_attribute(element, "current")) or integer(None if element is None else element.text)


def _layer(element: ET.Element) -> Layer | None:
    kind = element.get("type", "file")
    source = element.find("source")
    if source is None:
        return None
    # The disk itself has its format elsewhere than all that is below it.
    image = _attribute(element.find("driver"), "type") or _attribute(element.find("format"), "type")
    if kind == "volume":
        return Layer(kind, f"{source.get('pool')}/{source.get('volume')}", source.get("pool"), image)
    if kind == "network":
        protocol = source.get("protocol")
        return Layer(kind, f"{protocol}:{source.get('name') or ''}", None, image, _here_only(source))
    place = next((source.get(name) for name in ("file", "dev", "dir") if source.get(name)), None)
    if kind in ("file", "block", "dir") and place is None:
        return None
    return Layer(kind, place, None, image)


def _here_only(source: ET.Element) -> bool:
    servers = source.findall("host")
    return (
        bool(servers)
        and source.get("protocol") in _SERVER_PROTOCOLS
        and all(
            server.get("transport") == "unix" or _THIS_HOST.fullmatch(server.get("name", "")) is not None
            for server in servers
        )
    )


def _layers(disk: ET.Element) -> t.Iterator[Layer]:
    element: ET.Element | None = disk
    while element is not None:
        data = element.find("source/dataStore")
        yield from filter(None, (_layer(element), None if data is None else _layer(data)))
        element = element.find("backingStore")


def _disk(disk: ET.Element) -> Disk:
    device = disk.get("device", "disk")
    return Disk(
        target=_attribute(disk.find("target"), "dev") or "",
        device=device,
        type=disk.get("type", "file"),
        readonly=disk.find("readonly") is not None or device == "cdrom",
        layers=tuple(_layers(disk)),
        copying=disk.find("mirror") is not None,
        transient=disk.find("transient") is not None,
        startup_policy=_attribute(disk.find("source"), "startupPolicy"),
    )


def _interface(interface: ET.Element) -> Interface:
    source = interface.find("source")
    kind = interface.get("type", "unknown")
    if kind == "bridge" and _attribute(source, "network"):
        # A network that stands for a bridge of the host. The destination is asked for the network, which may stand for
        # another bridge there.
        kind = "network"
    names = ("network", "bridge", "dev") if kind == "network" else ("bridge", "dev", "network", "path")
    return Interface(
        type=kind,
        source=next((_attribute(source, name) for name in names if _attribute(source, name)), None),
        mac=_attribute(interface.find("mac"), "address"),
        # A network of real devices (forward mode bridge, private, vepa, passthrough) shows the chosen one here.
        device=_attribute(source, "dev"),
        backend=_attribute(interface.find("backend"), "type"),
        transient=_attribute(interface.find("teaming"), "type") == "transient",
    )


def _cpu(cpu: ET.Element | None) -> Cpu:
    if cpu is None:
        return Cpu(None, None, (), ())
    model = cpu.findtext("model")
    mode = cpu.get("mode") or ("custom" if model else None)
    return Cpu(mode, model, _features(cpu, "require", "force"), _features(cpu, "disable", "forbid"))


def _features(cpu: ET.Element, *policies: str) -> tuple[str, ...]:
    features = (feature for feature in cpu.findall("feature") if feature.get("policy", "require") in policies)
    return tuple(sorted(filter(None, (feature.get("name") for feature in features))))


def _ceiling(tune: ET.Element, prefix: str) -> float:
    quota = integer(tune.findtext(f"{prefix}quota"))
    return cpu_shares.percent(quota, integer(tune.findtext(f"{prefix}period")) or cpu_shares.DEFAULT_PERIOD)


def _cap(tune: ET.Element | None, vcpus: int) -> float:
    """Return the ceiling of the whole domain in percent of one physical CPU, 0 = none."""
    if tune is None:
        return 0
    ceiling = round(_ceiling(tune, "global_") or _ceiling(tune, "") * vcpus, 1)
    return int(ceiling) if ceiling == int(ceiling) else ceiling


def _pins(root: ET.Element, vcpus: int) -> dict[str, list[int]]:
    everywhere = parse_cpuset(_attribute(root.find("vcpu"), "cpuset"))
    pins = {str(number): everywhere for number in range(vcpus)} if everywhere else {}
    for pin in root.findall("cputune/vcpupin"):
        cpus = parse_cpuset(pin.get("cpuset"))
        if cpus and pin.get("vcpu"):
            pins[str(pin.get("vcpu"))] = cpus
    return pins


def _strict_cells(root: ET.Element) -> tuple[int, ...] | None:
    elements = [*root.findall("numatune/memory"), *root.findall("numatune/memnode")]
    # Without a mode it is strict.
    strict = [element.get("nodeset") for element in elements if element.get("mode", "strict") == "strict"]
    return tuple(sorted({cell for nodes in strict for cell in parse_cpuset(nodes)})) or None


def _host_devices(root: ET.Element) -> tuple[str, ...]:
    """Return the kinds of host devices, without those that libvirt unplugs for a migration (teaming)."""
    return tuple(
        device.get("type") or device.get("mode") or "unknown"
        for device in root.findall("devices/hostdev")
        if _attribute(device.find("teaming"), "type") != "transient"
    )
