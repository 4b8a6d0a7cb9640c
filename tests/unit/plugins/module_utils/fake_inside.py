# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for libvirt with one host whose domains have vCPUs that run and balloons that move.

Time passes when tick() is called: vCPUs burn CPU, balloons go where they were told to.
"""

from __future__ import annotations

import collections
import typing as t
from dataclasses import dataclass, field

from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import (
    FakeConnection,
    FakeLibvirt,
    FakeLibvirtError,
)

LIVE, CONFIG = 1, 2
NANOSECONDS = 1_000_000_000
MIB = 1024

XML = """
<domain type='kvm'>
  <name>{name}</name><uuid>{uuid}</uuid>
  <memory unit='KiB'>{maximum}</memory><currentMemory unit='KiB'>{current}</currentMemory>
  <vcpu{cpuset}>{vcpus}</vcpu>{extra}
  <devices><memballoon model='{balloon}'>{stats}</memballoon></devices>
</domain>
"""


@dataclass(eq=False)
class Guest:
    """One domain. RV(wants) is what each vCPU would use, in cores; RV(used_mib) what the guest itself uses.

    The figures of its memory are always those of this moment, or those of when they were last asked for, once in
    RV(every) seconds.
    """

    host: InsideHost
    name_: str = "web-1"
    active: bool = True
    persistent: bool = True
    state_: tuple[int, int] = (1, 1)
    wants: list[float] = field(default_factory=lambda: [0.0])
    pins: dict[int, dict[int, frozenset[int]]] = field(default_factory=dict)
    ran: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    maximum_mib: int = 1024
    current_mib: float = 1024
    target_mib: float = 1024
    defined_mib: float = 1024
    used_mib: float = 200
    driver: bool = True
    follows: float = 1.0
    swapped: int = 0
    balloon: str = "virtio"
    period: int | None = 2
    reports: bool = True
    updated: int = 0
    every: int = 0
    told: tuple[float, float] | None = None
    cpuset: str | None = None
    extra: str = ""
    held: bool = False
    job: dict[str, t.Any] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    refuses: dict[str, Exception] = field(default_factory=dict)
    ignores: set[str] = field(default_factory=set)
    commands: list[tuple[t.Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.uuid = f"6ba7b810-9dad-41d1-80b4-{len(self.host.guests):012d}"
        everywhere = frozenset(range(self.host.count))
        for place in (LIVE, CONFIG):
            given = self.pins.get(place, {})
            self.pins[place] = {number: given.get(number, everywhere) for number in range(len(self.wants))}
        self.ran = [0.0] * len(self.wants)
        self.waited = [0.0] * len(self.wants)
        self.last = [min(self.pins[LIVE][number]) for number in range(len(self.wants))]
        self.updated = int(self.host.now)
        self.told = self._figures()

    def _command(self, name: str, *arguments: t.Any) -> bool:
        self.commands.append((name, *arguments))
        if name in self.refuses:
            raise self.refuses[name]
        return name not in self.ignores

    def name(self) -> str:
        return self.name_

    def UUIDString(self) -> str:  # noqa: N802
        return self.uuid

    def isActive(self) -> bool:  # noqa: N802
        return self.active

    def isPersistent(self) -> bool:  # noqa: N802
        return self.persistent

    def state(self, _flags: int = 0) -> list[int]:
        return list(self.state_ if self.active else (5, 1))

    def info(self) -> list[int]:
        burnt = int(sum(self.ran) * NANOSECONDS)
        return [self.state()[0], self.maximum_mib * MIB, int(self.current_mib * MIB), len(self.wants), burnt]

    def jobStats(self, _flags: int = 0) -> dict[str, t.Any]:  # noqa: N802
        return self.job or {"type": 0}

    def XMLDesc(self, flags: int) -> str:  # noqa: N802
        current = self.defined_mib if flags & CONFIG or not self.active else self.current_mib
        return XML.format(
            name="x",
            uuid=self.uuid,
            maximum=self.maximum_mib * MIB,
            current=int(current * MIB),
            cpuset=f" cpuset='{self.cpuset}'" if self.cpuset else "",
            vcpus=len(self.wants),
            extra=self.extra,
            balloon=self.balloon,
            stats=f"<stats period='{self.period}'/>" if self.period else "",
        )

    # Pins

    def vcpus(self) -> tuple[list[tuple[int, int, int, int]], list[tuple[bool, ...]]]:
        rows = [
            (number, 1, int(ran * NANOSECONDS), self.last[number]) for number, ran in enumerate(self.ran)
        ]  # fmt: skip
        return rows, [self._map(self.pins[LIVE][number]) for number in range(len(self.wants))]

    def vcpuPinInfo(self, flags: int) -> list[tuple[bool, ...]]:  # noqa: N802
        return [self._map(pins) for _number, pins in sorted(self.pins[flags].items())]

    def pinVcpuFlags(self, number: int, cpu_map: tuple[bool, ...], flags: int) -> int:  # noqa: N802
        if self._command("pinVcpuFlags", number, cpu_map, flags):
            self.pins[flags][number] = frozenset(cpu for cpu, there in enumerate(cpu_map) if there)
            if flags == LIVE and self.last[number] not in self.pins[LIVE][number]:
                self.last[number] = min(self.pins[LIVE][number])
        return 0

    def _map(self, cpus: frozenset[int]) -> tuple[bool, ...]:
        return tuple(cpu in cpus for cpu in range(self.host.count))

    # Memory

    def setMemoryFlags(self, kib: int, flags: int) -> int:  # noqa: N802
        if self._command("setMemoryFlags", kib, flags):
            if flags & LIVE:
                if self.balloon == "none":
                    raise FakeLibvirtError(55, "Unable to change memory of active domain without the balloon device")
                self.target_mib = kib / MIB
            if flags & CONFIG:
                self.defined_mib = kib / MIB
        return 0

    def setMemoryStatsPeriod(self, period: int, flags: int) -> int:  # noqa: N802
        if self._command("setMemoryStatsPeriod", period, flags):
            self.period = period
        return 0

    def metadata(self, _kind: int, _uri: str, flags: int) -> str:
        place = flags or (LIVE if self.active else CONFIG)
        if place not in self.texts:
            raise FakeLibvirtError(80)
        return self.texts[place]

    def setMetadata(self, _kind: int, text: str, _key: str, _uri: str, flags: int) -> None:  # noqa: N802
        if self._command("setMetadata", flags):
            for place in (LIVE, CONFIG):
                if flags & place:
                    self.texts[place] = text

    def tick(self, seconds: float) -> None:
        if self.driver and self.balloon != "none":
            self.current_mib += (self.target_mib - self.current_mib) * self.follows
            if self.period and self.reports and self.host.now - self.updated >= self.every:
                self.updated, self.told = int(self.host.now), self._figures()

    def _figures(self) -> tuple[float, float]:
        available = self.current_mib - 40
        return available, max(0.0, available - self.used_mib)

    def stats(self) -> dict[str, t.Any]:
        found: dict[str, t.Any] = {
            "state.state": self.state_[0],
            "state.reason": self.state_[1],
            "balloon.current": int(self.current_mib * MIB),
            "balloon.maximum": self.maximum_mib * MIB,
        }
        if self.held:
            return found
        found.update({"balloon.rss": 1, "balloon.last-update": 0, "vcpu.current": len(self.wants)})
        for number, (ran, waited) in enumerate(zip(self.ran, self.waited, strict=True)):
            found[f"vcpu.{number}.time"] = int(ran * NANOSECONDS)
            found[f"vcpu.{number}.delay"] = int(waited * NANOSECONDS)
        if self.driver and self.balloon != "none":
            available, usable = self.told if self.every and self.told else self._figures()
            found.update(
                {
                    "balloon.last-update": self.updated,
                    "balloon.available": int(available * MIB),
                    "balloon.usable": int(usable * MIB),
                    "balloon.swap_in": self.swapped,
                    "balloon.swap_out": 0,
                }
            )
        return found


class InsideHost(FakeConnection):
    """One host with RV(count) CPUs and its clock."""

    def __init__(self, count: int = 2, **answers: t.Any) -> None:
        self.count = count
        self.guests: list[Guest] = []
        self.now = 1_000_000.0
        self.ticks = [[0, 0] for _number in range(count)]
        self.own = [0.0] * count
        cpus = "".join(f"<cpu id='{number}' siblings='{number}'/>" for number in range(count))
        cell = f"<cell id='0'><memory>1</memory><cpus>{cpus}</cpus></cell>"
        self.capabilities = f"<capabilities><host><topology><cells>{cell}</cells></topology></host></capabilities>"
        super().__init__(
            getCPUMap=(count, [True] * count, count),
            getMemoryStats={"total": 8 * 1024**2, "free": 4 * 1024**2, "buffers": 0, "cached": 0},
            **answers,
        )

    def add(self, name: str = "web-1", **values: t.Any) -> Guest:
        guest = Guest(self, name, **values)
        self.guests.append(guest)
        return guest

    def getCapabilities(self) -> str:  # noqa: N802
        return self.capabilities

    def listAllDomains(self, flags: int = 0) -> list[t.Any]:  # noqa: N802
        return list(self.guests)

    def lookupByName(self, name: str) -> Guest:  # noqa: N802
        return self._find(lambda guest: guest.name_ == name)

    def lookupByUUIDString(self, uuid: str) -> Guest:  # noqa: N802
        return self._find(lambda guest: guest.uuid == uuid)

    def _find(self, match: t.Callable[[Guest], bool]) -> Guest:
        found = [guest for guest in self.guests if match(guest)]
        if not found:
            raise FakeLibvirtError(42, "no domain")
        return found[0]

    def getAllDomainStats(self, _groups: int, _flags: int) -> list[tuple[t.Any, dict[str, t.Any]]]:  # noqa: N802
        return [(guest, guest.stats()) for guest in self.guests if guest.active]

    def domainListGetStats(  # noqa: N802
        self, domains: t.Sequence[Guest], _groups: int, _flags: int
    ) -> list[tuple[Guest, dict[str, t.Any]]]:
        if self.kind == "Xen":
            raise FakeLibvirtError(3)
        return [(guest, guest.stats()) for guest in domains if guest.active]

    def tick(self, seconds: float = 1.0) -> None:
        """Let time pass: each CPU is shared evenly by the vCPUs on it, after what it does for itself."""
        self.now += seconds
        wanting: dict[int, list[tuple[Guest, int]]] = collections.defaultdict(list)
        for guest in self.guests:
            if guest.active and guest.state_[0] == 1:
                for number in range(len(guest.wants)):
                    wanting[guest.last[number]].append((guest, number))
            guest.tick(seconds)
        for cpu in range(self.count):
            left, busy = 1.0 - self.own[cpu], self.own[cpu]
            todo = sorted(wanting[cpu], key=lambda found: found[0].wants[found[1]])
            for index, (guest, number) in enumerate(todo):
                got = min(guest.wants[number], left / (len(todo) - index))
                left, busy = left - got, busy + got
                guest.ran[number] += got * seconds
                guest.waited[number] += (guest.wants[number] - got) * seconds
            self.ticks[cpu][0] += round(100 * busy * seconds)
            self.ticks[cpu][1] += round(100 * seconds)

    # The clock

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.tick(seconds)


def api_for(host: InsideHost) -> FakeLibvirt:
    return FakeLibvirt(host)
