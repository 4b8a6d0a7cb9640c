# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: one round of vCPU balancing on a host, from two samples to vCPUs that are pinned anew.

The module host_vcpu_balance and a service call the same run_round(). What is decided is in vcpu_decision.py.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.virtops.balance.plugins.module_utils import _errors, _option_checks
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection, connect
from ansible_collections.virtops.balance.plugins.module_utils._domain import (
    original_settings,
    vcpu_affinity,
)
from ansible_collections.virtops.balance.plugins.module_utils._domain import state as domain_state
from ansible_collections.virtops.balance.plugins.module_utils._domain import xml as domain_xml
from ansible_collections.virtops.balance.plugins.module_utils._domain.chosen import Chosen
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts, procfs, rates
from ansible_collections.virtops.balance.plugins.module_utils._observe.host import Clock
from ansible_collections.virtops.balance.plugins.module_utils._observe.sampler import BulkSampler, DomainSample, Sample
from ansible_collections.virtops.balance.plugins.module_utils._tuning import vcpu_decision

_LONGEST_INTERVAL_SECONDS = 3600
_CLOCK = Clock()


@dataclass(frozen=True)
class Settings(Chosen):
    """How a round is done, and with which domains."""

    options: vcpu_decision.Options = field(default_factory=vcpu_decision.Options)

    def check(self) -> None:
        """Raise BalanceError where a setting makes no sense."""
        options = self.options
        if options.algorithm not in vcpu_decision.ALGORITHMS:
            raise BalanceError(f"algorithm must be one of {', '.join(vcpu_decision.ALGORITHMS)}.")
        _option_checks.check_number("threshold", options.threshold, 0, 100)
        if options.target is not None:
            _option_checks.check_number("target", options.target, 0, options.threshold)
        _option_checks.check_number("busy_above", options.busy_above, 0, 100)
        # With a gain of zero a round could move vCPUs to and fro for ever.
        _option_checks.check_number("gain", options.gain, 0.01, 100)


def settings_from(options: t.Mapping[str, t.Any]) -> Settings:
    """Return the settings of a mapping with the options of the module, and check them. Raises BalanceError."""
    names = ("domains", "exclude")
    settings = Settings(
        options=vcpu_decision.Options(**{key: value for key, value in options.items() if key not in names}),
        **{name: tuple(options.get(name) or ()) for name in names},
    )
    settings.check()
    return settings


def balance(
    api: t.Any,
    uri: str,
    settings: Settings,
    *,
    interval: float,
    check_mode: bool,
    clock: Clock = _CLOCK,
    root: str = "/",
) -> dict[str, t.Any]:
    """Connect, take two samples RV(interval) seconds apart and do one round. Raises BalanceError."""
    _option_checks.check_number("interval", interval, 0.1, _LONGEST_INTERVAL_SECONDS)
    with connect(api, uri, read_only=check_mode) as connection:
        try:
            check_host(connection)
            sampler = BulkSampler(connection, cgroup_version=None, monotonic=clock.monotonic, root=root)
            before = sampler.sample()
            clock.sleep(interval)
            return run_round(connection, before, sampler.sample(), settings, check_mode=check_mode, root=root)
        except api.libvirtError as error:
            raise _errors.translate(api, error, doing=f"balance the vCPUs of {uri}") from error


def check_host(connection: Connection) -> None:
    """Raise BalanceError where vCPUs cannot be balanced."""
    if connection.xen:
        raise BalanceError("Xen's scheduler spreads vCPUs itself, so there is nothing to balance.")
    if not connection.local:
        raise BalanceError(
            f"{connection.uri} is another machine: run this on the host itself, which alone knows what each CPU does."
        )


def run_round(
    connection: Connection,
    before: Sample,
    after: Sample,
    settings: Settings,
    *,
    check_mode: bool,
    root: str = "/",
) -> dict[str, t.Any]:
    """Decide by two samples of a BulkSampler, pin what is to be pinned, and return what was done.

    The result has the keys that the module host_vcpu_balance documents, and RV(diff). A domain whose vCPUs cannot be
    pinned is named in RV(left_alone) and keeps no other from its turn.

    Raises libvirtError where the connection is lost, BalanceError where the host's CPUs cannot be seen.
    """
    host = _UsableCpus.read(connection, root)
    found, left_alone = _observe(connection, host, before, after, settings)
    vcpus = [seen.vcpu for domain in found for seen in domain.vcpus]
    decision = vcpu_decision.decide(host.loaded(before, after, vcpus), vcpus, settings.options)
    target = {(repin.vcpu.uuid, repin.vcpu.number): repin.cpu for repin in decision.repins}
    repinned: list[dict[str, t.Any]] = []
    for domain in found:
        wanted = {seen: target[domain.uuid, seen.vcpu.number] for seen in domain.vcpus if seen.key in target}
        problem = _pin(connection, domain, host.cpus, wanted, check_mode=check_mode) if wanted else None
        if problem is not None:
            left_alone.append(_entry(domain.uuid, domain.name, problem))
            continue
        repinned += [
            {
                "uuid": domain.uuid,
                "name": domain.name,
                "vcpu": seen.vcpu.number,
                "from": host.cpus.text(seen.affinity),
                "to": str(cpu),
                "cores": round(seen.vcpu.wanted, 3),
            }
            for seen, cpu in wanted.items()
        ]
    repinned.sort(key=lambda entry: (entry["name"], entry["uuid"], entry["vcpu"]))
    spread = decision.spread
    return {
        "changed": bool(repinned),
        "why": decision.why,
        "spread": {"before": round(spread[0], 3), "after": round(spread[1], 3)},
        "cpus": [
            {"cpu": number, "before": round(load, 3), "after": round(decision.after[number], 3)}
            for number, load in decision.before.items()
        ],
        "repinned": repinned,
        "left_alone": sorted(left_alone, key=lambda entry: (entry["name"], entry["uuid"])),
        "diff": {side: _pins_of(repinned, key) for side, key in (("before", "from"), ("after", "to"))},
    }


class _PinnedVcpu(t.NamedTuple):
    """One vCPU and the CPUs that it may run on now."""

    vcpu: vcpu_decision.Vcpu
    affinity: vcpu_affinity.Affinity

    @property
    def key(self) -> tuple[str, int]:
        return self.vcpu.uuid, self.vcpu.number


class _PinnedDomain(t.NamedTuple):
    handle: t.Any
    uuid: str
    name: str
    vcpus: list[_PinnedVcpu]


@dataclass(frozen=True)
class _UsableCpus:
    """The host's CPUs: those that may be used, the NUMA cell of each, and the other threads of its core."""

    cpus: vcpu_affinity.HostCpus
    usable: frozenset[int]
    cells: t.Mapping[int, int]
    siblings: t.Mapping[int, frozenset[int]]

    @classmethod
    def read(cls, connection: Connection, root: str) -> _UsableCpus:
        cpus = vcpu_affinity.HostCpus.read(connection)
        isolated = procfs.read_isolated_cpus(root=root)
        if isolated is None:
            raise BalanceError("The isolated CPUs of the host cannot be read, so no vCPU is pinned.")
        cells: dict[int, int] = {}
        siblings: dict[int, frozenset[int]] = {}
        for cell in host_facts.read_capabilities(connection).cells or ():
            cells.update(dict.fromkeys(cell.cpus, cell.id))
            siblings.update({cpu: frozenset(found) - {cpu} for cpu, found in cell.siblings.items()})
        return cls(cpus, cpus.online - isolated, cells, siblings)

    def loaded(self, before: Sample, after: Sample, vcpus: t.Sequence[vcpu_decision.Vcpu]) -> list[vcpu_decision.Cpu]:
        """Return the usable CPUs with what they do besides the vCPUs that are pinned to them."""
        loads = rates.cpu_loads(before.cpu_ticks, after.cpu_ticks)
        if not loads:
            raise BalanceError("The load of each CPU of the host cannot be read.")
        ran: dict[int, float] = {}
        for vcpu in vcpus:
            if vcpu.cpu is not None:
                ran[vcpu.cpu] = ran.get(vcpu.cpu, 0.0) + vcpu.ran
        return [
            vcpu_decision.Cpu(
                number,
                own=max(0.0, loads[number] - ran.get(number, 0.0)),
                siblings=self.siblings.get(number, frozenset()),
                cell=self.cells.get(number, 0),
            )
            for number in sorted(self.usable)
            if number in loads
        ]


def _observe(
    connection: Connection, host: _UsableCpus, before: Sample, after: Sample, settings: Settings
) -> tuple[list[_PinnedDomain], list[dict[str, t.Any]]]:
    """Return the domains whose vCPUs take part, and those that are left alone with the reason."""
    found, left_alone = [], []
    for uuid, sample in after.domains.items():
        name = sample.handle.name()
        state = domain_state.state_name(sample.stats.get("state.state"))
        if not settings.concerns(uuid, name) or state not in ("running", "blocked"):
            continue
        if sample.held:
            left_alone.append(_entry(uuid, name, f"A job of libvirt holds {name}."))
        elif uuid in before.domains:
            try:
                vcpus = _read_vcpus(connection, host, before.domains[uuid], sample, after.at - before.at)
                found.append(_PinnedDomain(sample.handle, uuid, name, vcpus))
            except (connection.api.libvirtError, ValueError) as error:
                if _errors.is_connection_lost(error):
                    raise
                left_alone.append(_entry(uuid, name, _reason(connection, error, name)))
    return found, left_alone


def _read_vcpus(
    connection: Connection, host: _UsableCpus, before: DomainSample, after: DomainSample, elapsed: float
) -> list[_PinnedVcpu]:
    """Return the vCPUs of a domain whose use is known. Raises libvirtError, ValueError."""
    xml = domain_xml.parse(after.handle.XMLDesc(0))
    allowed = host.usable if xml.cpuset is None else host.usable.intersection(xml.cpuset)
    if xml.strict_cells is not None:
        allowed = frozenset(cpu for cpu in allowed if host.cells.get(cpu, 0) in xml.strict_cells)
    remembered = original_settings.read(connection.api, after.handle, flags=connection.api.VIR_DOMAIN_AFFECT_LIVE).pins
    rows, maps = after.handle.vcpus()
    found = []
    for (number, _state, _time, last), cpu_map in zip(rows, maps):
        affinity = host.cpus.online.intersection(cpu for cpu, there in enumerate(cpu_map) if there)
        ran = rates.increase(before.stats, after.stats, f"vcpu.{number}.time")
        if ran is None or elapsed <= 0 or not affinity:
            continue
        waited = rates.increase(before.stats, after.stats, f"vcpu.{number}.delay") or 0
        # Whoever once kept a vCPU on several CPUs meant these; one that was pinned to a single CPU may go elsewhere.
        home = host.cpus.numbers(remembered.get(number, vcpu_affinity.ALL))
        pinned = next(iter(affinity)) if len(affinity) == 1 else None
        limit = affinity if pinned is None else (home if len(home) > 1 else host.cpus.online)
        vcpu = vcpu_decision.Vcpu(
            uuid=after.handle.UUIDString(),
            name=after.handle.name(),
            number=number,
            ran=ran / rates.NANOSECONDS / elapsed,
            wanted=min(1.0, (ran + waited) / rates.NANOSECONDS / elapsed),
            cpu=pinned,
            last=last,
            allowed=allowed & limit,
        )
        found.append(_PinnedVcpu(vcpu, affinity))
    return found


def _pin(
    connection: Connection,
    domain: _PinnedDomain,
    cpus: vcpu_affinity.HostCpus,
    wanted: t.Mapping[_PinnedVcpu, int],
    *,
    check_mode: bool,
) -> str | None:
    """Pin vCPUs of one domain, and say why not where that is so. Raises libvirtError where the connection is lost."""
    api = connection.api
    try:
        held = domain_state.why_held(api, domain.handle)
        if held is None and not check_mode:
            affinities = {seen.vcpu.number: frozenset({cpu}) for seen, cpu in wanted.items()}
            vcpu_affinity.change(api, domain.handle, cpus, affinities, flags=api.VIR_DOMAIN_AFFECT_LIVE)
    except (api.libvirtError, BalanceError) as error:
        if _errors.is_connection_lost(error):
            raise
        return _reason(connection, error, domain.name)
    return held


def _entry(uuid: str, name: str, reason: str) -> dict[str, t.Any]:
    return {"uuid": uuid, "name": name, "reason": reason}


def _pins_of(repinned: t.Sequence[t.Mapping[str, t.Any]], key: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for entry in repinned:
        found.setdefault(f"{entry['name']} ({entry['uuid']})", {})[str(entry["vcpu"])] = entry[key]
    return found


def _reason(connection: Connection, error: Exception, name: str) -> str:
    if isinstance(error, BalanceError):
        return error.message
    return _errors.translate(connection.api, error, doing=f"balance the vCPUs of {name}").message
