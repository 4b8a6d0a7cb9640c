# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The snapshot as objects: facts about hosts and domains, built from the JSON of data_model.rst.

Everything that may be unknown is ``None``; sizes are MiB, CPU of a domain is in cores, of a host a fraction.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import FleetError, SnapshotError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import near
from ansible_collections.virtops.balance.plugins.plugin_utils._power_model import Power, power
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.history import LARGEST, Series, read_history
from ansible_collections.virtops.balance.plugins.plugin_utils._text import shown
from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse

SCHEMA = 1
ANSWERS = ("active", "drained")
"""States of a host that answered when it was observed."""

_PATTERN = "*?[:&!"
"""What makes a pattern of a name, in the inventory."""

HOST_STATES = (*ANSWERS, "asleep", "unknown")


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk of a domain; ``shared`` is None if not known.

    ``new_mib``: the disk does not exist yet, and will need this much room in the pool that ``source`` names.
    """

    target: str | None
    source: str | None
    shared: bool | None
    new_mib: float = 0.0
    type: str | None = None
    readonly: bool | None = None


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface: type (bridge, network, user, ...) and what it is connected to."""

    type: str | None
    source: str | None


@dataclass(frozen=True, slots=True)
class Pool:
    """One storage pool of a host."""

    path: str | None
    active: bool | None
    shared: bool | None
    name: str | None
    available_mib: float | None


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system that a host sees at ``path``: ``root`` of what was mounted from ``source``."""

    path: str
    type: str | None
    source: str | None
    root: str | None
    identity: str | None


@dataclass(frozen=True, slots=True)
class Hugepages:
    """The huge pages of one size on a host."""

    total_mib: float
    free_mib: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """A move away from a host that failed ``times`` times, the last time at ``at``; ``domain`` is a UUID."""

    domain: str
    destination: str
    reason: str
    at: str
    times: int


@dataclass(frozen=True, slots=True)
class Host:
    """A hypervisor at the time of the snapshot. ``sleepers``: the other hosts that it stores as asleep. Threads and
    memory of a host that is asleep are those from before. ``marks_problem``: why it is not known whether the host is
    drained. ``known_last``: the host is unknown now, and was not in the previous run. ``speed``: what one of its
    threads does, against one of speed 1. ``own_history``: the threads that it kept busy itself.
    ``cpu_pressure``, ``memory_pressure``: the share of the last minute in which something waited for it."""

    name: str
    state: str
    problem: str | None
    uuid: str | None
    tags: frozenset[str]
    groups: frozenset[str]
    arch: str | None
    threads: int | None
    usage: float | None
    cpu_pressure: float | None
    memory_total_mib: float | None
    memory_available_mib: float | None
    memory_pressure: float | None
    hugepages: tuple[Hugepages, ...] | None
    cpu_model: str | None
    cpu_features: frozenset[str] | None
    usable_models: frozenset[str] | None
    networks: frozenset[str] | None
    bridges: frozenset[str] | None
    pools: tuple[Pool, ...] | None
    mounts: tuple[Mount, ...] | None
    machine_types: t.Mapping[str, frozenset[str]] | None
    domain_types: frozenset[str] | None
    uneven_rounds: int | None
    history_problem: str | None
    idle_rounds: int | None
    detection: t.Mapping[str, t.Any] | None
    sleepers: t.Mapping[str, t.Any]
    may_sleep: bool
    power_model: Power | None
    history: Series | None
    own_history: Series | None
    inside: t.Mapping[str, t.Any]
    refusals: tuple[Refusal, ...]
    marks_problem: str | None
    known_last: bool
    speed: float
    max_mhz: float | None

    @property
    def answers(self) -> bool:
        """Did it answer when it was observed? A host that is asleep or unknown did not."""
        return self.state in ANSWERS

    def among(self, names: t.Collection[str]) -> bool:
        """Is it one of these hosts, named itself or by an inventory group?"""
        return self.name in names or not self.groups.isdisjoint(names)


@dataclass(frozen=True, slots=True)
class Domain:
    """A virtual machine at the time of the snapshot; ``destination`` is set while a migration is under way.

    ``hugepage_sizes``: MiB by the size of a page in KiB, None for the default size. ``bound_cpus``, ``bound_cells``:
    the CPUs and NUMA cells of a host that a person bound it to. ``history``: the cores that it used, ``ready_history``:
    the share of the wanted time that it waited, in the same steps."""

    uuid: str
    name: str
    host: str
    destination: str | None
    state: str | None
    type: str | None
    arch: str | None
    machine: str | None
    vcpus: int | None
    cpu_cores: float | None
    cpu_ready: float | None
    cap: float | None
    maximum_mib: float | None
    current_mib: float | None
    rss_mib: float | None
    hugepages: bool | None
    disks: tuple[Disk, ...] | None
    interfaces: tuple[Interface, ...] | None
    cpu_mode: str | None
    cpu_model: str | None
    cpu_features: frozenset[str] | None
    cpu_disabled: frozenset[str] | None
    tags: frozenset[str]
    last_moved_at: str | None
    unfinished_move: t.Mapping[str, t.Any] | None
    job: t.Mapping[str, t.Any] | None
    blockers: tuple[tuple[str, str], ...]
    dirty_mib_s: float | None = None
    history: Series | None = None
    ready_history: Series | None = None
    weight: float | None = None
    usable_mib: float | None = None
    pins: t.Mapping[str, tuple[int, ...]] | None = None
    hugepage_sizes: t.Mapping[int | None, float] | None = None
    secrets: frozenset[str] | None = None
    bound_cpus: frozenset[int] | None = None
    bound_cells: frozenset[int] | None = None

    @property
    def moved_at(self) -> datetime | None:
        """When it came to its host by a move, as far as that is known."""
        return None if self.last_moved_at is None else parse(self.last_moved_at)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All hosts (sorted by name) and domains (by UUID), so that no plan depends on the order of the input."""

    taken_at: str | None
    hosts: dict[str, Host]
    domains: dict[str, Domain]
    doubts: tuple[str, ...]
    raw: t.Mapping[str, t.Any]

    @classmethod
    def from_mapping(cls, data: t.Any) -> Snapshot:
        """Read plain JSON data. Raises SnapshotError if the shape is wrong or the schema is newer."""
        if not isinstance(data, Mapping):
            raise SnapshotError(f"A snapshot must be a mapping, not {_kind(data)}.")
        check_schema(data.get("schema"), "The snapshot")
        hosts, domains = data.get("hosts"), data.get("domains")
        if not isinstance(hosts, Mapping) or not isinstance(domains, Mapping):
            raise SnapshotError(
                "A snapshot must have the mappings 'hosts' and 'domains'; make it with the snapshot filter."
            )
        by_name = {str(name): _host(str(name), hosts[name]) for name in sorted(hosts, key=str)}
        by_uuid = {str(uuid): _domain(str(uuid), domains[uuid]) for uuid in sorted(domains, key=str)}
        for domain in by_uuid.values():
            for end in (domain.host, domain.destination):
                if end is not None and end not in by_name:
                    raise SnapshotError(
                        f"The snapshot places domain {domain.name!r} on host {end!r}, which it does not contain."
                    )
        doubts = tuple(
            str(_mapping(d).get("message") or _mapping(d).get("kind"))
            for d in _list(data, "doubts", "the snapshot") or ()
        )
        return cls(taken_at=_text(data.get("taken_at")), hosts=by_name, domains=by_uuid, doubts=doubts, raw=data)

    def named(self, names: t.Iterable[str]) -> tuple[list[str], list[str]]:
        """The hosts that the names of hosts and inventory groups stand for, and a sentence for each unknown name."""
        found: dict[str, None] = {}
        problems = []
        for name in names:
            meant = [name] if name in self.hosts else [host.name for host in self.hosts.values() if name in host.groups]
            found.update(dict.fromkeys(meant))
            if not meant:
                problems.append(self._unknown(name))
        return list(found), problems

    def _unknown(self, name: str) -> str:
        told = f"{name} is not one of the hosts of this run"
        if any(character in name for character in _PATTERN):
            return f"{told}. Name hosts or groups: a saved snapshot knows no patterns."
        meant = near(name, {*self.hosts, *(group for host in self.hosts.values() for group in host.groups)})
        return f"{told}." if meant is None else f"{told}: did you mean {meant}?"


def check_schema(schema: t.Any, what: str) -> None:
    """Raise SnapshotError unless ``schema`` is a version that this code knows."""
    if schema is None:
        raise SnapshotError(
            f"{what} has no key 'schema', so it was not made by this collection, or not all of it is there."
        )
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise SnapshotError(f"{what} has the schema {shown(schema)}, which is none: it must be {SCHEMA}.")
    if schema > SCHEMA:
        raise SnapshotError(
            f"{what} has schema {schema}, but this version of the collection knows {SCHEMA}: update the collection."
        )


def _kind(value: t.Any) -> str:
    return "null" if value is None else type(value).__name__


def _mapping(value: t.Any) -> t.Mapping[str, t.Any]:
    # A dict is looked at first, because asking an abstract class takes far longer.
    return value if isinstance(value, (dict, Mapping)) else {}


def _list(data: t.Mapping[str, t.Any], key: str, whose: str) -> t.Sequence[t.Any] | None:
    """The list of that key, None where it is not known. Raises SnapshotError for all else."""
    value = data.get(key)
    if value is None or isinstance(value, (list, tuple)):
        return value
    raise SnapshotError(f"The {key} of {whose} must be a list or null, not {shown(value)}.")


def _text(value: t.Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _number(value: t.Any) -> float | None:
    """A finite number that is not negative, else None: a measurement that cannot be right is unknown."""
    if value is None or isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LARGEST:
        return None
    return value


def _count(value: t.Any) -> int | None:
    number = _number(value)
    return int(number) if number else None


_NONE: frozenset[str] = frozenset()


def _names(value: t.Any) -> frozenset[str] | None:
    if not isinstance(value, (list, tuple)):
        return None
    return frozenset(map(str, value)) if value else _NONE


def _flag(value: t.Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _host(name: str, data: t.Any) -> Host:
    if not isinstance(data, Mapping):
        raise SnapshotError(f"Host {name!r} of the snapshot must be a mapping, not {_kind(data)}.")
    state = data.get("state")
    if state not in HOST_STATES:
        raise SnapshotError(
            f"Host {name!r} of the snapshot has the state {state!r}; it must be one of {', '.join(HOST_STATES)}."
        )
    cpu, memory, marks = _mapping(data.get("cpu")), _mapping(data.get("memory")), _mapping(data.get("marks"))
    before = _mapping(data.get("asleep"))
    if state == "asleep" and before:
        cpu = {"threads": before.get("threads"), "max_mhz": before.get("max_mhz")}
        memory = {"total_mib": before.get("memory_total_mib")}
    whose, past, machines = f"host {name!r}", f"The history of host {name!r}", data.get("machine_types")
    networks, pools = _list(data, "networks", whose), _list(data, "storage_pools", whose)
    mounts = _list(data, "mounts", whose)
    pages, refusals = _list(memory, "hugepages", whose), _list(marks, "refusals", whose)
    return Host(
        name=name,
        state=state,
        problem=_text(data.get("problem")),
        uuid=_text(data.get("uuid")),
        tags=_names(data.get("tags")) or frozenset(),
        groups=_names(data.get("groups")) or frozenset(),
        arch=_text(cpu.get("arch")),
        threads=_count(cpu.get("threads")),
        usage=_number(cpu.get("usage")),
        cpu_pressure=_number(cpu.get("pressure")),
        memory_total_mib=_number(memory.get("total_mib")) or None,
        memory_available_mib=_number(memory.get("available_mib")),
        memory_pressure=_number(memory.get("pressure")),
        hugepages=None if pages is None else tuple(_pages(_mapping(p)) for p in pages),
        cpu_model=_text(cpu.get("model")),
        cpu_features=_names(cpu.get("features")),
        usable_models=_names(cpu.get("usable_models")),
        networks=None
        if networks is None
        else frozenset(str(n["name"]) for n in map(_mapping, networks) if n.get("active") and n.get("name")),
        bridges=_names(data.get("bridges")),
        pools=None if pools is None else tuple(map(_pool, map(_mapping, pools))),
        mounts=None if mounts is None else tuple(_mount(m) for m in map(_mapping, mounts) if _text(m.get("path"))),
        machine_types=None
        if machines is None
        else {str(arch): _names(types) or frozenset() for arch, types in _mapping(machines).items()},
        domain_types=_names(data.get("domain_types")),
        uneven_rounds=_count(marks.get("uneven_rounds")),
        idle_rounds=_count(marks.get("idle_rounds")),
        detection=_mapping(marks.get("detection")) or None,
        sleepers=_mapping(marks.get("asleep")),
        inside=_mapping(marks.get("inside")),
        refusals=tuple(map(_refusal, map(_mapping, refusals or ()))),
        marks_problem=_text(data.get("marks_problem")),
        known_last=data.get("known_last") is True,
        speed=_number(data.get("speed")) or 1.0,
        max_mhz=_number(cpu.get("max_mhz")) or None,
        may_sleep=data.get("may_sleep") is True,
        power_model=power(data.get("power_model"), f"The power_model of host {name!r}"),
        history=read_history(data.get("history"), "cpu", past),
        own_history=read_history(data.get("history"), "own_cores", past, optional=True),
        history_problem=_text(data.get("history_problem")),
    )


def _pool(data: t.Mapping[str, t.Any]) -> Pool:
    return Pool(
        path=_text(data.get("path")),
        active=_flag(data.get("active")),
        shared=_flag(data.get("shared")),
        name=_text(data.get("name")),
        available_mib=_number(data.get("available_mib")),
    )


def _mount(data: t.Mapping[str, t.Any]) -> Mount:
    return Mount(
        path=str(data.get("path")),
        type=_text(data.get("type")),
        source=_text(data.get("source")),
        root=_text(data.get("root")),
        identity=_text(data.get("identity")),
    )


def _refusal(data: t.Mapping[str, t.Any]) -> Refusal:
    return Refusal(
        domain=str(data.get("domain")),
        destination=str(data.get("destination")),
        reason=_text(data.get("reason")) or "",
        at=str(data.get("at")),
        times=_count(data.get("times")) or 1,
    )


def _pages(data: t.Mapping[str, t.Any]) -> Hugepages:
    size = (_number(data.get("size_kib")) or 0) / 1024
    return Hugepages(
        total_mib=(_number(data.get("total")) or 0) * size, free_mib=(_number(data.get("free")) or 0) * size
    )


def _domain(uuid: str, data: t.Any) -> Domain:
    if not isinstance(data, (dict, Mapping)):
        raise SnapshotError(f"Domain {uuid!r} of the snapshot must be a mapping, not {_kind(data)}.")
    if not data.get("host"):
        raise SnapshotError(f"Domain {uuid!r} of the snapshot has no host.")
    get = data.get
    memory, cpu, job, unfinished = _mapping(get("memory")), _mapping(get("cpu")), get("job"), get("unfinished_move")
    whose, past = f"domain {uuid!r}", f"The history of domain {get('name') or uuid!r}"
    disks, interfaces = _list(data, "disks", whose), _list(data, "interfaces", whose)
    tags, blockers = _list(data, "tags", whose), _list(data, "blockers", whose)
    sizes, secrets, bound = _list(data, "hugepage_sizes", whose), _list(data, "secrets", whose), _mapping(get("bound"))
    return Domain(
        uuid=uuid,
        name=str(get("name") or uuid),
        host=str(get("host")),
        destination=_text(get("destination")),
        state=_text(get("state")),
        type=_text(get("type")),
        arch=_text(get("arch")),
        machine=_text(get("machine")),
        vcpus=_count(get("vcpus")),
        cpu_cores=_number(get("cpu_cores")),
        cpu_ready=_number(get("cpu_ready")),
        cap=_number(get("cap")),
        maximum_mib=_number(memory.get("maximum_mib")) or None,
        current_mib=_number(memory.get("current_mib")) or None,
        rss_mib=_number(memory.get("rss_mib")),
        dirty_mib_s=_number(memory.get("dirty_mib_s")),
        hugepages=_flag(get("hugepages")),
        disks=None if disks is None else tuple(map(_disk, map(_mapping, disks))),
        interfaces=None
        if interfaces is None
        else tuple(Interface(_text(i.get("type")), _text(i.get("source"))) for i in map(_mapping, interfaces)),
        cpu_mode=_text(cpu.get("mode")),
        cpu_model=_text(cpu.get("model")),
        cpu_features=_names(cpu.get("features")),
        cpu_disabled=_names(cpu.get("disabled")),
        tags=_names(tags) or frozenset(),
        last_moved_at=_text(get("last_moved_at")),
        unfinished_move=unfinished if isinstance(unfinished, Mapping) else None,
        job=job if isinstance(job, Mapping) else None,
        blockers=tuple(
            (str(b.get("code")), str(b.get("message") or b.get("code"))) for b in map(_mapping, blockers or ())
        ),
        weight=_number(get("weight")),
        usable_mib=_number(memory.get("usable_mib")),
        pins=_pins(get("pins")),
        hugepage_sizes=None
        if sizes is None
        else {
            _count(s.get("size_kib")): mib for s in map(_mapping, sizes) if (mib := _number(s.get("mib"))) is not None
        },
        secrets=_names(secrets),
        bound_cpus=_numbers(bound.get("cpus")),
        bound_cells=_numbers(bound.get("cells")),
        history=read_history(get("history"), "cpu_cores", past),
        ready_history=read_history(get("history"), "cpu_ready", past, optional=True),
    )


def _disk(data: t.Mapping[str, t.Any]) -> Disk:
    return Disk(
        target=_text(data.get("target")),
        source=_text(data.get("source")),
        shared=_flag(data.get("shared")),
        type=_text(data.get("type")),
        readonly=_flag(data.get("readonly")),
    )


def _numbers(value: t.Any) -> frozenset[int] | None:
    if not isinstance(value, (list, tuple)):
        return None
    return frozenset(number for number in value if isinstance(number, int))


def _pins(value: t.Any) -> dict[str, tuple[int, ...]] | None:
    if not isinstance(value, Mapping):
        return None
    return {
        str(vcpu): tuple(cpu for cpu in cpus if isinstance(cpu, int))
        for vcpu, cpus in value.items()
        if isinstance(cpus, (list, tuple))
    }


NOWHERE = _host("", {"state": "unknown"})
"""The host of domains that do not run yet."""


def check(snapshot: Snapshot, *, least: int = 2) -> None:
    """Raise FleetError for fewer than ``least`` hosts, SnapshotError if it is not certain where domains run."""
    if not snapshot.hosts:
        raise FleetError("The snapshot has no host: is the group of hypervisors in the inventory empty?")
    if len(snapshot.hosts) < least:
        raise FleetError(
            f"The snapshot has only the host {next(iter(snapshot.hosts))!r}: balancing needs at least two."
        )
    if snapshot.doubts:
        raise SnapshotError(
            "Nothing is planned while it is not certain where domains run: " + " ".join(snapshot.doubts)
        )
