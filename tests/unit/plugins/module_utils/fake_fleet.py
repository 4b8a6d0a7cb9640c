# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for libvirt with several hosts, between which a domain can be migrated in every way that goes wrong."""

from __future__ import annotations

import threading
import typing as t
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from ansible_collections.virtops.balance.plugins.module_utils._domain.xml import parse_cpuset
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirtError

UUID = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
RUNNING, PAUSED = (1, 1), (3, 1)
MIGRATED, CANCELED = (1, 2), (1, 6)
WAITING, IOERROR = (3, 2), (3, 5)
# What a hypervisor with cgroup version 2 shows where there is no quota.
MAX_QUOTA = 17_592_186_044_415
QUOTA_TAGS = {"global_quota": "global_quota", "vcpu_quota": "quota"}
# virDomainModificationImpact: the running domain, and its definition.
LIVE, CONFIG = 1, 2

DISK = """
<disk type='file' device='disk'>
  <driver name='qemu' type='qcow2' cache='{cache}'/><source file='{path}'/><target dev='{target}' bus='virtio'/>
</disk>
"""
XML = """
<domain type='kvm'>
  <name>{name}</name><uuid>{uuid}</uuid>
  <memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>
  <cputune>{cputune}</cputune>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type>{boot}</os>
  <cpu mode='custom' match='exact'><model>Nehalem</model></cpu>
  <devices>
    <emulator>/usr/bin/qemu</emulator>
    {devices}
  </devices>
</domain>
"""


@dataclass(eq=False)
class Domain:
    """One copy of a domain, on one host."""

    fleet: Fleet
    host: str
    name_: str = "web-1"
    uuid: str = UUID
    now: tuple[int, int] | None = RUNNING
    persistent: bool = True
    auto: bool = False
    job: dict[str, t.Any] = field(default_factory=dict)
    scheduler: dict[str, t.Any] = field(default_factory=lambda: {"global_period": 100_000, "global_quota": -1})
    defined: dict[str, t.Any] = field(default_factory=dict)
    # What is in the metadata of the running domain and of its definition, by LIVE and CONFIG.
    texts: dict[int, str] = field(default_factory=dict)
    snapshots: int | None = 0
    memory: int = 512
    cputune: str = ""
    devices: str = ""
    boot: str = ""
    commands: list[str] = field(default_factory=list)
    refuses: dict[str, FakeLibvirtError] = field(default_factory=dict)
    # How often its guest has to be asked to shut down.
    deaf: float = 0
    # Its host has cgroup version 2.
    unified: bool = False

    def _command(self, name: str) -> None:
        self.commands.append(name)
        self.fleet.log.append((self.host, name))
        if name in self.refuses:
            raise self.refuses[name]

    @property
    def text(self) -> str | None:
        """The metadata, which is the same wherever there is any."""
        running, defined = (self.texts.get(place) for place in (LIVE, CONFIG))
        if self.now is None:
            return defined
        assert not self.persistent or running == defined, "the running domain and its definition say different things"
        return running

    @text.setter
    def text(self, text: str | None) -> None:
        self.texts = {} if text is None else dict.fromkeys(self._all_places(), text)

    def _all_places(self) -> tuple[int, ...]:
        there = {LIVE: self.now is not None, CONFIG: self.persistent}
        return tuple(place for place in there if there[place])

    def name(self) -> str:
        return self.name_

    def UUIDString(self) -> str:  # noqa: N802
        return self.uuid

    def _places(self, flags: int) -> tuple[int, ...]:
        """What flags of a call mean, and libvirt's refusal where the domain has no such thing."""
        places = tuple(place for place in (LIVE, CONFIG) if flags & place) or (LIVE if self.now else CONFIG,)
        lacks = {LIVE: "domain is not running", CONFIG: "transient domains do not have any persistent config"}
        for place in places:
            if place not in self._all_places():
                raise FakeLibvirtError(55, f"Requested operation is not valid: {lacks[place]}")
        return places

    def isActive(self) -> bool:  # noqa: N802
        if self not in self.fleet.hosts[self.host].domains:
            raise FakeLibvirtError(42, "no domain")
        return self.now is not None

    def isPersistent(self) -> bool:  # noqa: N802
        return self.persistent

    def connect(self) -> Host:
        return self.fleet.hosts[self.host]

    def autostart(self) -> int:
        return int(self.auto)

    def setAutostart(self, value: int) -> None:  # noqa: N802
        self._command("setAutostart")
        self.auto = bool(value)

    def state(self) -> list[int]:
        if self not in self.fleet.hosts[self.host].domains:
            raise FakeLibvirtError(42, "no domain")
        return list(self.now or (5, 1))

    def jobStats(self, flags: int = 0) -> dict[str, t.Any]:  # noqa: N802
        if flags:
            return self.fleet.completed
        return self.job or {"type": 0}

    def abortJob(self) -> None:  # noqa: N802
        self._command("abortJob")
        self.fleet.aborted.set()

    def migrateStartPostCopy(self, _flags: int) -> None:  # noqa: N802
        self._command("migrateStartPostCopy")

    def create(self) -> None:
        self._command("create")
        self.now = RUNNING
        self.texts = {place: self.texts[CONFIG] for place in (LIVE, CONFIG) if CONFIG in self.texts}

    def shutdown(self) -> None:
        self._command("shutdown")
        if self.now is not None and self.now[0] != RUNNING[0]:
            raise FakeLibvirtError(55, "Requested operation is not valid: domain is not running")
        self.deaf -= 1
        if self.deaf < 0:
            self._end()

    def destroy(self) -> None:
        self._command("destroy")
        self._end()

    def undefineFlags(self, _flags: int) -> None:  # noqa: N802
        self.undefine()

    def undefine(self) -> None:
        self._command("undefine")
        self.persistent = False
        self._end()

    def _end(self) -> None:
        self.now = None
        self.texts.pop(LIVE, None)
        if not self.persistent:
            self.fleet.hosts[self.host].domains.remove(self)

    def resume(self) -> None:
        self._command("resume")
        self.now = (1, 5)

    def snapshotNum(self, _flags: int) -> int:  # noqa: N802
        if self.snapshots is None:
            raise FakeLibvirtError(3)
        return self.snapshots

    def blockInfo(self, _target: str) -> list[int]:  # noqa: N802
        return [1024**3, 0, 0]

    def memoryStats(self) -> dict[str, int]:  # noqa: N802
        return {"actual": self.memory * 1024, "rss": self.memory * 512}

    def vcpuPinInfo(self, _flags: int) -> list[tuple[bool, ...]]:  # noqa: N802
        count = len(self.fleet.hosts[self.host].cpus)
        pins = {pin.get("vcpu"): pin.get("cpuset", "") for pin in ET.fromstring(self.XMLDesc(0)).iter("vcpupin")}
        numbers = parse_cpuset(pins["0"]) if "0" in pins else range(count)
        return [tuple(cpu in numbers for cpu in range(count))]

    def vcpus(self) -> tuple[list[tuple[int, int, int, int]], list[tuple[bool, ...]]]:
        return [(0, 1, 0, 0)], self.vcpuPinInfo(1)

    def info(self) -> list[int]:
        return [(self.now or (5, 1))[0], self.memory * 1024, self.memory * 1024, 1, 0]

    def XMLDesc(self, flags: int) -> str:  # noqa: N802
        cputune = self.cputune
        (place,) = self._places(CONFIG if flags & Fleet.VIR_DOMAIN_XML_INACTIVE and self.persistent else 0)
        if flags & Fleet.VIR_DOMAIN_XML_INACTIVE:
            tags = {"cpu_shares": "shares", "vcpu_period": "period", "vcpu_quota": "quota"}
            cputune += "".join(f"<{tags.get(k, k)}>{v}</{tags.get(k, k)}>" for k, v in self.defined.items())
        text = self.texts.get(place, "").replace("<state", "<state xmlns='urn:virtops:balance:1'", 1)
        parts = {"cputune": cputune, "devices": self.devices, "boot": self.boot}
        whole = XML.format(name=self.name_, uuid=self.uuid, memory=self.memory, **parts)
        return whole.replace("<cputune>", f"<metadata>{text}</metadata><cputune>", 1) if text else whole

    def metadata(self, _kind: int, _uri: str, flags: int) -> str:
        if flags == LIVE | CONFIG:
            raise FakeLibvirtError(8, "invalid argument: only one of LIVE and CONFIG")
        (place,) = self._places(flags)
        if place not in self.texts:
            raise FakeLibvirtError(80)
        return self.texts[place]

    def setMetadata(self, _kind: int, text: str, _key: str, _uri: str, flags: int) -> None:  # noqa: N802
        self._command("setMetadata")
        self.texts.update(dict.fromkeys(self._places(flags), text))

    def schedulerParametersFlags(self, _flags: int) -> dict[str, t.Any]:  # noqa: N802
        return dict(self.scheduler)

    def setSchedulerParametersFlags(self, values: dict[str, t.Any], flags: int) -> None:  # noqa: N802
        self._command("setSchedulerParametersFlags")
        if flags & Fleet.VIR_DOMAIN_AFFECT_LIVE:
            for name, value in values.items():
                shown_as_max = self.unified and name in QUOTA_TAGS and value < 0
                self.scheduler[name] = MAX_QUOTA if shown_as_max else value
                if shown_as_max:
                    # As recorded with libvirt 11.3: the running domain's description has it from now on.
                    self.cputune += f"<{QUOTA_TAGS[name]}>{value}</{QUOTA_TAGS[name]}>"
        if flags & Fleet.VIR_DOMAIN_AFFECT_CONFIG:
            self.defined.update(values)

    def schedulerParameters(self) -> dict[str, t.Any]:  # noqa: N802
        return dict(self.scheduler)

    def setSchedulerParameters(self, values: dict[str, t.Any]) -> None:  # noqa: N802
        self._command("setSchedulerParameters")
        self.scheduler.update(values)

    def migrateToURI3(self, uri: str, parameters: dict[str, t.Any], flags: int) -> None:  # noqa: N802
        self._command("migrate")
        self.fleet.migrations.append((uri, parameters, flags))
        self.fleet.behaviour(self, self.fleet.hosts[self.fleet.at(uri)])


@dataclass
class Host:
    """One hypervisor, which is its own connection."""

    fleet: Fleet
    name: str
    host_uuid: str
    domains: list[Domain] = field(default_factory=list)
    kind: str = "QEMU"
    memory: dict[str, int] = field(
        default_factory=lambda: {"total": 4 * 1024**2, "free": 2 * 1024**2, "buffers": 0, "cached": 0}
    )
    networks: tuple[str, ...] = ("default",)
    bridges: tuple[str, ...] = ("br0",)
    refuses: dict[str, FakeLibvirtError] = field(default_factory=dict)
    # What libvirt says about the connection where an error may mean that it is gone.
    alive: bool = False
    # Of the hypervisor and of libvirt.
    versions: tuple[int, int] = (7_002_022, 9_000_000)
    # What was defined here.
    definitions: list[str] = field(default_factory=list)
    pages: dict[int, dict[int, int]] = field(default_factory=dict)
    cells: str = ""
    # Whether each of its CPUs is online.
    cpus: tuple[bool, ...] = (True,) * 4
    # Storage pools with their volumes, and secrets by UUID or usage: nobody may ask for a value.
    pools: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"p": ("v",)})
    secrets: tuple[str, ...] = ()
    # Of its domains, as virConnectGetAllDomainStats returns them.
    statistics: list[dict[str, int]] = field(default_factory=list)
    # Models and features that its hypervisor is not said to offer.
    lacks: frozenset[str] = frozenset()

    def _answer(self, call: str) -> None:
        if call in self.refuses:
            raise self.refuses[call]

    def _domain(self, **key: str) -> Domain:
        for domain in self.domains:
            if all(getattr(domain, name) == value for name, value in key.items()):
                return domain
        raise FakeLibvirtError(42, "no domain")

    def lookupByUUIDString(self, uuid: str) -> Domain:  # noqa: N802
        return self._domain(uuid=uuid)

    def lookupByName(self, name: str) -> Domain:  # noqa: N802
        return self._domain(name_=name)

    def getType(self) -> str:  # noqa: N802
        return self.kind

    def getVersion(self) -> int:  # noqa: N802
        self._answer("getVersion")
        return self.versions[0]

    def getLibVersion(self) -> int:  # noqa: N802
        return self.versions[1]

    def getHostname(self) -> str:  # noqa: N802
        return self.name

    def getCapabilities(self) -> str:  # noqa: N802
        return f"<capabilities><host><uuid>{self.host_uuid}</uuid>{self.cells}</host></capabilities>"

    def getMemoryStats(self, _cell: int, _flags: int) -> dict[str, int]:  # noqa: N802
        self._answer("getMemoryStats")
        return self.memory

    def getFreeMemory(self) -> int:  # noqa: N802
        self._answer("getFreeMemory")
        return 1024**3

    def getInfo(self) -> list[t.Any]:  # noqa: N802
        return ["x86_64", 4096, 2, 2400, 1, 1, 2, 1]

    def getCPUMap(self, _flags: int) -> tuple[int, list[bool], int]:  # noqa: N802
        self._answer("getCPUMap")
        return len(self.cpus), list(self.cpus), sum(self.cpus)

    def listAllDomains(self, _flags: int) -> list[Domain]:  # noqa: N802
        return [domain for domain in self.domains if domain.now is not None]

    def getAllDomainStats(self, _groups: int, _flags: int) -> list[tuple[None, dict[str, int]]]:  # noqa: N802
        self._answer("getAllDomainStats")
        return [(None, statistics) for statistics in self.statistics]

    def getFreePages(self, _sizes: list[int], _first: int, _count: int, _flags: int) -> dict[int, dict[int, int]]:  # noqa: N802
        return self.pages

    def getDomainCapabilities(self, *_arguments: t.Any) -> str:  # noqa: N802
        self._answer("getDomainCapabilities")
        return "<domainCapabilities/>"

    def compareHypervisorCPU(self, *arguments: t.Any) -> int:  # noqa: N802
        self._answer("compareHypervisorCPU")
        cpu = ET.fromstring(arguments[4])
        wanted = [feature.get("name", "") for feature in cpu.findall("feature") if feature.get("policy") != "disable"]
        missing = [name for name in (cpu.findtext("model") or "", *wanted) if name in self.lacks]
        if missing:
            lacks = f"Host CPU does not provide required features: {', '.join(missing)}"
            raise FakeLibvirtError(91, f"the CPU is incompatible with host CPU: {lacks}")
        return 2

    def networkLookupByName(self, name: str) -> Network:  # noqa: N802
        self._answer("networkLookupByName")
        if name.removeprefix("off-") not in self.networks:
            raise FakeLibvirtError(43, "no network")
        return Network(not name.startswith("off-"))

    def storagePoolLookupByName(self, name: str) -> Pool:  # noqa: N802
        self._answer("storagePoolLookupByName")
        if name.removeprefix("off-") not in self.pools:
            raise FakeLibvirtError(49, f"Storage pool not found: no storage pool with matching name '{name}'", 18)
        return Pool(not name.startswith("off-"), self.pools[name.removeprefix("off-")])

    def storageVolLookupByPath(self, path: str) -> str:  # noqa: N802
        if not any(path in volumes for volumes in self.pools.values()):
            raise FakeLibvirtError(50, f"Storage volume not found: no storage vol with matching path '{path}'", 18)
        return path

    def secretLookupByUUIDString(self, uuid: str) -> str:  # noqa: N802
        return self.secretLookupByUsage(0, uuid)

    def secretLookupByUsage(self, _type: int, usage: str) -> str:  # noqa: N802
        self._answer("secretLookup")
        if usage not in self.secrets:
            raise FakeLibvirtError(66, f"Secret not found: no secret with matching '{usage}'", 30)
        return usage

    def interfaceLookupByName(self, name: str) -> str:  # noqa: N802
        self._answer("interfaceLookupByName")
        if name not in self.bridges:
            raise FakeLibvirtError(57, "no interface")
        return name

    def listAllNetworks(self, flags: int) -> list[Network]:  # noqa: N802
        self._answer("listAllNetworks")
        return [Network(True, name) for name in self.networks] if flags == 2 else []

    def listAllInterfaces(self, _flags: int) -> list[str]:  # noqa: N802
        self._answer("interfaceLookupByName")
        return []

    def defineXML(self, text: str) -> Domain:  # noqa: N802
        self._answer("defineXML")
        self.fleet.log.append((self.name, "defineXML"))
        self.definitions.append(text)
        return self._named_in(text, persistent=True)

    def createXML(self, text: str, _flags: int) -> Domain:  # noqa: N802
        self._answer("createXML")
        domain = self._named_in(text, persistent=False)
        domain.create()
        return domain

    def _named_in(self, text: str, *, persistent: bool) -> Domain:
        root = ET.fromstring(text)
        state = root.find("metadata/{urn:virtops:balance:1}state")
        noted = None if state is None else ET.tostring(state, encoding="unicode")
        name, uuid = root.findtext("name") or "", root.findtext("uuid") or UUID
        for domain in self.domains:
            if domain.uuid == uuid:
                domain.persistent = domain.persistent or persistent
                domain.texts.pop(CONFIG, None)
                if noted is not None:
                    domain.texts[CONFIG] = noted
                return domain
        refused = {name: error for name, error in self.refuses.items() if name in ("create", "undefine")}
        return self.fleet.add(
            self.name, name_=name, uuid=uuid, now=None, persistent=persistent, refuses=refused, text=noted
        )

    def setKeepAlive(self, _interval: int, _count: int) -> None:  # noqa: N802
        pass

    def isAlive(self) -> bool:  # noqa: N802
        return self.alive

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Network:
    active: bool
    name_: str = ""

    def name(self) -> str:
        return self.name_

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802
        return f"<network><name>{self.name_}</name><bridge name='virbr-{self.name_}'/></network>"

    def isActive(self) -> bool:  # noqa: N802
        return self.active


@dataclass(frozen=True)
class Pool:
    active: bool
    volumes: tuple[str, ...]

    def isActive(self) -> bool:  # noqa: N802
        return self.active

    def storageVolLookupByName(self, name: str) -> str:  # noqa: N802
        if name not in self.volumes:
            raise FakeLibvirtError(50, f"Storage volume not found: no storage vol with matching name '{name}'", 18)
        return name


class ReadOnly:
    """A host, or a domain of it, as a connection shows it that was opened for reading only."""

    CHANGES = (
        *("abortJob", "create", "createXML", "defineXML", "destroy", "migrateStartPostCopy", "migrateToURI3", "resume"),
        *("setAutostart", "setMetadata", "setSchedulerParameters", "setSchedulerParametersFlags", "shutdown"),
        *("undefine", "undefineFlags"),
    )

    def __init__(self, real: Host | Domain) -> None:
        self._real = real

    def __getattr__(self, name: str) -> t.Any:
        if name in self.CHANGES:
            raise FakeLibvirtError(29, f"operation forbidden: read only access prevents {name}")
        found = getattr(self._real, name)
        if name in ("lookupByName", "lookupByUUIDString"):
            return lambda key: ReadOnly(found(key))
        return found


class Fleet:
    """Like the module libvirt. URIs are test://NAME/, and a host in RV(down) cannot be reached."""

    libvirtError = FakeLibvirtError  # noqa: N815 - the name that the binding uses
    VIR_CONNECT_LIST_DOMAINS_ACTIVE = 1
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE = 1
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT = 1 << 29
    VIR_DOMAIN_STATS_BALLOON = 4
    VIR_SECRET_USAGE_TYPE_VOLUME = 1
    VIR_SECRET_USAGE_TYPE_CEPH = 2
    VIR_SECRET_USAGE_TYPE_ISCSI = 3
    VIR_CONNECT_LIST_NETWORKS_INACTIVE = 1
    VIR_CONNECT_LIST_NETWORKS_ACTIVE = 2
    VIR_DOMAIN_METADATA_ELEMENT = 2
    VIR_DOMAIN_AFFECT_LIVE = 1
    VIR_DOMAIN_AFFECT_CONFIG = 2
    VIR_DOMAIN_UNDEFINE_KEEP_NVRAM = 8
    VIR_DOMAIN_XML_SECURE = 1
    VIR_DOMAIN_XML_INACTIVE = 2
    VIR_DOMAIN_XML_MIGRATABLE = 8
    VIR_DOMAIN_JOB_STATS_COMPLETED = 1
    VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED = 2
    VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE = 1
    VIR_CPU_COMPARE_INCOMPATIBLE = 0
    VIR_NODE_MEMORY_STATS_ALL_CELLS = -1
    VIR_MIGRATE_LIVE = 1
    VIR_MIGRATE_PEER2PEER = 2
    VIR_MIGRATE_PERSIST_DEST = 8
    VIR_MIGRATE_UNDEFINE_SOURCE = 16
    VIR_MIGRATE_NON_SHARED_DISK = 64
    VIR_MIGRATE_NON_SHARED_INC = 128
    VIR_MIGRATE_UNSAFE = 512
    VIR_MIGRATE_ABORT_ON_ERROR = 1 << 12
    VIR_MIGRATE_AUTO_CONVERGE = 1 << 13
    VIR_MIGRATE_POSTCOPY = 1 << 15
    VIR_MIGRATE_TLS = 1 << 16
    VIR_MIGRATE_PARALLEL = 1 << 17

    def __init__(self) -> None:
        self.hosts = {name: Host(self, name, f"uuid-of-{name}") for name in ("kvm1", "kvm2")}
        self.down: set[str] = set()
        self.log: list[tuple[str, str]] = []
        self.migrations: list[tuple[str, dict[str, t.Any], int]] = []
        self.completed: dict[str, t.Any] = {"type": 3, "data_processed": 4096, "downtime": 50, "memory_iteration": 4}
        self.aborted = threading.Event()
        self.behaviour: t.Callable[[Domain, Host], None] = arrive

    @staticmethod
    def at(uri: str) -> str:
        return uri.split("/")[2]

    def open(self, uri: str) -> Host:
        name = self.at(uri)
        if name in self.down:
            raise FakeLibvirtError(38, f"unable to connect to server at '{name}'", 7)
        return self.hosts[name]

    def openReadOnly(self, uri: str) -> t.Any:  # noqa: N802
        return ReadOnly(self.open(uri))

    def add(self, host: str = "kvm1", *, text: str | None = None, **values: t.Any) -> Domain:
        """Give a host a domain with this metadata, in the running domain and in its definition."""
        domain = Domain(self, host, **values)
        if text is not None:
            domain.text = text
        self.hosts[host].domains.append(domain)
        return domain

    def registerErrorHandler(self, _handler: t.Any, _context: t.Any = None) -> None:  # noqa: N802
        pass


def copy_to(domain: Domain, host: Host, **changes: t.Any) -> Domain:
    """Make a copy of a domain on another host, as a migration does."""
    values = {
        key: getattr(domain, key)
        for key in ("name_", "uuid", "persistent", "memory", "cputune", "devices", "boot", "refuses")
    }
    values["scheduler"] = dict(domain.scheduler)
    values["texts"] = dict(domain.texts)
    return host.fleet.add(host.name, **{**values, "now": MIGRATED, **changes})


def arrive(domain: Domain, host: Host) -> None:
    """A migration as it should be."""
    copy_to(domain, host)
    domain.fleet.hosts[domain.host].domains.remove(domain)


def fail(domain: Domain, host: Host) -> None:
    """The destination gave up and the source runs on."""
    raise FakeLibvirtError(9, "operation failed: job 'migration out' failed: Unable to write to socket")


def fail_after_pause(domain: Domain, host: Host) -> None:
    domain.now = CANCELED
    fail(domain, host)


def lose_finish(domain: Domain, host: Host) -> None:
    """The source was stopped for the hand-over and nobody started it again."""
    domain.now = WAITING
    fail(domain, host)


def run_there_and_end(domain: Domain, host: Host) -> None:
    """The destination defined and started it, and it was shut down there before anybody looked."""
    (copy,) = [found for found in host.domains if found.uuid == domain.uuid] or [copy_to(domain, host)]
    copy.now, copy.texts = None, {place: text for place, text in domain.texts.items() if place == CONFIG}
    if not domain.persistent:
        host.domains.remove(copy)
    lose_finish(domain, host)


def lose_confirm(domain: Domain, host: Host) -> None:
    """The destination runs, and the source never heard of it."""
    copy_to(domain, host)
    domain.now = WAITING
    fail(domain, host)


def split(domain: Domain, host: Host) -> None:
    copy_to(domain, host)
    domain.now = CANCELED
    fail(domain, host)


def crash(domain: Domain, host: Host) -> None:
    domain.now = None
    fail(domain, host)


def lose_the_answer(domain: Domain, host: Host) -> None:
    """It moved, and the connection broke before libvirt could say so."""
    arrive(domain, host)
    raise FakeLibvirtError(1, "client socket is closed", 7)


def lose_the_destination(domain: Domain, host: Host) -> None:
    domain.fleet.down.add(host.name)
    domain.now = CANCELED
    fail(domain, host)


def lose_the_destination_early(domain: Domain, host: Host) -> None:
    domain.fleet.down.add(host.name)
    fail(domain, host)


def run_until_aborted(domain: Domain, host: Host) -> None:
    total = 512 * 1024**2
    domain.job = {
        "type": 2, "operation": 5, "data_total": total, "data_remaining": total // 2, "data_processed": total // 2,
        "memory_bps": 1024**2, "memory_iteration": 1,
    }  # fmt: skip
    domain.fleet.aborted.wait(300)
    domain.job = {}
    raise FakeLibvirtError(78, "operation aborted: job 'migration out' canceled by client")
