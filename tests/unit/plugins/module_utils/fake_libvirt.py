# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small stand-in for libvirt: the module, connections and domains, with the shapes that the real binding returns."""

from __future__ import annotations

import collections
import pathlib
import threading
import typing as t

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
GIB = 1024**3


def fixture(name: str) -> str:
    return (FIXTURES / name).read_text(encoding="utf-8")


class FakeLibvirtError(Exception):
    """Like libvirt.libvirtError."""

    def __init__(self, code: int, message: str | None = "something", domain: int = 10) -> None:
        super().__init__(message)
        self._values = (code, domain, message)

    def get_error_code(self) -> int:
        return self._values[0]

    def get_error_domain(self) -> int:
        return self._values[1]

    def get_error_message(self) -> str | None:
        return self._values[2]


class FakeLibvirt:
    """Like the module libvirt, with a connection that is opened by every URI."""

    libvirtError = FakeLibvirtError  # noqa: N815 - the name that the binding uses
    VIR_ERR_NONE = 0
    VIR_ERR_WARNING = 1
    VIR_ERR_INTERNAL_ERROR = 1
    VIR_ERR_NO_SUPPORT = 3
    VIR_ERR_SYSTEM_ERROR = 38
    VIR_ERR_NO_DOMAIN = 42
    VIR_ERR_AUTH_FAILED = 45
    VIR_NODE_CPU_STATS_ALL_CPUS = -1
    VIR_NODE_MEMORY_STATS_ALL_CELLS = -1
    VIR_DOMAIN_STATS_STATE = 1
    VIR_DOMAIN_STATS_CPU_TOTAL = 2
    VIR_DOMAIN_STATS_BALLOON = 4
    VIR_DOMAIN_STATS_VCPU = 8
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE = 1
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT = 1 << 29
    VIR_CONNECT_LIST_DOMAINS_ACTIVE = 1
    VIR_CONNECT_LIST_DOMAINS_INACTIVE = 2
    VIR_CONNECT_LIST_DOMAINS_PERSISTENT = 4
    VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT = 1024
    VIR_CONNECT_LIST_NETWORKS_INACTIVE = 1
    VIR_CONNECT_LIST_NETWORKS_ACTIVE = 2
    VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE = 1
    VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE = 2
    VIR_CPU_COMPARE_ERROR = -1
    VIR_CPU_COMPARE_INCOMPATIBLE = 0
    VIR_CPU_COMPARE_IDENTICAL = 1
    VIR_CPU_COMPARE_SUPERSET = 2
    VIR_DOMAIN_METADATA_ELEMENT = 2
    VIR_DOMAIN_AFFECT_LIVE = 1
    VIR_DOMAIN_AFFECT_CONFIG = 2
    VIR_DOMAIN_XML_INACTIVE = 2

    def __init__(self, connection: FakeConnection | None = None) -> None:
        self.connection = connection or FakeConnection()
        self.opened: list[tuple[str, str]] = []
        self.error_handlers: list[t.Any] = []
        self.event = threading.Event()

    def open(self, uri: str) -> FakeConnection:
        self.opened.append(("open", uri))
        return self.connection

    def openReadOnly(self, uri: str) -> FakeConnection:  # noqa: N802
        self.opened.append(("openReadOnly", uri))
        return self.connection

    def registerErrorHandler(self, handler: t.Any, context: t.Any) -> None:  # noqa: N802
        self.error_handlers.append(handler)

    def virEventRegisterDefaultImpl(self) -> None:  # noqa: N802
        pass

    def virEventRunDefaultImpl(self) -> None:  # noqa: N802
        self.event.wait()

    def virEventAddTimeout(self, _timeout: int, _callback: t.Any, _opaque: t.Any) -> int:  # noqa: N802
        self.event.set()
        return 1


class Named:
    """A network, a pool or an interface."""

    def __init__(self, name: str, xml: str, uuid: str = "00000000-0000-0000-0000-000000000001") -> None:
        self._values = (name, xml, uuid)

    def name(self) -> str:
        return self._values[0]

    def XMLDesc(self, _flags: int = 0) -> str:  # noqa: N802
        return self._values[1]

    def UUIDString(self) -> str:  # noqa: N802
        return self._values[2]


class FakeDomain:
    """A domain whose statistics are a list, one entry per sample; None = not active in that sample."""

    def __init__(
        self,
        name: str,
        uuid: str,
        *,
        stats: t.Sequence[dict[str, t.Any] | None] = (),
        xml: str | Exception | None = None,
        job: dict[str, t.Any] | Exception | None = None,
        active: bool = True,
        persistent: bool = True,
        snapshot: bool = False,
        domain_id: int = 1,
        scheduler: dict[str, t.Any] | None = None,
        metadata: str | Exception | dict[int, str] | None = None,
        now: tuple[int, int] = (1, 1),
    ) -> None:
        self._name, self._uuid, self._id = name, uuid, domain_id
        self.stats = list(stats)
        self.xml = xml if xml is not None else fixture("domain_qemu.xml")
        self.job = job if job is not None else {"type": 0}
        self.active, self.persistent, self.snapshot = active, persistent, snapshot
        self.scheduler = scheduler
        # One text is what the running domain and its definition have, several are by VIR_DOMAIN_AFFECT_*.
        self.metadata_ = dict.fromkeys(self._places(), metadata) if isinstance(metadata, str) else metadata
        self.now = now
        self.written: list[tuple[t.Any, ...]] = []
        self.calls: collections.Counter[str] = collections.Counter()

    def name(self) -> str:
        return self._name

    def UUIDString(self) -> str:  # noqa: N802
        return self._uuid

    def ID(self) -> int:  # noqa: N802
        return self._id

    def isActive(self) -> bool:  # noqa: N802
        return self.active

    def isPersistent(self) -> bool:  # noqa: N802
        return self.persistent

    def XMLDesc(self, _flags: int = 0) -> str:  # noqa: N802
        self.calls["XMLDesc"] += 1
        return _answer(self.xml)

    def jobStats(self, _flags: int = 0) -> dict[str, t.Any]:  # noqa: N802
        self.calls["jobStats"] += 1
        return _answer(self.job)

    def info(self) -> list[int]:
        self.calls["info"] += 1
        stats = self.stats[min(self.calls["info"], len(self.stats)) - 1]
        if stats is None:
            raise FakeLibvirtError(42)
        return [stats["state"], stats["maximum"], stats["current"], stats["vcpus"], stats["time"]]

    def state(self, _flags: int = 0) -> list[int]:
        return list(self.now)

    def schedulerParameters(self) -> dict[str, t.Any]:  # noqa: N802
        if self.scheduler is None:
            raise FakeLibvirtError(1)
        return self.scheduler

    def _places(self) -> list[int]:
        there = {1: self.active, 2: self.persistent}
        return [place for place in there if there[place]]

    def metadata(self, _kind: int, _uri: str, flags: int) -> str:
        texts = _answer(self.metadata_) or {}
        place = flags or (1 if self.active else 2)
        if place not in self._places():
            raise FakeLibvirtError(55)
        if place not in texts:
            raise FakeLibvirtError(80)
        return texts[place]

    def setMetadata(self, *arguments: t.Any) -> None:  # noqa: N802
        self.written.append(arguments)


class FakeConnection:
    """A connection that counts the calls that would go to the daemon.

    Answers that are an exception are raised. Keyword arguments replace answers by the name of the method.
    """

    def __init__(self, *, domains: t.Sequence[FakeDomain] = (), kind: str = "QEMU", **answers: t.Any) -> None:
        self.domains = list(domains)
        self.kind = kind
        self.calls: collections.Counter[str] = collections.Counter()
        self.stats_arguments: list[tuple[int, int]] = []
        self.closed = False
        self.answers: dict[str, t.Any] = {
            "getCapabilities": fixture("capabilities_qemu.xml"),
            "getHostname": "kvm1",
            "getVersion": 7_002_022,
            "getLibVersion": 9_000_000,
            "getInfo": ["x86_64", 6874, 2, 2445, 1, 1, 2, 1],
            "getCPUMap": (2, [True, True], 2),
            "getMemoryStats": {"total": 4194304, "free": 1048576, "buffers": 1024, "cached": 2048},
            "getFreeMemory": 2 * GIB,
            "getCellsFreeMemory": [GIB],
            "getFreePages": {},
            "getCPUModelNames": ["qemu64", "Nehalem", "EPYC"],
            "compareCPU": [2, 1, 0],
            "getCPUStats": [
                {"kernel": 10_000, "user": 20_000, "idle": 60_000, "iowait": 1_000},
                {"kernel": 11_000, "user": 23_000, "idle": 65_500, "iowait": 1_500},
            ],
            "networks": ([Named("lab", "<network><bridge name='br0'/></network>")], []),
            "pools": ([], []),
            "interfaces": [],
            "isAlive": 0,
            **answers,
        }

    def close(self) -> None:
        self.closed = True

    def setKeepAlive(self, _interval: int, _count: int) -> None:  # noqa: N802
        self.calls["setKeepAlive"] += 1

    def getType(self) -> str:  # noqa: N802
        return self.kind

    def getAllDomainStats(self, groups: int, flags: int) -> list[tuple[FakeDomain, dict[str, t.Any]]]:  # noqa: N802
        number = self.calls["getAllDomainStats"]
        self.calls["getAllDomainStats"] += 1
        self.stats_arguments.append((groups, flags))
        found = []
        for domain in self.domains:
            stats = domain.stats[min(number, len(domain.stats) - 1)] if domain.stats else None
            if domain.active and stats is not None:
                found.append((domain, stats))
        return found

    def listAllDomains(self, flags: int = 0) -> list[FakeDomain]:  # noqa: N802
        self.calls["listAllDomains"] += 1
        kept = self.domains
        if flags & 3:
            kept = [domain for domain in kept if flags & (1 if domain.active else 2)]
        if flags & 4:
            kept = [domain for domain in kept if domain.persistent]
        if flags & 1024:
            kept = [domain for domain in kept if domain.snapshot]
        return kept

    def listAllNetworks(self, flags: int = 0) -> list[Named]:  # noqa: N802
        return _answer(self.answers["networks"])[0 if flags == 2 else 1]

    def listAllStoragePools(self, flags: int = 0) -> list[Named]:  # noqa: N802
        return _answer(self.answers["pools"])[0 if flags == 2 else 1]

    def listAllInterfaces(self, _flags: int = 0) -> list[Named]:  # noqa: N802
        return _answer(self.answers["interfaces"])

    def __getattr__(self, name: str) -> t.Any:
        if name not in self.answers:
            raise AttributeError(name)

        def call(*_arguments: t.Any) -> t.Any:
            number = self.calls[name]
            self.calls[name] += 1
            answer = self.answers[name]
            if name in ("getCPUStats", "compareCPU") and isinstance(answer, list):
                answer = answer[min(number, len(answer) - 1)]
            return _answer(answer)

        return call


def _answer(answer: t.Any) -> t.Any:
    if isinstance(answer, Exception):
        raise answer
    return answer
