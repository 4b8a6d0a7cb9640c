# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: one observation of one host, in the form of the data model."""

from __future__ import annotations

import datetime
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection, connect
from ansible_collections.virtops.balance.plugins.module_utils._domain import move_note, required
from ansible_collections.virtops.balance.plugins.module_utils._domain import state as domain_state
from ansible_collections.virtops.balance.plugins.module_utils._domain import xml as domain_xml
from ansible_collections.virtops.balance.plugins.module_utils._history import recorded
from ansible_collections.virtops.balance.plugins.module_utils._observe import domain as observed_domain
from ansible_collections.virtops.balance.plugins.module_utils._observe import (
    host_facts,
    power_meter,
    procfs,
    record,
    xen_hypervisor,
)
from ansible_collections.virtops.balance.plugins.module_utils._observe.sampler import BulkSampler, DomainSample, Sampler
from ansible_collections.virtops.balance.plugins.module_utils._observe.shared_storage import SharedStorage
from ansible_collections.virtops.balance.plugins.module_utils._observe.xen_sampler import XenSampler
from ansible_collections.virtops.balance.plugins.module_utils._option_checks import check_shared_paths

SCHEMA = 1

_LONGEST_INTERVAL_SECONDS = 3600

# In these versions virDomainGetXMLDesc waits 30 seconds for a domain that is being migrated to this host, and fails.
_XML_WAITS = range(11_000_000, 11_005_000)


@dataclass(frozen=True)
class Clock:
    """Time, so that tests can bring their own."""

    now: t.Callable[[], float] = time.time
    monotonic: t.Callable[[], float] = time.monotonic
    sleep: t.Callable[[float], None] = time.sleep


def check_options(*, interval: float, shared_paths: t.Sequence[str]) -> None:
    """Raise BalanceError where an option of the module makes no sense."""
    if not 0 <= interval <= _LONGEST_INTERVAL_SECONDS:
        raise _errors.BalanceError(
            f"interval must be from 0 to {_LONGEST_INTERVAL_SECONDS} seconds, but it is {interval:g}."
        )
    check_shared_paths(shared_paths)


class Lookback(t.NamedTuple):
    """How much of the past belongs to an observation: RV(minutes) in steps of RV(step) seconds, 0 minutes = none.

    RV(recorded) says that runs record, so that a host of which little is known yet is nothing to tell of.
    """

    minutes: int = 0
    step: int = 60
    recorded: bool = False


NO_LOOKBACK = Lookback()


def observe_host(
    api: t.Any,
    uri: str,
    *,
    interval: float,
    shared_paths: t.Sequence[str] = (),
    lookback: Lookback = NO_LOOKBACK,
    store: bool = False,
    clock: Clock = Clock(),
) -> dict[str, t.Any]:
    """Connect to one host, read-only, and observe it: see observe().

    The first to ask a frozen QEMU waits for ever, and thereby holds the domain. The NOWAIT flag passes over domains
    that are held, so a second attempt gets through; with its own connection, because the first one is still busy.
    """

    def once() -> dict[str, t.Any]:
        with connect(api, uri, read_only=True) as connection:
            return observe(
                connection, interval=interval, shared_paths=shared_paths, lookback=lookback, store=store, clock=clock
            )

    try:
        return once()
    except _errors.DeadlineError:
        return once()


def observe(
    connection: Connection,
    *,
    interval: float,
    shared_paths: t.Sequence[str] = (),
    lookback: Lookback = NO_LOOKBACK,
    store: bool = False,
    clock: Clock = Clock(),
    root: str = "/",
) -> dict[str, t.Any]:
    """Observe one host. With RV(store), store it on the host for the runs to come, unless an agent does that.

    Two samples are taken RV(interval) seconds apart and nothing is done in between, because doing it would be part
    of what is measured. With an interval of 0 there is one sample and all rates are None.

    A domain that is only in the first sample is gone and is left out. One that is only in the second has no rates.

    Raises libvirtError where the connection is lost, BalanceError where libvirt does not answer in time.
    """
    sampler = choose_sampler(connection, clock=clock, root=root)
    energy = power_meter.read_energy(root=root) if connection.local else {}
    started = clock.monotonic()
    before = after = sampler.sample()
    cpu_watts = None
    if interval > 0:
        clock.sleep(interval)
        if energy:
            cpu_watts = power_meter.cpu_watts(energy, power_meter.read_energy(root=root), clock.monotonic() - started)
        after = sampler.sample()
    now = clock.now()
    watts = power_meter.read_watts(root=root) if connection.local else None
    storage = SharedStorage(
        mounts=procfs.read_mounts(root=root) if connection.local else None, shared_paths=shared_paths
    )
    host = host_facts.read_host(
        connection,
        storage,
        cpu=sampler.host_cpu(before, after),
        threads=sampler.threads(),
        memory=sampler.memory(),
        power=power_meter.describe(watts, cpu_watts),
        root=root,
    )
    elapsed = after.at - before.at
    shadow_paging = xen_hypervisor.has_shadow_paging(connection)
    lists = _DomainLists.read(connection)
    cpus = host_facts.read_cpus(connection)
    host["interrupted_restarts"] = lists.interrupted_restarts
    domains = []
    for uuid, sample in after.domains.items():
        earlier = before.domains.get(uuid) if after is not before else None
        entry = _domain(
            connection,
            sampler,
            lists,
            storage,
            uuid=uuid,
            earlier={} if earlier is None else earlier.stats,
            sample=sample,
            elapsed=elapsed,
            now=now,
            shadow_paging=shadow_paging,
            cpus=None if cpus is None else cpus.online,
        )
        if entry is not None:
            domains.append(entry)
    active = {entry["uuid"] for entry in domains}
    problem = None
    # Before it is read back, so that the history has what this run saw.
    if store and connection.local:
        first = None if after is before else record.Counters.of(before)
        # The time of the day of the moment that the sample is of.
        at = clock.now() - (clock.monotonic() - after.at)
        also = record.Also(watts, cpu_watts, _dirty(domains), host["marks"])
        problem = record.record_run(sampler, first, after, at=at, also=also, root=root)
    past = _remember(connection, lookback, now=now, root=root)
    host["history"], host["history_problem"] = past.host, problem or past.problem
    for entry in domains:
        entry["history"] = past.domains.get(entry["uuid"])
    return {
        "schema": SCHEMA,
        "taken_at": _utc(now),
        "interval_seconds": round(elapsed, 3),
        "host": host,
        "domains": sorted(domains, key=_identity),
        "inactive_domains": None
        if lists.inactive is None
        else [{"uuid": uuid, "name": name} for uuid, name in lists.inactive if uuid not in active],
        "departed_domains": {uuid: history for uuid, history in past.domains.items() if uuid not in active},
    }


def brief(observation: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the facts by which a playbook decides, so that it need not search the whole observation."""
    domains = observation["domains"]
    return {
        "cgroup_version": observation["host"]["cgroup_version"],
        "bridges": observation["host"]["bridges"],
        "zfs_cache_mib": observation["host"]["memory"]["zfs_cache_mib"],
        "mounts": observation["host"]["mounts"],
        "shared_memory_mib": observation["host"]["memory"]["shared_mib"],
        "migrations": [
            domain["name"]
            for domain in domains
            if domain["job"] is not None and domain["job"]["operation"] in ("migration_in", "migration_out")
        ],
        "unfinished_moves": [
            {"uuid": domain["uuid"], "name": domain["name"]}
            for domain in domains
            if domain["unfinished_move"] is not None
        ],
    }


@dataclass(frozen=True)
class _DomainLists:
    """What one call each tells about all domains, so that none has to be asked by itself."""

    persistent: frozenset[str] | None
    with_snapshot: frozenset[str] | None
    inactive: list[tuple[str, str]] | None
    interrupted_restarts: list[dict[str, t.Any]] | None

    @classmethod
    def read(cls, connection: Connection) -> _DomainLists:
        api, handle = connection.api, connection.handle

        def named(flags: int) -> list[tuple[str, str]] | None:
            found = host_facts.ask(connection, handle.listAllDomains, flags)
            return None if found is None else sorted((domain.UUIDString(), domain.name()) for domain in found)

        def uuids(flags: int) -> frozenset[str] | None:
            found = named(flags)
            return None if found is None else frozenset(uuid for uuid, _name in found)

        active = api.VIR_CONNECT_LIST_DOMAINS_ACTIVE
        shut_off = host_facts.ask(connection, handle.listAllDomains, api.VIR_CONNECT_LIST_DOMAINS_INACTIVE)
        inactive = None if shut_off is None else [(domain.UUIDString(), domain.name()) for domain in shut_off]
        return cls(
            persistent=uuids(active | api.VIR_CONNECT_LIST_DOMAINS_PERSISTENT),
            with_snapshot=uuids(active | api.VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT),
            inactive=None if inactive is None else sorted(inactive, key=lambda found: (found[1], found[0])),
            interrupted_restarts=None if shut_off is None else _interrupted_restarts(connection, shut_off),
        )


def _interrupted_restarts(connection: Connection, shut_off: t.Sequence[t.Any]) -> list[dict[str, t.Any]] | None:
    """Return the restarts between two hosts of which only the notes in definitions are left, None = not known.

    Raises libvirtError where the connection is lost.
    """
    api, found = connection.api, []
    for domain in shut_off:
        try:
            note = move_note.read(api, domain)
        except api.libvirtError as error:
            if _errors.is_connection_lost(error):
                raise
            if _errors.code_of(error) == _errors.NO_DOMAIN:
                continue
            return None
        if note is not None and note.restart:
            found.append(
                {
                    "uuid": domain.UUIDString(),
                    "name": domain.name(),
                    "source": note.source,
                    "destination": note.destination,
                    "started_at": note.started_at,
                }
            )
    return sorted(found, key=_identity)


def choose_sampler(connection: Connection, *, clock: Clock = Clock(), root: str = "/") -> Sampler:
    """Return the sampler that serves the hypervisor of a connection."""
    if connection.xen:
        return XenSampler(connection, monotonic=clock.monotonic)
    cgroup_version = procfs.read_cgroup_version(root=root) if connection.local else None
    return BulkSampler(connection, cgroup_version=cgroup_version, monotonic=clock.monotonic, root=root)


def _dirty(domains: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, float]:
    """Return by UUID how much memory domains write in a second, which only a migration under way tells."""
    jobs = {domain["uuid"]: domain["job"] for domain in domains if domain["job"] is not None}
    return {uuid: job["dirty_mib_s"] for uuid, job in jobs.items() if job["dirty_mib_s"] is not None}


def _remember(connection: Connection, lookback: Lookback, *, now: float, root: str) -> recorded.Remembered:
    if not lookback.minutes:
        return recorded.Remembered(None, {}, None)
    if not connection.local:
        problem = (
            f"The history is on the host itself, and {connection.uri} names another machine than this module runs on."
        )
        return recorded.Remembered(None, {}, problem)
    span = recorded.last_span(now, minutes=lookback.minutes, step=lookback.step)
    return recorded.remember(span, now=now, recorded=lookback.recorded, root=root)


def _domain(
    connection: Connection,
    sampler: Sampler,
    lists: _DomainLists,
    storage: SharedStorage,
    *,
    uuid: str,
    earlier: t.Mapping[str, t.Any],
    sample: DomainSample,
    elapsed: float,
    now: float,
    shadow_paging: bool | None,
    cpus: t.Collection[int] | None,
) -> dict[str, t.Any] | None:
    """Return the entry of one domain, None where it vanished since the sample."""
    api = connection.api
    try:
        xml, needs = _read_xml(connection, sample, cpus)
        job = _read_job(api, sample)
        stats = _settled(sample, job)
        if stats is None:
            return None
        tuning = sampler.tuning(sample.handle, xml)
    except api.libvirtError as error:
        if _errors.code_of(error) == _errors.NO_DOMAIN:
            return None
        raise
    return observed_domain.describe_domain(
        uuid=uuid,
        name=sample.handle.name(),
        before=earlier,
        after=stats,
        elapsed_seconds=elapsed,
        xml=xml,
        needs=needs,
        job=job,
        tuning=tuning,
        persistent=None if lists.persistent is None else uuid in lists.persistent,
        has_snapshot=None if lists.with_snapshot is None else uuid in lists.with_snapshot,
        shadow_paging=shadow_paging,
        storage=storage,
        now=now,
    )


def _read_job(api: t.Any, sample: DomainSample) -> dict[str, t.Any] | None:
    """Return the job of a domain.

    On a domain that is held the question waits 30 seconds, except for an incoming migration, where libvirt answers
    at once. Its domain is paused.
    """
    if sample.held and domain_state.state_name(sample.stats.get("state.state")) != "paused":
        return domain_state.job_entry("unknown")
    return domain_state.read_job(api, sample.handle)


def _settled(sample: DomainSample, job: t.Mapping[str, t.Any] | None) -> t.Mapping[str, t.Any] | None:
    """Return the statistics of the sample with the state of now, where what was under way in it is over: it would look
    as if it had been left in the middle. None where the domain has left. Raises libvirtError."""
    if job is not None or not domain_state.left_paused(
        sample.stats.get("state.state"), sample.stats.get("state.reason")
    ):
        return sample.stats
    if not sample.handle.isActive():
        return None
    state, reason = sample.handle.state()[:2]
    return {**sample.stats, "state.state": state, "state.reason": reason}


def _read_xml(
    connection: Connection, sample: DomainSample, cpus: t.Collection[int] | None
) -> tuple[domain_xml.DomainXml, required.Required] | tuple[None, None]:
    """Read the definition of a domain on a host with these CPUs online, see required.read()."""
    if sample.held:
        version = host_facts.ask(connection, connection.handle.getLibVersion)
        if version in _XML_WAITS:
            return None, None
    api = connection.api
    try:
        root = domain_xml.parse_root(sample.handle.XMLDesc(0))
        xml = domain_xml.read(root)
        return xml, required.read(root, xml.memory_kib, cpus)
    except api.libvirtError as error:
        if _errors.code_of(error) == _errors.NO_DOMAIN or _errors.is_connection_lost(error):
            raise
        return None, None
    except ValueError:
        return None, None


def _identity(entry: t.Mapping[str, t.Any]) -> tuple[str, str]:
    return entry["name"], entry["uuid"]


def _utc(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, tz=datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
