# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the live migration of one domain, from the first look to the last.

Look at both hosts, check, write down what is about to happen, prepare, migrate, look at both hosts again, put
everything right where the domain now is. Nothing is ever destroyed, and nothing is ever started.
"""

from __future__ import annotations

import contextlib
import typing as t
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from ansible_collections.virtops.balance.plugins.module_utils import (
    _cputune,
    _domain_xml,
    _errors,
    _host_facts,
    _journal,
    _metadata,
    _migration,
    _preflight,
    _procfs,
    _residency,
)
from ansible_collections.virtops.balance.plugins.module_utils._both_hosts import find_domain, look, read_side, settle
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection, connect
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._residency import Residency, Side
from ansible_collections.virtops.balance.plugins.module_utils._storage import SharedStorage

# For how long a situation that is not clear may become clear by itself: libvirt gives up a silent peer after 30 s.
_PATIENCE_SECONDS = 60
_BEFORE_SECONDS = 3

_QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"

Report = t.Callable[[dict[str, t.Any]], None]


@dataclass(frozen=True)
class Request:
    """What was asked for: the options of the module, under their names."""

    uri: str
    domain: str
    destination_uri: str
    source: str | None = None
    destination: str | None = None
    migrate_uri: str | None = None
    bandwidth_mib_s: int | None = None
    timeout_seconds: int | None = None
    auto_converge: bool = True
    post_copy: bool = False
    parallel_connections: int | None = None
    tls: bool = False
    copy_storage: str = "none"
    copy_disks: t.Sequence[str] | None = None
    shared_paths: t.Sequence[str] = ()
    accept_blockers: t.Sequence[str] = ()
    memory_reserve_mib: int = 256
    destination_cgroup_version: int | None = None


class MoveError(BalanceError):
    """The domain did not move, or did and something is not right after it. RV(details) are part of the result."""

    def __init__(self, message: str, details: dict[str, t.Any]) -> None:
        super().__init__(message)
        self.details = details

    def to_result(self) -> dict[str, t.Any]:
        return {**self.details, **super().to_result()}


def check_request(request: Request) -> None:
    """Raise BalanceError where the options make no sense."""
    for name, least in (
        ("bandwidth_mib_s", 1),
        ("timeout_seconds", 1),
        ("parallel_connections", 1),
        ("memory_reserve_mib", 0),
    ):
        value = getattr(request, name)
        if value is not None and value < least:
            raise BalanceError(f"{name} must be at least {least}, but it is {value}.")
    for path in request.shared_paths:
        if not path.startswith("/"):
            raise BalanceError(f"shared_paths must be absolute paths, but one is {path!r}.")
    if request.copy_disks is not None and request.copy_storage == "none":
        raise BalanceError("copy_disks needs copy_storage to be full or incremental.")


@dataclass
class _Move:
    """One run. Grows as more becomes known."""

    api: t.Any
    request: Request
    check_mode: bool
    report: Report
    now: t.Callable[[], str]
    clock: _migration.Clock
    uuid: str = ""
    name: str = ""
    source: str = ""
    destination: str = ""
    xen: bool = False
    result: dict[str, t.Any] = field(default_factory=dict)

    def tell(self, progress: dict[str, t.Any]) -> None:
        destination = self.destination or self.request.destination or self.request.destination_uri
        self.report(
            {"name": self.name or self.request.domain, "source": self.source, "destination": destination, **progress}
        )

    def failure(self, message: str) -> MoveError:
        return MoveError(message, self.result)


def move(
    api: t.Any,
    request: Request,
    *,
    check_mode: bool,
    report: Report,
    now: t.Callable[[], str] = _journal.utc_now,
    clock: _migration.Clock = _migration.SYSTEM_CLOCK,
) -> dict[str, t.Any]:
    """Migrate one domain and return the result of the module.

    Raises BalanceError with one sentence where it did not move and should have, or where it is not clear where it
    is. A domain that need not or can no longer be moved is no error: then RV(skipped) and RV(reason) are in the
    result, or RV(changed) is False.
    """
    check_request(request)
    run = _Move(api, request, check_mode, report, now, clock)
    with connect(api, request.uri, read_only=False) as source:
        run.source = request.source or _host_facts.ask(source, source.handle.getHostname) or request.uri
        run.xen = _cputune.is_xen(source.handle.getType())
        run.tell({"phase": "checking"})
        found = find_domain(source, request.domain)
        run.name, run.uuid = (request.domain, "") if found is None else (found.name(), found.UUIDString())
        try:
            with _connect_destination(run) as destination:
                plan = _look_and_check(run, source, destination, found)
        except api.libvirtError as error:
            raise _errors.translate(api, error, doing=f"check the migration of {_quoted(run)}") from error
        if plan is None:
            return run.result
        return _carry_out(run, source, plan)


def _quoted(run: _Move) -> str:
    return run.name if run.name.isprintable() else repr(run.name)


@contextlib.contextmanager
def _connect_destination(run: _Move) -> t.Iterator[Connection]:
    """Open the very connection that the source's daemon is going to open, as far as this process can."""
    with contextlib.ExitStack() as stack:
        try:
            destination = stack.enter_context(connect(run.api, run.request.destination_uri, read_only=False))
        except BalanceError as error:
            where = run.request.destination or run.request.destination_uri
            raise run.failure(
                f"{_quoted(run)} was not moved from {run.source} to {where}, because {where} cannot be reached from "
                f"{run.source}: {error.message}"
            ) from error
        hostname = _host_facts.ask(destination, destination.handle.getHostname)
        run.destination = run.request.destination or hostname or run.request.destination_uri
        yield destination


@dataclass(frozen=True)
class _Plan:
    """What a domain that can be moved needs on the way."""

    persistent: bool
    autostart: bool
    transfer: _migration.Transfer
    timeout_seconds: int
    source_cgroup_version: int | None
    definition: str | None


def _look_and_check(run: _Move, source: Connection, destination: Connection, found: t.Any | None) -> _Plan | None:
    """Return what to do, or None where the result says that nothing is to be done."""
    _check_two_hosts(run, source, destination)
    if found is None:
        found_there = find_domain(destination, run.request.domain)
        if found_there is None:
            _skip(run, f"Neither {run.source} nor {run.destination} has a domain {_quoted(run)}")
            return None
        run.name, run.uuid = found_there.name(), found_there.UUIDString()
    residency, here, there = settle(
        _quoted(run),
        lambda: (read_side(source, run.uuid, run.source), read_side(destination, run.uuid, run.destination)),
        patience=_BEFORE_SECONDS,
        clock=run.clock,
    )
    _record(run, residency, here, there)
    if residency.outcome == _residency.ON_DESTINATION:
        _already_there(run, destination)
        return None
    if residency.outcome in (_residency.IN_FLIGHT, _residency.GONE):
        _skip(run, residency.sentence)
        return None
    if residency.outcome != _residency.ON_SOURCE:
        raise run.failure(f"Nothing was done. {residency.sentence}")
    if here.job is not None:
        _skip(run, f"{_quoted(run)} is busy on {run.source}: libvirt runs a job on it ({here.job})")
        return None
    if here.state not in ("running", "blocked") and (here.state, here.reason) != ("paused", "user"):
        _skip(run, f"{_quoted(run)} is {here.state} ({here.reason}) on {run.source}")
        return None
    if not run.check_mode:
        _finish_left_over(run, source, moved=False)
    return _check(run, source, destination, here)


def _check_two_hosts(run: _Move, source: Connection, destination: Connection) -> None:
    uuids = [_host_facts.read_capabilities(connection).uuid for connection in (source, destination)]
    if uuids[0] is None or uuids[0] != uuids[1]:
        return
    hostnames = [_host_facts.ask(connection, connection.handle.getHostname) for connection in (source, destination)]
    if hostnames[0] == hostnames[1]:
        raise run.failure(
            f"{run.request.destination_uri} is {run.source} itself: {_quoted(run)} cannot be migrated to the host that "
            "it is on. Give another destination_uri."
        )
    raise run.failure(
        f"{hostnames[0]} and {hostnames[1]} have the same host UUID {uuids[0]}, so libvirt takes them for one host and "
        "refuses to migrate between them. Give each a host_uuid of its own in libvirtd.conf (virtqemud.conf)."
    )


def _record(run: _Move, residency: Residency, here: Side, there: Side) -> None:
    run.result.update(
        changed=False,
        uuid=run.uuid,
        name=run.name,
        outcome=residency.outcome,
        sentence=residency.sentence,
        source=here.to_result(),
        destination=there.to_result(),
    )


def _skip(run: _Move, reason: str) -> None:
    run.result.update(changed=False, skipped=True, reason=reason.rstrip(".") + ".")


def _already_there(run: _Move, destination: Connection) -> None:
    run.result.update(reason=f"{_quoted(run)} is already on {run.destination}.")
    if not run.check_mode:
        _finish_left_over(run, destination, moved=True)


def _finish_left_over(run: _Move, connection: Connection, *, moved: bool) -> None:
    domain = connection.handle.lookupByUUIDString(run.uuid)
    try:
        note = _journal.finish_left_over(run.api, domain, xen=run.xen, moved_at=run.now() if moved else None)
    except run.api.libvirtError as error:
        raise _errors.translate(run.api, error, doing=f"finish an earlier move of {_quoted(run)}") from error
    if note is not None:
        run.result["finished_move"] = {
            "source": note.source,
            "destination": note.destination,
            "started_at": note.started_at,
            "cap": note.cap,
        }


def _check(run: _Move, source: Connection, destination: Connection, here: Side) -> _Plan | None:
    api, request = run.api, run.request
    domain = source.handle.lookupByUUIDString(run.uuid)
    text = domain.XMLDesc(api.VIR_DOMAIN_XML_MIGRATABLE)
    migratable = ET.fromstring(text)
    subject = _preflight.Subject(
        name=run.name,
        uuid=run.uuid,
        source=run.source,
        destination=run.destination,
        migratable=migratable,
        live=_domain_xml.parse(domain.XMLDesc(0)),
    )
    mounts = _procfs.read_mounts() if source.local else None
    declared = SharedStorage(mounts=mounts, shared_paths=request.shared_paths)
    if any(layer.type == "volume" for disk in subject.live.disks for layer in disk.layers):
        declared.add_pools(_host_facts.read_pools(source, declared) or [])
    checks: list[_preflight.Check] = []
    copied: list[str] = []
    if request.copy_storage != "none":
        copied, objections = _preflight.disks_to_copy(subject, declared, chosen=request.copy_disks)
        checks.extend(objections)
    unsafe, objections_to_unsafe = (
        (False, [])
        if run.xen
        else _preflight.needs_unsafe(
            migratable, recognised=SharedStorage(mounts=mounts), declared=declared, copied=copied
        )
    )
    if unsafe and objections_to_unsafe:
        checks.append(
            _preflight.Check(
                "storage",
                False,
                "libvirt does not take its storage for shared, and what shared_paths declares is not enough: "
                + "; ".join(objections_to_unsafe),
            )
        )
    # Xen has no snapshots.
    snapshots = _host_facts.ask(source, domain.snapshotNum, 0)
    checks.append(
        _preflight.check_blockers(
            subject,
            declared,
            state=here.state or "unknown",
            reason=here.reason,
            has_snapshot=None if snapshots is None and not run.xen else bool(snapshots),
            accepted=request.accept_blockers,
            copied=copied,
        )
    )
    checks.extend(_preflight.check_destination(subject, destination, reserve_mib=request.memory_reserve_mib))
    run.result["checks"] = [check.to_result() for check in checks]
    failed = [check for check in checks if check.ok is False]
    if failed:
        reason = (
            f"{_quoted(run)} cannot be moved from {run.source} to {run.destination}: "
            f"{'; '.join(check.message for check in failed)}."
        )
        if all(check.stale for check in failed):
            _skip(run, reason)
            return None
        raise run.failure(reason)
    total = (subject.live.memory_kib or 0) * 1024 + sum(domain.blockInfo(target)[0] for target in copied)
    persistent = bool(domain.isPersistent())
    plan = _Plan(
        persistent=persistent,
        autostart=bool(domain.autostart()) if persistent else False,
        transfer=_migration.Transfer(
            migrate_uri=request.migrate_uri,
            bandwidth_mib_s=request.bandwidth_mib_s,
            auto_converge=request.auto_converge,
            post_copy=request.post_copy,
            parallel_connections=request.parallel_connections,
            tls=request.tls,
            copy_storage=request.copy_storage,
            copied=copied,
            unsafe=unsafe,
        ),
        timeout_seconds=request.timeout_seconds or _migration.default_timeout(total),
        source_cgroup_version=_procfs.read_cgroup_version() if source.local else None,
        definition=domain.XMLDesc(api.VIR_DOMAIN_XML_INACTIVE | api.VIR_DOMAIN_XML_SECURE) if persistent else None,
    )
    run.result["timeout_seconds"] = plan.timeout_seconds
    if run.check_mode:
        run.result["changed"] = True
        return None
    return plan


def _carry_out(run: _Move, source: Connection, plan: _Plan) -> dict[str, t.Any]:
    api = run.api
    domain = source.handle.lookupByUUIDString(run.uuid)
    run.tell({"phase": "preparing"})
    tuning = _cputune.Tuning()
    try:
        tuning = _cputune.read(api, domain, xen=run.xen)
        _journal.begin(
            api, domain, source=run.source, destination=run.destination, started_at=run.now(), cap=tuning.cap
        )
        if tuning.cap:
            _cputune.lift_cap(api, domain, xen=run.xen)
        parameters = _migration.parameters(plan.transfer, **_rewritten_weight(run, domain, plan))
    except (api.libvirtError, BalanceError) as error:
        problems = _put_right_on_source(run, tuning)
        raise run.failure(
            f"{_quoted(run)} was not moved from {run.source} to {run.destination}, because it could not be prepared: "
            f"{_because(error)}.{_also(problems)}"
        ) from error
    watch = _migration.Watch(
        timeout_seconds=plan.timeout_seconds, post_copy=plan.transfer.post_copy, can_abort=not run.xen
    )
    seen = _migration.run(
        api,
        domain,
        lambda: _migration.migrate(
            api,
            uri=run.request.uri,
            uuid=run.uuid,
            destination_uri=run.request.destination_uri,
            flags=_migration.flags(api, plan.transfer, persistent=plan.persistent, xen=run.xen),
            parameters=parameters,
        ),
        watch=watch,
        report=run.tell,
        clock=run.clock,
    )
    run.tell({"phase": "verifying"})
    residency, here, there = settle(
        _quoted(run),
        lambda: (
            look(api, run.request.uri, run.uuid, run.source),
            look(api, run.request.destination_uri, run.uuid, run.destination),
        ),
        patience=_PATIENCE_SECONDS if seen.returned else 0,
        clock=run.clock,
    )
    _record(run, residency, here, there)
    _record_transfer(run, seen)
    if residency.outcome == _residency.ON_DESTINATION:
        return _arrived(run, plan, tuning, here)
    if seen.error is not None:
        run.result.update({key: value for key, value in seen.error.to_result().items() if key != "msg"})
    raise run.failure(_not_arrived(run, plan, tuning, seen, residency))


def _rewritten_weight(run: _Move, domain: t.Any, plan: _Plan) -> dict[str, str]:
    """Return the definitions with the same relative weight in the destination's cgroup version, where that differs.

    Libvirt sends cpu_shares as they are, so 1024 (the default of version 1) would be ten times the default of
    version 2. They are no part of what must be the same on both sides.
    """
    versions = plan.source_cgroup_version, run.request.destination_cgroup_version
    if run.xen or versions[0] is None or versions[1] is None or versions[0] == versions[1]:
        return {}
    api = run.api
    kinds = {"destination_xml": api.VIR_DOMAIN_XML_MIGRATABLE | api.VIR_DOMAIN_XML_SECURE}
    if plan.persistent:
        kinds["persistent_xml"] = api.VIR_DOMAIN_XML_INACTIVE | api.VIR_DOMAIN_XML_SECURE
    texts = {}
    changed = False
    for name, flags in kinds.items():
        root = ET.fromstring(domain.XMLDesc(flags))
        shares = root.find("cputune/shares")
        if shares is not None and (shares.text or "").strip().isdigit():
            wanted = _cputune.shares_for(
                int(shares.text or 0), source_version=versions[0], destination_version=versions[1]
            )
            changed = changed or str(wanted) != shares.text
            shares.text = str(wanted)
        texts[name] = _serialised(root)
    return texts if changed else {}


def _serialised(root: ET.Element) -> str:
    ET.register_namespace(_metadata.PREFIX, _metadata.NAMESPACE)
    ET.register_namespace("qemu", _QEMU_NAMESPACE)
    return ET.tostring(root, encoding="unicode")


def _record_transfer(run: _Move, seen: _migration.Outcome) -> None:
    stats = seen.stats
    run.result.update(
        seconds=round(seen.seconds, 1),
        bytes=stats.get("data_processed"),
        downtime_ms=None,
        iterations=stats.get("memory_iteration"),
        converging=seen.convergence.converging,
        aborted=seen.aborted,
        post_copied=seen.post_copied,
    )


def _arrived(run: _Move, plan: _Plan, tuning: _cputune.Tuning, here: Side) -> dict[str, t.Any]:
    """Put everything right on the destination. The note of the move goes last: while it is there, work is left."""
    api = run.api
    run.result["changed"] = True
    run.tell({"phase": "finishing"})
    problems: list[str] = []
    try:
        with connect(api, run.request.destination_uri, read_only=False) as destination:
            domain = destination.handle.lookupByUUIDString(run.uuid)
            _record_completed(run, domain)

            def attempt(doing: str, call: t.Callable[[], object]) -> None:
                try:
                    call()
                except (api.libvirtError, BalanceError) as error:
                    problems.append(f"cannot {doing} ({_because(error)})")

            if plan.persistent and not domain.isPersistent():
                attempt("define it there", lambda: destination.handle.defineXML(plan.definition))
            attempt("set its cap and weight again", lambda: _cputune.restore(api, domain, tuning, xen=run.xen))
            if plan.autostart:
                attempt("mark it for autostart", lambda: domain.setAutostart(1))
            if not problems:
                attempt("write down the end of the move", lambda: _journal.end(api, domain, moved_at=run.now()))
    except (api.libvirtError, BalanceError) as error:
        problems.append(_because(error))
    if here.persistent:
        problems.append(
            f"{run.source} still has a definition of it: undefine it there, so that nobody starts it a second time"
        )
    if problems:
        raise run.failure(f"{_quoted(run)} moved from {run.source} to {run.destination}, but: {'; '.join(problems)}.")
    return run.result


def _record_completed(run: _Move, domain: t.Any) -> None:
    """Read what the destination knows about the migration that has just ended. Libvirt tells it once."""
    api = run.api
    flags = api.VIR_DOMAIN_JOB_STATS_COMPLETED | getattr(api, "VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED", 0)
    try:
        stats = domain.jobStats(flags)
    except api.libvirtError:
        return
    for key, name in (("bytes", "data_processed"), ("downtime_ms", "downtime"), ("iterations", "memory_iteration")):
        if stats.get(name) is not None:
            run.result[key] = stats[name]


def _not_arrived(
    run: _Move, plan: _Plan, tuning: _cputune.Tuning, seen: _migration.Outcome, residency: Residency
) -> str:
    """Put right what can be, and return the sentence about it."""
    sentence = residency.sentence
    problems: list[str] = []
    if residency.outcome == _residency.NEVER_FINISHED and seen.returned:
        # Both hosts were asked, the destination has no copy, and it was this very call that ended: nobody else can
        # still start it there.
        sentence, problems = _resume(run, sentence)
    if run.result["outcome"] == _residency.ON_SOURCE:
        problems += _put_right_on_source(run, tuning)
    return (
        f"{_quoted(run)} was not moved from {run.source} to {run.destination}: {_cause(plan, seen)} "
        f"{sentence}{_also(problems)}"
    )


def _cause(plan: _Plan, seen: _migration.Outcome) -> str:
    left = ""
    if seen.stats.get("data_total"):
        rates = _migration.progress(seen.stats, seen.convergence)
        left = f", {rates['remaining_mib']} of {rates['total_mib']} MiB being left at {rates['mib_per_second']} MiB/s"
        if seen.convergence.converging is False:
            left += " while the guest changed its memory as fast as that"
    if seen.aborted and seen.returned:
        return (
            f"it was not done within {plan.timeout_seconds} seconds (timeout_seconds){left}, so the migration was "
            "ended."
        )
    if not seen.returned and seen.post_copied:
        return (
            f"nothing was sent any more for {_migration.ABORT_GRACE_SECONDS} seconds of its post-copy phase{left}. "
            "That phase cannot be ended without killing the domain, so it was left alone."
        )
    if not seen.returned:
        return (
            f"it was not done within {plan.timeout_seconds} seconds (timeout_seconds){left}, and the migration could "
            "not be ended: it is stuck and was left alone. Look at virsh domjobinfo on the source and at the daemon "
            "of the destination."
        )
    if seen.error is not None:
        return seen.error.message
    return "libvirt called the migration a success, but it is not there."


def _resume(run: _Move, sentence: str) -> tuple[str, list[str]]:
    """Let a domain go on that its own migration left paused. Returns the new sentence and what went wrong."""
    api = run.api
    try:
        with connect(api, run.request.uri, read_only=False) as source:
            source.handle.lookupByUUIDString(run.uuid).resume()
            here = read_side(source, run.uuid, run.source)
    except (api.libvirtError, BalanceError) as error:
        return sentence, [f"it could not be resumed ({_because(error)})"]
    run.result.update(outcome=_residency.ON_SOURCE, source=here.to_result(), resumed=True)
    return f"It had been left paused and was resumed on {run.source}.", []


def _put_right_on_source(run: _Move, tuning: _cputune.Tuning) -> list[str]:
    """Take back what was prepared. Returns what could not be taken back."""
    api = run.api
    try:
        with connect(api, run.request.uri, read_only=False) as source:
            domain = source.handle.lookupByUUIDString(run.uuid)
            _cputune.restore(api, domain, tuning, xen=run.xen)
            _journal.end(api, domain, moved_at=None)
    except (api.libvirtError, BalanceError) as error:
        return [f"its cap of {tuning.cap:g} % and the note of the move could not be put right ({_because(error)})"]
    return []


def _because(error: Exception) -> str:
    return (error.message if isinstance(error, BalanceError) else str(error)).strip().rstrip(".")


def _also(problems: t.Sequence[str]) -> str:
    return f" And: {'; '.join(problems)}." if problems else ""
