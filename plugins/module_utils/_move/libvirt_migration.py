# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: one call of virDomainMigrateToURI3, watched.

The call blocks until the migration is over, so it runs in a thread with a connection of its own. Its progress comes
through another connection: libvirt answers only five requests at a time on one connection, and an abort must not
wait behind the call that it is to end.
"""

from __future__ import annotations

import threading
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Call, KeptConnection, Line, connect
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError

MIB = 1024 * 1024

# KubeVirt's default for migrations (completionTimeoutPerGiB); a small domain needs some time to get going.
SECONDS_PER_GIB = 800
LEAST_TIMEOUT_SECONDS = 120
# A peer that is gone is given up by libvirt after 30 seconds, so what needs longer than this is stuck.
ABORT_GRACE_SECONDS = 60
POLL_SECONDS = 1.0
_STATS_SECONDS = 5
_COMMAND_SECONDS = 10
# Iterations in a row in which the guest changed as much memory as could be sent.
_DIVERGING_ITERATIONS = 2
# A page that is written a hundred times in an iteration counts once, so a guest that writes the same few MiB for ever
# shows a rate that comes close to the bandwidth, whatever that is, and never exceeds it by much.
_AS_FAST = 0.9

Report = t.Callable[[dict[str, t.Any]], None]
T = t.TypeVar("T")


@dataclass(frozen=True)
class Transfer:
    """How the memory is to be sent. RV(copied) are the targets of disks that are copied along."""

    migrate_uri: str | None = None
    bandwidth_mib_s: int | None = None
    auto_converge: bool = True
    post_copy: bool = False
    parallel_connections: int | None = None
    tls: bool = False
    copy_storage: str = "none"
    copied: t.Sequence[str] = ()
    unsafe: bool = False


def flags(api: t.Any, transfer: Transfer, *, persistent: bool, xen: bool) -> int:
    """Return the flags of the call. Source: virDomainMigrateFlags in libvirt/libvirt-domain.h.

    The domain stays what it was: a persistent one is defined on the destination and no longer on the source, because
    a definition that is left behind could be started there. Xen knows only the first three of these flags and
    refuses the others.
    """
    chosen: int = api.VIR_MIGRATE_LIVE | api.VIR_MIGRATE_PEER2PEER
    if persistent:
        chosen |= api.VIR_MIGRATE_PERSIST_DEST | api.VIR_MIGRATE_UNDEFINE_SOURCE
    if xen:
        return chosen
    chosen |= api.VIR_MIGRATE_ABORT_ON_ERROR
    wanted = (
        (transfer.auto_converge, api.VIR_MIGRATE_AUTO_CONVERGE),
        (transfer.post_copy, api.VIR_MIGRATE_POSTCOPY),
        ((transfer.parallel_connections or 0) > 1, api.VIR_MIGRATE_PARALLEL),
        (transfer.tls, api.VIR_MIGRATE_TLS),
        (bool(transfer.copied) and transfer.copy_storage == "full", api.VIR_MIGRATE_NON_SHARED_DISK),
        (bool(transfer.copied) and transfer.copy_storage == "incremental", api.VIR_MIGRATE_NON_SHARED_INC),
        (transfer.unsafe, api.VIR_MIGRATE_UNSAFE),
    )
    for on, flag in wanted:
        if on:
            chosen |= flag
    return chosen


def parameters(
    transfer: Transfer, *, destination_xml: str | None = None, persistent_xml: str | None = None
) -> dict[str, t.Any]:
    """Return the typed parameters of the call, only those that are set. Source: VIR_MIGRATE_PARAM_*."""
    found: dict[str, t.Any] = {
        "migrate_uri": transfer.migrate_uri,
        "bandwidth": transfer.bandwidth_mib_s,
        "destination_xml": destination_xml,
        "persistent_xml": persistent_xml,
    }
    if transfer.post_copy:
        found["bandwidth.postcopy"] = transfer.bandwidth_mib_s
    if (transfer.parallel_connections or 0) > 1:
        found["parallel.connections"] = transfer.parallel_connections
    if transfer.copied and transfer.copy_storage != "none":
        found["migrate_disks"] = list(transfer.copied)
    return {name: value for name, value in found.items() if value is not None}


def default_timeout(total_bytes: int) -> int:
    """Return the seconds that a migration of so many bytes may take.

    >>> default_timeout(4 * 1024 * 1024 * 1024), default_timeout(0)
    (3200, 120)
    """
    return max(LEAST_TIMEOUT_SECONDS, round(SECONDS_PER_GIB * total_bytes / (1024 * MIB)))


@dataclass
class Convergence:
    """Whether the copy catches up with the guest, measured once per iteration.

    The first iteration sends everything once and says nothing about it. QEMU measures the dirty rate at the end of
    each one.
    """

    iteration: int = 0
    diverging: int = 0
    measured: bool = False

    def feed(self, stats: t.Mapping[str, t.Any]) -> None:
        iteration = stats.get("memory_iteration", 0)
        if iteration <= max(self.iteration, 1):
            return
        self.iteration = iteration
        rate, page, sent = (stats.get(f"memory_{name}") for name in ("dirty_rate", "page_size", "bps"))
        if rate is None or page is None or not sent:
            return
        self.measured = True
        self.diverging = self.diverging + 1 if rate * page >= _AS_FAST * sent else 0

    @property
    def converging(self) -> bool | None:
        """None while nothing is known, False once it diverged in two iterations in a row."""
        if not self.measured:
            return None
        return self.diverging < _DIVERGING_ITERATIONS


@dataclass
class Watch:
    """What to do about a migration as time goes by."""

    timeout_seconds: float
    post_copy: bool = False
    can_abort: bool = True
    switched_at: float | None = field(default=None, init=False)
    aborted_at: float | None = field(default=None, init=False)
    _remaining: int | None = field(default=None, init=False)
    _moved_at: float = field(default=0, init=False)

    def decide(self, elapsed: float, converging: bool | None, remaining: int | None = None) -> str | None:
        """Return None, "post_copy", "abort" or "give_up", RV(elapsed) seconds after the call.

        RV(remaining) is what there is left to send. What was answered is taken as begun.
        """
        if self.aborted_at is not None:
            return "give_up" if elapsed >= self.aborted_at + ABORT_GRACE_SECONDS else None
        if self.switched_at is not None:
            # A domain in post-copy has its memory on both hosts. Ending that would kill it, so it is given the time
            # that it needs: every page is sent once more at most.
            if remaining != self._remaining:
                self._remaining, self._moved_at = remaining, elapsed
            return "give_up" if elapsed >= self._moved_at + ABORT_GRACE_SECONDS else None
        if elapsed >= self.timeout_seconds:
            if not self.can_abort:
                return "give_up"
            self.aborted_at = elapsed
            return "abort"
        late = converging is False or elapsed >= self.timeout_seconds / 2
        if self.post_copy and late:
            self.switched_at = self._moved_at = elapsed
            return "post_copy"
        return None

    def post_copy_refused(self) -> None:
        """Go on as if post-copy had not been asked for."""
        self.post_copy = False
        self.switched_at = None


def progress(stats: t.Mapping[str, t.Any], convergence: Convergence) -> dict[str, t.Any]:
    """Return libvirt's job statistics in the units of the collection; what is not known is None."""
    total, left, sent = (stats.get(f"data_{name}") for name in ("total", "remaining", "processed"))
    rates = [stats[name] for name in ("memory_bps", "disk_bps") if stats.get(name)]
    rate = sum(rates) if rates else None
    return {
        "percent": round(100 * (total - left) / total, 1) if total and left is not None else None,
        "total_mib": _mib(total),
        "sent_mib": _mib(sent),
        "remaining_mib": _mib(left),
        "mib_per_second": _mib(rate),
        "remaining_seconds": round(left / rate, 1) if rate and left is not None else None,
        "iteration": stats.get("memory_iteration"),
        "converging": convergence.converging,
    }


def _mib(number: int | None) -> float | None:
    return None if number is None else round(number / MIB, 1)


@dataclass
class Outcome:
    """What could be seen of the call. RV(error) is only what libvirt said: it does not tell where the domain is."""

    seconds: float = 0.0
    returned: bool = False
    error: BalanceError | None = None
    aborted: bool = False
    post_copied: bool = False
    stats: dict[str, t.Any] = field(default_factory=dict)
    convergence: Convergence = field(default_factory=Convergence)


@dataclass(frozen=True)
class Clock:
    """Time, so that tests can bring their own. RV(wait) waits for an event, at most so many seconds."""

    monotonic: t.Callable[[], float] = time.monotonic
    wait: t.Callable[[threading.Event, float], bool] = threading.Event.wait


SYSTEM_CLOCK = Clock()


class Control:
    """The domain through a connection of its own, which is opened anew where it broke, with one call at a time."""

    def __init__(self, api: t.Any, uri: str, uuid: str) -> None:
        self._api, self._uuid = api, uuid
        self._kept = KeptConnection(api, uri, read_only=False)
        self._line = Line()

    def ask(self, call: t.Callable[[t.Any], T], seconds: float, *, doing: str) -> T:
        """Return what RV(call) returns for the domain. Raises libvirtError or BalanceError."""
        return self._line.call(lambda: self._ask(call), seconds, doing=doing)

    def _ask(self, call: t.Callable[[t.Any], T]) -> T:
        try:
            return call(self._kept.get().handle.lookupByUUIDString(self._uuid))
        except self._api.libvirtError as error:
            if _errors.is_connection_lost(error):
                self._kept.drop()
            raise

    def close(self) -> None:
        # The call that was left alone closes what it uses.
        if not self._line.busy:
            self._kept.drop()


def migrate(
    api: t.Any,
    *,
    uri: str,
    uuid: str,
    destination_uri: str,
    flags: int,
    parameters: t.Mapping[str, t.Any],
) -> None:
    """Make the call, on a connection of its own. Returns when the migration is over. Raises libvirtError."""
    with connect(api, uri, read_only=False) as connection:
        domain = connection.handle.lookupByUUIDString(uuid)
        domain.migrateToURI3(destination_uri, dict(parameters), flags)


def run(
    api: t.Any,
    control: Control,
    call: t.Callable[[], None],
    *,
    watch: Watch,
    report: Report,
    clock: Clock = SYSTEM_CLOCK,
) -> Outcome:
    """Run RV(call) in a thread and look after it through RV(control), which has another connection.

    Returns when the call came back, or when the watch gave it up: then RV(returned) of the outcome is False and the
    migration may still be under way.
    """
    outcome = Outcome()
    worker = Call(call)
    started = clock.monotonic()
    worker.start()
    while not clock.wait(worker.done, POLL_SECONDS):
        outcome.seconds = clock.monotonic() - started
        _look(api, control, outcome, report, watch)
        action = watch.decide(outcome.seconds, outcome.convergence.converging, outcome.stats.get("data_remaining"))
        if action == "give_up":
            worker.left_alone = True
            return outcome
        if watch.aborted_at is not None and not outcome.aborted:
            outcome.aborted = _command(api, control, lambda domain: domain.abortJob())
        elif action == "post_copy":
            outcome.post_copied = _command(api, control, lambda domain: domain.migrateStartPostCopy(0))
            if not outcome.post_copied:
                watch.post_copy_refused()
    outcome.seconds = clock.monotonic() - started
    outcome.returned = True
    if isinstance(worker.failure, BalanceError):
        outcome.error = worker.failure
    elif isinstance(worker.failure, api.libvirtError):
        outcome.error = _errors.translate(api, worker.failure, doing="migrate")
    elif worker.failure is not None:
        raise worker.failure
    return outcome


def _look(api: t.Any, control: Control, outcome: Outcome, report: Report, watch: Watch) -> None:
    try:
        stats = control.ask(lambda domain: domain.jobStats(), _STATS_SECONDS, doing="read the job")
    except (api.libvirtError, BalanceError):
        # The job has just ended or has not begun, or the daemon is busy: the next look will tell more.
        return
    if not stats.get("type"):
        return
    outcome.stats = stats
    if watch.switched_at is None:
        # In post-copy the guest changes its memory on the other side.
        outcome.convergence.feed(stats)
    phase = "migrating"
    if watch.aborted_at is not None:
        phase = "aborting"
    elif watch.switched_at is not None:
        phase = "post_copy"
    report({"phase": phase, "elapsed_seconds": round(outcome.seconds, 1), **progress(stats, outcome.convergence)})


def _command(api: t.Any, control: Control, call: t.Callable[[t.Any], t.Any]) -> bool:
    """Send a command to the job, and tell whether it was taken. That the job has just ended is no error."""
    try:
        control.ask(call, _COMMAND_SECONDS, doing="reach the job")
    except (api.libvirtError, BalanceError):
        return False
    return True
