# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the agent, a process that samples its host for ever and stores the samples.

It needs nothing of Ansible on the host, only Python and libvirt's binding.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import threading
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils import _errors, _option_checks
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection, KeptConnection
from ansible_collections.virtops.balance.plugins.module_utils._history import store as _store
from ansible_collections.virtops.balance.plugins.module_utils._history.agent_status import Status, log, longest_pause
from ansible_collections.virtops.balance.plugins.module_utils._host import lease as _lease
from ansible_collections.virtops.balance.plugins.module_utils._host import marks as host_marks
from ansible_collections.virtops.balance.plugins.module_utils._observe import host as observed_host
from ansible_collections.virtops.balance.plugins.module_utils._observe import record
from ansible_collections.virtops.balance.plugins.module_utils._observe.sampler import BulkSampler, Sample, Sampler
from ansible_collections.virtops.balance.plugins.module_utils._tuning import memory_balance, vcpu_balance

RunRound = t.Callable[[Connection, Sample, Sample], dict[str, t.Any]]

_BALANCES: dict[str, t.Any] = {"vcpu": vcpu_balance, "memory": memory_balance}
_LEAST = {"interval": 0.01, "keep_hours": 0.01, "max_mib": 1, "quantum": 0.01}
_MOST = 10**6


class Settings(t.NamedTuple):
    """The settings of the agent. RV(rounds) has the settings of each kind of balancing, by name."""

    uri: str
    interval: float
    keep_hours: float
    max_mib: int
    quantum: float
    rounds: t.Mapping[str, t.Any]


class Recorder:
    """One round: take a sample and store what happened since the one before."""

    def __init__(
        self,
        connection: KeptConnection,
        *,
        interval: float,
        keep_hours: float,
        max_mib: int,
        root: str = "/",
        clock: observed_host.Clock,
    ) -> None:
        self._connection = connection
        self._interval = interval
        self._keep_samples = max(2, round(keep_hours * 3600 / interval))
        self._max_bytes = max_mib * 1024 * 1024
        self._root, self._clock = root, clock
        self._path = os.path.join(root, _store.PATH)
        self._store: _store.Store | None = None
        self._sampler: tuple[Connection, Sampler] | None = None
        self._before: Sample | None = None

    def __call__(self) -> None:
        """Do one round. Raises BalanceError or libvirtError; what was stored before is not touched by either."""
        sampler = self._choose_sampler()
        sample = sampler.sample()
        # The wall clock of the moment that the sample is of.
        at = self._clock.now() - (self._clock.monotonic() - sample.at)
        before, self._before = self._before, sample
        if before is None or sample.at - before.at > longest_pause(self._interval):
            return
        row = record.describe(sampler, record.Counters.of(before), sample, at=at)
        self._keep(row, host_marks.observe(root=self._root)["marks"])

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _choose_sampler(self) -> Sampler:
        connection = self._connection.get()
        if self._sampler is None or self._sampler[0] is not connection:
            sampler = observed_host.choose_sampler(connection, clock=self._clock, root=self._root)
            self._sampler = (connection, sampler)
        return self._sampler[1]

    def _keep(self, row: _store.Row, marks: t.Mapping[str, t.Any] | None) -> None:
        try:
            if self._store is not None and not os.path.exists(self._path):
                log.warning("%s was removed and is created again", self._path)
                self.close()
            if self._store is None:
                self._store = self._open()
            self._store.add(row, record.events(self._store.states(), marks, at=row.at))
        except (sqlite3.OperationalError, _store.NewerError, OSError) as error:
            raise _errors.BalanceError(
                f"Cannot store a sample in {self._path}: {error}. What is stored already is kept."
            ) from error
        except sqlite3.DatabaseError as error:
            self.close()
            aside = _store.set_aside(self._path)
            raise _errors.BalanceError(
                f"{self._path} is damaged ({error}). It is now {aside}, and the history begins anew."
            ) from error

    def _open(self) -> _store.Store:
        os.makedirs(os.path.dirname(self._path), mode=0o755, exist_ok=True)
        store = _store.Store(self._path, keep_samples=self._keep_samples, max_bytes=self._max_bytes)
        if store.set_aside is not None:
            log.warning("%s could not be used and is now %s", self._path, store.set_aside)
        return store


class Balancer:
    """One round: balance by what happened since the round before, with the code of the modules for one round."""

    def __init__(
        self,
        connection: KeptConnection,
        run_round: RunRound,
        *,
        check_host: t.Callable[[Connection], None],
        quantum: float,
        name: str,
        root: str = "/",
        clock: observed_host.Clock,
    ) -> None:
        self._kept, self._run_round, self._check_host = connection, run_round, check_host
        self._quantum, self._name = quantum, name
        self._root, self._clock = root, clock
        self._connection: Connection | None = None
        self._before: Sample | None = None
        self._pausing_for: str | None = None

    def __call__(self) -> None:
        """Do one round, unless somebody acts on the host. Raises BalanceError or libvirtError."""
        if self._somebody_acts():
            return
        connection = self._kept.get()
        if connection is not self._connection:
            self._check_host(connection)
            self._connection, self._before = connection, None
        sampler = BulkSampler(connection, cgroup_version=None, monotonic=self._clock.monotonic, root=self._root)
        sample = sampler.sample()
        before, self._before = self._before, sample
        if before is None or sample.at - before.at > longest_pause(self._quantum):
            return
        result = self._run_round(connection, before, sample)
        if result["changed"]:
            log.info("%s: %s", self._name, _changes(result))
        for warning in result.get("warnings", ()):
            log.warning("%s: %s", self._name, warning)

    def _somebody_acts(self) -> bool:
        """Whether the host is leased. To tune a domain that migrates would take 30 seconds and fail."""
        lease = _lease.read(root=self._root)
        if lease is None:
            if self._pausing_for is not None:
                log.info("%s: goes on", self._name)
            self._pausing_for = None
            return False
        if lease.owner != self._pausing_for:
            log.info("%s: pauses while the host is leased to %s", self._name, lease)
        self._pausing_for = lease.owner
        # What happened meanwhile is not its own round, and must not be judged as if it were.
        self._before = None
        return True


def _changes(result: t.Mapping[str, t.Any]) -> str:
    """Return what a round changed, on one line."""
    repinned = [
        f"{entry['name']} vCPU {entry['vcpu']} {entry['from']} -> {entry['to']}" for entry in result.get("repinned", ())
    ]
    resized = [
        f"{entry['name']} {entry['before_mib']} -> {entry['after_mib']} MiB" for entry in result.get("changes", ())
    ]
    return f"{', '.join(repinned + resized)}. {result['why']}"


class Loop(threading.Thread):
    """Does one thing for ever, at multiples of its period, until it is told to stop or finds an error in itself."""

    def __init__(
        self,
        name: str,
        work: t.Callable[[], None],
        *,
        period: float,
        api: t.Any,
        connection: KeptConnection,
        status: Status,
        stopping: threading.Event,
        now: t.Callable[[], float],
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._work, self._period = work, period
        self._api, self._connection = api, connection
        self._status, self._stopping, self._now = status, stopping, now
        self.failure: BaseException | None = None

    def describe(self) -> str:
        return f"{self.name} every {self._period:g} s"

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._round()
                self._stopping.wait(seconds_to_next(self._now(), self._period))
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits for it
            self.failure = error
            self._stopping.set()

    def _round(self) -> None:
        try:
            self._work()
        except _errors.BalanceError as error:
            self._failed(error.message)
        except self._api.libvirtError as error:
            self._failed(_errors.translate(self._api, error, doing=f"do the work of {self.name}").message)
        else:
            self._status.worked(self.name)

    def _failed(self, problem: str) -> None:
        self._status.failed(self.name, problem)
        # Whatever it was, a new connection is worth little and may help: the daemon may have been restarted.
        self._connection.drop()


def seconds_to_next(now: float, period: float) -> float:
    """Return how long to wait for the next multiple of RV(period), at least half of it.

    All agents sample at the same times by the clock, and each finds back to them when its clock is set.
    """
    wait = period - now % period
    return wait if wait >= period / 2 else wait + period


def check_settings(settings: t.Mapping[str, t.Any]) -> Settings:
    """Return the settings of the agent's file, checked. Raises BalanceError."""
    names = {"uri", *_LEAST, "balance", *(f"{name}_options" for name in _BALANCES)}
    for problem, found in (("missing", names - set(settings)), ("not known", set(settings) - names)):
        if found:
            raise _errors.BalanceError(f"{min(found)} is {problem}.")
    if not isinstance(settings["uri"], str):
        raise _errors.BalanceError(f"uri must be a text, but it is {settings['uri']!r}.")
    for name, least in _LEAST.items():
        if isinstance(settings[name], bool) or not isinstance(settings[name], (int, float)):
            raise _errors.BalanceError(f"{name} must be a number, but it is {settings[name]!r}.")
        _option_checks.check_number(name, settings[name], least, _MOST)
    wanted = settings["balance"]
    if not isinstance(wanted, list) or not set(map(str, wanted)) <= set(_BALANCES):
        raise _errors.BalanceError(f"balance must be a list of {', '.join(_BALANCES)}, but it is {wanted!r}.")
    # Also those of a loop that is not wanted now: whoever wrote them wants to know.
    rounds = {name: _round_settings(name, settings[f"{name}_options"]) for name in _BALANCES}
    return Settings(
        **{name: settings[name] for name in ("uri", *_LEAST)}, rounds={name: rounds[name] for name in sorted(wanted)}
    )


def make_loops(
    api: t.Any,
    settings: Settings,
    *,
    stopping: threading.Event,
    root: str = "/",
    clock: observed_host.Clock,
) -> list[Loop]:
    """Return the loops that the settings ask for, none of them started."""
    status = Status(root=root, now=clock.now)

    def loop(name: str, connection: KeptConnection, work: t.Callable[[], None], period: float) -> Loop:
        return Loop(
            name,
            work,
            period=period,
            api=api,
            connection=connection,
            status=status,
            stopping=stopping,
            now=clock.now,
        )

    connection = KeptConnection(api, settings.uri, read_only=True)
    recorder = Recorder(
        connection,
        interval=settings.interval,
        keep_hours=settings.keep_hours,
        max_mib=settings.max_mib,
        root=root,
        clock=clock,
    )
    loops = [loop("history", connection, recorder, settings.interval)]
    for name, options in settings.rounds.items():
        # Each its own: a call that waits must not keep the others waiting.
        connection = KeptConnection(api, settings.uri, read_only=False)
        balancer = Balancer(
            connection,
            _run_round(name, options, root=root, clock=clock),
            check_host=_BALANCES[name].check_host,
            quantum=settings.quantum,
            name=name,
            root=root,
            clock=clock,
        )
        loops.append(loop(name, connection, balancer, settings.quantum))
    return loops


def _round_settings(name: str, options: t.Any) -> t.Any:
    if not isinstance(options, dict):
        raise _errors.BalanceError(f"{name}_options must be a mapping, but it is {options!r}.")
    try:
        return _BALANCES[name].settings_from(options)
    except TypeError as error:
        raise _errors.BalanceError(
            f"{name}_options has an option that is not known, or one of the wrong type: {error}."
        ) from error


def _run_round(name: str, options: t.Any, *, root: str, clock: observed_host.Clock) -> RunRound:
    """Return the round of a module without its check mode."""
    # The balloons are watched for some time, so that module has a clock as well.
    more = {"clock": clock} if name == "memory" else {}
    return functools.partial(_BALANCES[name].run_round, settings=options, check_mode=False, root=root, **more)
