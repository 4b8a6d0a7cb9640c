# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: one round of memory balancing on a host, from two samples to balloons that have moved.

The module host_memory_balance and a service call the same run_round(). What is decided is in memory_decision.py.
"""

from __future__ import annotations

import datetime
import functools
import typing as t
from dataclasses import dataclass, field

from ansible_collections.virtops.balance.plugins.module_utils import _errors, _option_checks
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection, connect
from ansible_collections.virtops.balance.plugins.module_utils._domain import original_settings
from ansible_collections.virtops.balance.plugins.module_utils._domain import state as domain_state
from ansible_collections.virtops.balance.plugins.module_utils._domain import xml as domain_xml
from ansible_collections.virtops.balance.plugins.module_utils._domain.chosen import Chosen
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._observe import domain as observed_domain
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts, procfs, rates
from ansible_collections.virtops.balance.plugins.module_utils._observe.host import Clock
from ansible_collections.virtops.balance.plugins.module_utils._observe.sampler import BulkSampler, DomainSample, Sample
from ansible_collections.virtops.balance.plugins.module_utils._tuning import balloon, memory_decision

_LONGEST_INTERVAL_SECONDS = 3600
_MOST_MIB = 1 << 30
_CLOCK = Clock()
_KIB = 1024
_TIME = "%Y-%m-%dT%H:%M:%SZ"

# What stays as it is until somebody changes the guest, so that it is reported once.
_LASTING = (
    *("no_device", "no_driver", "does_not_follow"),
    *("hugepages", "host_device", "locked", "virtio_mem", "encrypted"),
)
# A host that swaps out less is only putting aside what nobody has used for long.
_SWAPPING_KIB_PER_SECOND = 1024
# A guest whose balloon did not move is tried again after this.
_RETRY_SECONDS = 3600


@dataclass(frozen=True)
class Settings(Chosen):
    """How a round is done, and with which domains."""

    options: memory_decision.Options = field(default_factory=memory_decision.Options)
    stats_period_seconds: int = 5
    verify_seconds: float = 10


def settings_from(options: t.Mapping[str, t.Any]) -> Settings:
    """Return the settings of a mapping with the options of the module, and check them. Raises BalanceError."""
    values = dict(options)
    own: dict[str, t.Any] = {name: tuple(values.pop(name, None) or ()) for name in ("domains", "exclude")}
    own.update({name: values.pop(name) for name in ("stats_period_seconds", "verify_seconds") if name in values})
    settings = Settings(options=memory_decision.Options(**values), **own)
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    options = settings.options
    for name in ("low_mib", "high_mib", "step_mib", "margin_mib", "host_reserve_mib"):
        _option_checks.check_number(name, getattr(options, name), 0, _MOST_MIB)
    _option_checks.check_number("minimum_mib", options.minimum_mib, 1, _MOST_MIB)
    _option_checks.check_number(
        "max_change_mib", options.max_change_mib, memory_decision.SMALLEST_CHANGE_MIB, _MOST_MIB
    )
    _option_checks.check_number("factor", options.factor, 0, 1)
    _option_checks.check_number("max_pressure", options.max_pressure, 0, 1)
    _option_checks.check_number("stats_period_seconds", settings.stats_period_seconds, 1, 3600)
    _option_checks.check_number("verify_seconds", settings.verify_seconds, 1, 3600)
    if options.reclaim not in memory_decision.RECLAIM:
        raise BalanceError(f"reclaim must be one of {', '.join(memory_decision.RECLAIM)}.")
    # Otherwise what one round gives the next one would take.
    if not options.low_mib <= options.step_mib <= options.high_mib:
        raise BalanceError(
            f"step_mib must be from low_mib to high_mib ({options.low_mib} to {options.high_mib}), "
            f"but it is {options.step_mib}."
        )


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
            after = sampler.sample()
            return run_round(connection, before, after, settings, check_mode=check_mode, clock=clock, root=root)
        except api.libvirtError as error:
            raise _errors.translate(api, error, doing=f"balance the memory of {uri}") from error


def check_host(connection: Connection) -> None:
    """Raise BalanceError where memory cannot be balanced."""
    if connection.xen:
        raise BalanceError("Libvirt does not tell how much memory the guests of a Xen host could still use.")
    if not connection.local:
        raise BalanceError(
            f"{connection.uri} is another machine: run this on the host itself, which alone knows whether it is short "
            f"of memory."
        )


def run_round(
    connection: Connection,
    before: Sample,
    after: Sample,
    settings: Settings,
    *,
    check_mode: bool,
    clock: Clock = _CLOCK,
    root: str = "/",
) -> dict[str, t.Any]:
    """Decide by two samples of a BulkSampler, move balloons, and return what was done.

    The result has the keys that the module host_memory_balance documents, RV(diff), and RV(warnings): what is to be
    told to a person, each thing once and not in every round. It takes up to RV(verify_seconds), until the balloons
    have moved. A domain that fails keeps no other from its turn.

    Raises libvirtError where the connection is lost, BalanceError where libvirt does not answer.
    """
    domains = _observe(connection, before, after, settings, check_mode=check_mode, now=clock.now())
    host = _read_host(connection, before, after, root)
    decision = memory_decision.decide([domain.memory for domain in domains], host, settings.options)
    acting = _Acting(connection, {domain.memory.uuid: domain for domain in domains}, check_mode=check_mode)
    moved, failed = acting.move(decision.changes, settings.verify_seconds, clock)
    left_alone = [*decision.left_alone, *failed]
    warnings = acting.report(left_alone, clock.now())
    return {
        "changed": bool(moved),
        "why": decision.why,
        "host": {"available_mib": host.available_mib, "pressure": host.pressure, "swapping": host.swapping},
        "changes": [
            {
                "uuid": change.domain.uuid,
                "name": change.domain.name,
                "before_mib": change.domain.current_mib,
                "target_mib": change.target_mib,
                "after_mib": reached,
                "why": change.why,
            }
            for change, reached in moved
        ],
        "left_alone": [
            {"uuid": memory.uuid, "name": memory.name, "code": code, "reason": reason}
            for memory, code, reason in sorted(left_alone, key=lambda found: (found[0].name, found[0].uuid))
        ],
        "starving": [
            {"uuid": memory.uuid, "name": memory.name, "reason": reason} for memory, reason in decision.starving
        ],
        "warnings": warnings,
        "diff": {
            "before": {
                f"{change.domain.name} ({change.domain.uuid})": change.domain.current_mib for change, _at in moved
            },
            "after": {f"{change.domain.name} ({change.domain.uuid})": reached for change, reached in moved},
        },
    }


class _BalloonDomain(t.NamedTuple):
    handle: t.Any
    memory: memory_decision.DomainMemory
    current_kib: int
    # None where the domain could not be asked.
    remembered: original_settings.Remembered | None


def _read_host(connection: Connection, before: Sample, after: Sample, root: str) -> memory_decision.HostMemory:
    return memory_decision.HostMemory(
        available_mib=host_facts.read_memory(connection, root=root)["available_mib"],
        pressure=procfs.read_pressure("memory", root=root),
        swapping=_host_swaps(before, after),
    )


def _host_swaps(before: Sample, after: Sample) -> bool | None:
    if before.swapped_out_kib is None or after.swapped_out_kib is None:
        return None
    return after.swapped_out_kib - before.swapped_out_kib > _SWAPPING_KIB_PER_SECOND * (after.at - before.at)


def _observe(
    connection: Connection, before: Sample, after: Sample, settings: Settings, *, check_mode: bool, now: float
) -> list[_BalloonDomain]:
    domains = []
    for uuid, sample in after.domains.items():
        name, stats = sample.handle.name(), sample.stats
        state = domain_state.state_name(stats.get("state.state"))
        if not settings.concerns(uuid, name) or state not in ("running", "blocked"):
            continue
        current, maximum = stats.get("balloon.current"), stats.get("balloon.maximum")
        if current is None or maximum is None:
            continue
        earlier = before.domains[uuid].stats if uuid in before.domains else {}
        remembered = None
        try:
            remembered, obstacle = _read_domain(connection, sample, earlier, settings, check_mode=check_mode, now=now)
        except (connection.api.libvirtError, ValueError) as error:
            if _errors.is_connection_lost(error):
                raise
            obstacle = "unknown", _reason(connection, error, name)
        usable = stats.get("balloon.usable")
        memory = memory_decision.DomainMemory(
            uuid=uuid,
            name=name,
            maximum_mib=maximum // _KIB,
            current_mib=current // _KIB,
            usable_mib=None if usable is None else usable // _KIB,
            swapping=_swaps(earlier, stats),
            obstacle=obstacle,
        )
        domains.append(_BalloonDomain(sample.handle, memory, current, remembered))
    return domains


def _swaps(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any]) -> bool | None:
    grown = [rates.increase(before, after, f"balloon.{name}") for name in ("swap_in", "swap_out")]
    return None if None in grown else any(grown)


def _read_domain(
    connection: Connection,
    sample: DomainSample,
    earlier: t.Mapping[str, t.Any],
    settings: Settings,
    *,
    check_mode: bool,
    now: float,
) -> tuple[original_settings.Remembered | None, tuple[str, str] | None]:
    """Return what is remembered of a domain, and why its balloon must not be touched.

    Raises libvirtError, ValueError.
    """
    api, handle, name = connection.api, sample.handle, sample.handle.name()
    if sample.held:
        return None, ("busy", f"A job of libvirt holds {name}.")
    xml = domain_xml.parse(handle.XMLDesc(0))
    remembered = original_settings.read(api, handle, flags=api.VIR_DOMAIN_AFFECT_LIVE)
    obstacle = balloon.obstacle_in(xml, name)
    if obstacle is not None:
        return remembered, obstacle
    stuck = remembered.balloon_problem == "does_not_follow"
    if stuck and _seconds_since(remembered.balloon_since, now) < _RETRY_SECONDS:
        return remembered, ("does_not_follow", f"The balloon of {name} did not move at the last request.")
    period = xml.stats_period_seconds
    if not period:
        return remembered, _start_statistics(api, handle, settings.stats_period_seconds, check_mode=check_mode)
    fresh = observed_domain.freshness(earlier, sample.stats, period, now=now)
    if fresh is None:
        return remembered, (
            "no_driver",
            f"{name} reports nothing about its memory: the driver (virtio_balloon) in the guest is not loaded.",
        )
    if not fresh:
        return remembered, (
            "stale",
            f"The memory statistics of {name} are older than {observed_domain.fresh_seconds(period)} s.",
        )
    if not _of_this_size(earlier, sample.stats):
        return remembered, ("stale", f"The memory statistics of {name} are from before its balloon moved.")
    return remembered, None


def _of_this_size(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any]) -> bool:
    """Return whether a guest's figures are of the size that its balloon has now.

    What the guest does not have of that size, its kernel's own share, stays the same wherever the balloon goes.
    """
    size, available = "balloon.current", "balloon.available"
    if balloon.is_at(before.get(size, after[size]), after[size]):
        return True
    if available not in before or available not in after:
        return False
    return balloon.is_at(before[size] - before[available], after[size] - after[available])


def _start_statistics(api: t.Any, domain: t.Any, period: int, *, check_mode: bool) -> tuple[str, str]:
    name = domain.name()
    held = domain_state.why_held(api, domain)
    if held is not None:
        return "busy", held
    if not check_mode:
        domain.setMemoryStatsPeriod(period, api.VIR_DOMAIN_AFFECT_LIVE)
    return "statistics_started", f"The memory statistics of {name} were not collected; from now on they are."


def _seconds_since(text: str | None, now: float) -> float:
    try:
        then = datetime.datetime.strptime(text or "", _TIME).replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        return float("inf")
    return abs(now - then.timestamp())


def _reason(connection: Connection, error: Exception, name: str) -> str:
    if isinstance(error, (BalanceError, ValueError)):
        return str(error)
    return _errors.translate(connection.api, error, doing=f"balance the memory of {name}").message


_Failure = tuple[memory_decision.DomainMemory, str, str]


class _Acting:
    """Moves balloons and notes what is wrong with some; in check mode it only says what it would do."""

    def __init__(self, connection: Connection, domains: t.Mapping[str, _BalloonDomain], *, check_mode: bool) -> None:
        self._connection, self._domains, self._check_mode = connection, domains, check_mode
        self._tried_in_vain: set[str] = set()

    def move(
        self, changes: t.Sequence[memory_decision.Change], seconds: float, clock: Clock
    ) -> tuple[list[tuple[memory_decision.Change, int]], list[_Failure]]:
        """Return the changes with the sizes (MiB) that were reached, and what did not move."""
        failed: list[_Failure] = []
        told: dict[t.Any, memory_decision.Change] = {}
        for change in changes:
            problem = self._tell(change)
            if problem is None:
                told[self._domains[change.domain.uuid].handle] = change
            else:
                failed.append((change.domain, "busy", problem))
        if self._check_mode or not told:
            return [(change, change.target_mib) for change in told.values()], failed
        targets = {handle: change.target_mib * _KIB for handle, change in told.items()}
        sizes = balloon.watch(self._connection, targets, seconds, clock)
        moved = []
        for handle, change in told.items():
            reached = sizes.get(change.domain.uuid)
            if reached is None:
                failed.append((change.domain, "gone", f"{change.domain.name} ended while its memory was changed."))
            elif balloon.is_at(reached, self._domains[change.domain.uuid].current_kib):
                # Else a driver that comes later would still go there.
                self._try(change.domain, functools.partial(self._set, handle, reached))
                self._tried_in_vain.add(change.domain.uuid)
                failed.append(
                    (
                        change.domain,
                        "does_not_follow",
                        f"The balloon of {change.domain.name} did not move when asked to.",
                    )
                )
            else:
                moved.append((change, reached // _KIB))
        return moved, failed

    def report(self, left_alone: t.Sequence[_Failure], now: float) -> list[str]:
        """Record lasting obstacles on each domain, and return the sentences that are new."""
        lasting = {memory.uuid: (code, reason) for memory, code, reason in left_alone if code in _LASTING}
        passing = {memory.uuid for memory, _code, _reason in left_alone} - set(lasting)
        since = datetime.datetime.fromtimestamp(now, tz=datetime.timezone.utc).strftime(_TIME)
        warnings = []
        for uuid, domain in self._domains.items():
            if domain.remembered is None or uuid in passing:
                continue
            noted = domain.remembered.balloon_problem
            code, reason = lasting.get(uuid, (None, ""))
            if code is not None and code != noted:
                warnings.append(f"{reason} It is left alone.")
            if not self._check_mode and (code != noted or uuid in self._tried_in_vain):
                self._note(domain, code, since)
        return warnings

    def _tell(self, change: memory_decision.Change) -> str | None:
        api = self._connection.api
        domain = self._domains[change.domain.uuid]

        def tell() -> str | None:
            held = domain_state.why_held(api, domain.handle)
            if held is None and not self._check_mode:
                balloon.remember(api, domain.handle, domain.current_kib, flags=api.VIR_DOMAIN_AFFECT_LIVE)
                self._set(domain.handle, change.target_mib * _KIB)
            return held

        return self._try(change.domain, tell)

    def _set(self, handle: t.Any, size: int) -> None:
        handle.setMemoryFlags(size, self._connection.api.VIR_DOMAIN_AFFECT_LIVE)

    def _note(self, domain: _BalloonDomain, code: str | None, since: str) -> None:
        api = self._connection.api

        def note() -> None:
            if domain_state.why_held(api, domain.handle) is None:
                balloon.note_problem(api, domain.handle, code, since if code is not None else None)

        self._try(domain.memory, note)

    def _try(self, memory: memory_decision.DomainMemory, call: t.Callable[[], str | None]) -> str | None:
        """Return what RV(call) returns, or why it failed. Raises libvirtError where the connection is lost."""
        try:
            return call()
        except self._connection.api.libvirtError as error:
            if _errors.is_connection_lost(error):
                raise
            return _reason(self._connection, error, memory.name)
