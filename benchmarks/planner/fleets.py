# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Random fleets, the same for every engine: a seed, a kind and a size give one fleet.

A host has 12.8 GiB of memory and 2.4 threads for each domain that is its
share. How likely a domain is on a host (the host's attraction) is log-normal, and every tenth host is almost empty. No
host is filled beyond 95 % of its memory, counted by the maximum of its domains, nor beyond 4 vCPUs per thread; the CPU
that its domains want may be more than it has.

Kinds: in a ``spread`` fleet each domain is drawn by itself. In a ``clustered`` one domains come in batches of up to a
dozen that are alike in size and in how busy they are, and that sit on one host, as after a roll-out; hosts then differ
more, and one that is short of CPU has memory left or the other way round. In these two all hosts are equal. An
``unequal`` fleet is a spread one whose hosts have half of that size, that size, and one and a half times that size; all
that is judged is relative to the size.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import typing as t
from bisect import bisect
from dataclasses import dataclass

KINDS = ("spread", "clustered", "unequal")
MEMORY_FILL = 0.95
VCPU_RATIO = 4.0

_GIB = 1024
_VCPUS = (1, 2, 4, 8, 16)
_VCPU_SHARES = (25, 35, 25, 12, 3)
_GIB_PER_VCPU = (1, 2, 4)
_GIB_SHARES = (40, 40, 20)
_ALMOST_EMPTY = 0.05
_SIGMA = {"spread": 0.5, "clustered": 0.9, "unequal": 0.5}
_SIZES = {"spread": (1.0,), "clustered": (1.0,), "unequal": (0.5, 1.0, 1.5)}
_BATCH = 12


@dataclass(frozen=True, slots=True)
class Host:
    """A hypervisor; ``own_mib`` is memory that it uses itself."""

    name: str
    threads: int
    memory_mib: int
    own_mib: int


@dataclass(frozen=True, slots=True)
class Domain:
    """A virtual machine; ``cores`` is the CPU that it wants, ``host`` the index of the host where it runs."""

    name: str
    uuid: str
    host: int
    vcpus: int
    cores: float
    maximum_mib: int
    used_mib: int


@dataclass(frozen=True, slots=True)
class Fleet:
    """Hosts and domains. A placement of it is the index of a host for each domain, in the order of ``domains``."""

    kind: str
    seed: int
    hosts: tuple[Host, ...]
    domains: tuple[Domain, ...]

    @property
    def placement(self) -> list[int]:
        """Where the domains are at first."""
        return [domain.host for domain in self.domains]

    @property
    def equal_hosts(self) -> bool:
        """Have all hosts the same size?"""
        return len({(host.threads, host.memory_mib) for host in self.hosts}) == 1

    def digest(self) -> str:
        """Equal for equal fleets; interpreters of different engines must agree on it."""
        return hashlib.sha256(repr((self.hosts, self.domains)).encode()).hexdigest()[:16]


class Load(t.NamedTuple):
    """What the domains of one host amount to, the host's own memory included."""

    cores: float
    maximum_mib: float
    used_mib: float
    vcpus: int
    domains: int


def loads(fleet: Fleet, placement: t.Sequence[int]) -> list[Load]:
    """The load of each host under a placement."""
    cores, vcpus = [0.0] * len(fleet.hosts), [0] * len(fleet.hosts)
    guests = [0] * len(fleet.hosts)
    maximum, used = [float(host.own_mib) for host in fleet.hosts], [float(host.own_mib) for host in fleet.hosts]
    for domain, host in zip(fleet.domains, placement, strict=True):
        cores[host] += domain.cores
        maximum[host] += domain.maximum_mib
        used[host] += domain.used_mib
        vcpus[host] += domain.vcpus
        guests[host] += 1
    return [Load(*values) for values in zip(cores, maximum, used, vcpus, guests, strict=True)]


def generate(hosts: int, domains: int, kind: str, seed: int) -> Fleet:
    """The fleet of this size, kind and seed. Raises ValueError where there is no such kind or it cannot be filled."""
    if kind not in KINDS:
        raise ValueError(f"There is no kind of fleet {kind!r}, only {', '.join(KINDS)}.")
    if hosts < 2 or domains < 5 * hosts:
        raise ValueError(f"A fleet needs two hosts and five domains for each, not {hosts}x{domains}.")
    chance = random.Random(f"{seed}/{kind}/{hosts}x{domains}")
    share = domains / hosts
    sizes = _SIZES[kind]
    machines = tuple(
        Host(
            f"host{number:04}",
            max(8, round(2.4 * share * sizes[number % len(sizes)] / 4) * 4),
            round(12.8 * share * sizes[number % len(sizes)]) * _GIB,
            own_mib=2 * _GIB,
        )
        for number in range(1, hosts + 1)
    )
    return Fleet(kind, seed, machines, tuple(_Filling(machines, kind, chance).fill(domains, seed)))


class _Filling:
    """Domains are drawn and put on hosts one after the other."""

    def __init__(self, hosts: t.Sequence[Host], kind: str, chance: random.Random) -> None:
        self.hosts, self.chance, self.clustered = hosts, chance, kind == "clustered"
        attraction = [chance.lognormvariate(0.0, _SIGMA[kind]) for _host in hosts]
        for index in chance.sample(range(len(hosts)), max(1, len(hosts) // 10)):
            attraction[index] *= _ALMOST_EMPTY
        self.cumulated = list(itertools.accumulate(attraction))
        self.free_mib = [host.memory_mib * MEMORY_FILL - host.own_mib for host in hosts]
        self.free_vcpus = [host.threads * VCPU_RATIO for host in hosts]

    def fill(self, domains: int, seed: int) -> t.Iterator[Domain]:
        chance, left, host = self.chance, 0, 0
        vcpus, memory, busy = self._flavour()
        for number in range(1, domains + 1):
            if not self.clustered or left == 0:
                vcpus, memory, busy = self._flavour()
                left, host = chance.randint(2, _BATCH), self._draw()
            left -= 1
            host = self._with_room(host, vcpus, memory)
            self.free_mib[host] -= memory
            self.free_vcpus[host] -= vcpus
            yield Domain(
                name=f"vm{number:05}",
                uuid=f"{seed % 2**32:08x}-0000-4000-8000-{number:012x}",
                host=host,
                vcpus=vcpus,
                cores=round(vcpus * min(1.0, busy * chance.uniform(0.7, 1.3)), 4),
                maximum_mib=memory,
                used_mib=round(memory * chance.uniform(0.6, 1.0)),
            )

    def _flavour(self) -> tuple[int, int, float]:
        """vCPUs, MiB and the share of the vCPUs that is busy."""
        vcpus = self.chance.choices(_VCPUS, _VCPU_SHARES)[0]
        per_vcpu = self.chance.choices(_GIB_PER_VCPU, _GIB_SHARES)[0]
        return vcpus, vcpus * per_vcpu * _GIB, self.chance.betavariate(1.5, 3.5)

    def _draw(self) -> int:
        return bisect(self.cumulated, self.chance.random() * self.cumulated[-1], hi=len(self.hosts) - 1)

    def _with_room(self, host: int, vcpus: int, memory: int) -> int:
        for _attempt in range(20):
            if self._fits(host, vcpus, memory):
                return host
            host = self._draw()
        host = max(range(len(self.hosts)), key=self.free_mib.__getitem__)
        if not self._fits(host, vcpus, memory):
            raise ValueError("The fleet is full before all its domains are placed: try another seed.")
        return host

    def _fits(self, host: int, vcpus: int, memory: int) -> bool:
        return memory <= self.free_mib[host] and vcpus <= self.free_vcpus[host]
