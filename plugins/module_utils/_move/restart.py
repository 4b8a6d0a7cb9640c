# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: shut a domain down on one host and start it on another, so that it never runs on both.

Look at both hosts, check, define it on the other one, shut it down, look again, start it, look again, and only then
forget it here. Where it does not start there, it is started here again.
"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection, connect, is_local
from ansible_collections.virtops.balance.plugins.module_utils._domain import metadata as domain_metadata
from ansible_collections.virtops.balance.plugins.module_utils._domain import move_note, portable
from ansible_collections.virtops.balance.plugins.module_utils._domain import state as domain_state
from ansible_collections.virtops.balance.plugins.module_utils._domain import xml as domain_xml
from ansible_collections.virtops.balance.plugins.module_utils._domain.find import find_domain
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._move import (
    desired_state,
    destination_options,
    libvirt_migration,
    preflight,
    where_it_runs,
)
from ansible_collections.virtops.balance.plugins.module_utils._move.both_hosts import look, read_side, settle
from ansible_collections.virtops.balance.plugins.module_utils._move.checks import blockers
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Check, Subject
from ansible_collections.virtops.balance.plugins.module_utils._move.remember import remembered
from ansible_collections.virtops.balance.plugins.module_utils._move.run import also, because
from ansible_collections.virtops.balance.plugins.module_utils._move.where_it_runs import Residency, Side
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts, procfs, qcow2
from ansible_collections.virtops.balance.plugins.module_utils._observe.shared_storage import SharedStorage
from ansible_collections.virtops.balance.plugins.module_utils._option_checks import check_number

# For how long a situation that is not clear may become clear by itself, before and after.
_BEFORE_SECONDS = 3
_AFTER_SECONDS = 60
# What ties a running domain to the CPU of its host is over with it, and so is what was written to a transient disk.
_OVER_WITH_A_RESTART = ("host_cpu", "transient_disk")


@dataclass(frozen=True)
class Request:
    """What was asked for: the options of the module, under their names."""

    uri: str
    domain: str
    destination_uri: str
    source: str | None
    destination: str | None
    shared_paths: t.Sequence[str]
    timeout_seconds: int
    force: bool
    memory_reserve_mib: int
    finish: str | None
    destination_cgroup_version: int | None = None
    destination_bridges: t.Sequence[str] | None = None
    destination_mounts: t.Sequence[t.Mapping[str, t.Any]] | None = None
    destination_zfs_cache_mib: int | None = None
    destination_shared_memory_mib: int | None = None
    memory_overcommit: float = 1.0
    remember: bool = False


@dataclass
class _Restart:
    """One run. Grows as more becomes known."""

    api: t.Any
    request: Request
    now: t.Callable[[], str]
    clock: libvirt_migration.Clock
    name: str = ""
    uuid: str = ""
    source: str = ""
    destination: str = ""
    xen: bool = False
    # The CPUs that the source has online, None = not known.
    source_cpus: frozenset[int] | None = None
    why: str = ""
    result: dict[str, t.Any] = field(default_factory=lambda: {"changed": False, "destroyed": False})

    @property
    def quoted(self) -> str:
        """The name, safe to print: it comes from whoever named the guest."""
        return self.name if self.name.isprintable() else repr(self.name)

    def record(self, residency: Residency, here: Side, there: Side) -> None:
        self.result.update(
            uuid=self.uuid,
            name=self.name,
            outcome=residency.outcome,
            sentence=residency.sentence,
            source=here.to_result(),
            destination=there.to_result(),
        )

    def look_again(self, *, patience: float = _AFTER_SECONDS) -> Residency:
        """Ask both hosts on new connections where the domain is, until it is clear or RV(patience) seconds are over."""
        residency, here, there = settle(
            self.quoted,
            lambda: (
                look(self.api, self.request.uri, self.uuid, self.source),
                look(self.api, self.request.destination_uri, self.uuid, self.destination),
            ),
            patience=patience,
            clock=self.clock,
        )
        self.record(residency, here, there)
        return residency

    def skip(self, reason: str) -> dict[str, t.Any]:
        self.result.update(skipped=True, reason=reason.rstrip(".") + ".")
        return self.result

    def failure(self, message: str) -> BalanceError:
        return BalanceError(message, details=self.result)

    def not_restarted(self, why: str) -> BalanceError:
        self.why = why
        return self.failure(f"{self.quoted} was not started on {self.destination} instead of {self.source}: {why}")


def restart(
    api: t.Any,
    request: Request,
    *,
    check_mode: bool,
    now: t.Callable[[], str] = move_note.utc_now,
    clock: libvirt_migration.Clock = libvirt_migration.SYSTEM_CLOCK,
) -> dict[str, t.Any]:
    """Restart the domain on the destination and return the result of the module.

    Raises BalanceError with one sentence where it does not run there and should, or where it is not clear where it
    runs. What reality has overtaken is no error: then RV(skipped) and RV(reason) are in the result.
    """
    check_number("timeout_seconds", request.timeout_seconds, 1, 1_000_000)
    destination_options.check(request)
    run = _Restart(api, request, now, clock)
    with connect(api, request.uri, read_only=False) as source:
        run.source = request.source or host_facts.ask(source, source.handle.getHostname) or request.uri
        run.destination, run.name = request.destination or request.destination_uri, request.domain
        run.xen = source.xen
        cpus = host_facts.read_cpus(source)
        run.source_cpus = None if cpus is None else cpus.online
        with remembered(run, wanted=request.remember and not check_mode and source.local):
            try:
                with connect(api, request.destination_uri, read_only=False) as destination:
                    return _restart(run, source, destination, check_mode=check_mode)
            except api.libvirtError as error:
                raise _errors.translate(api, error, doing=f"restart {run.quoted} on {run.destination}") from error


def _restart(run: _Restart, source: Connection, destination: Connection, *, check_mode: bool) -> dict[str, t.Any]:
    if host_facts.read_capabilities(source).uuid == host_facts.read_capabilities(destination).uuid:
        raise run.failure(f"{run.request.destination_uri} is {run.source} itself, or has the same host UUID.")
    domain, copy = (find_domain(connection, run.request.domain) for connection in (source, destination))
    known = domain if domain is not None else copy
    if known is None:
        return run.skip(f"Neither {run.source} nor {run.destination} has a domain {run.quoted}")
    run.name, run.uuid = known.name(), known.UUIDString()
    residency, here, there = settle(
        run.quoted,
        lambda: (read_side(source, run.uuid, run.source), read_side(destination, run.uuid, run.destination)),
        patience=_BEFORE_SECONDS,
        clock=run.clock,
    )
    run.record(residency, here, there)
    if run.request.finish is not None:
        return _finish(run, domain, copy, source, destination, residency, here, there, check_mode=check_mode)
    noted = _note(run, domain) is not None
    if residency.outcome == where_it_runs.ON_DESTINATION and not noted:
        run.result["reason"] = f"{run.quoted} is already on {run.destination}."
        return run.result
    nowhere = _nowhere(residency) and not _has_left(domain)
    unfinished = noted and (nowhere or residency.outcome == where_it_runs.ON_DESTINATION)
    if not unfinished and residency.outcome in (where_it_runs.IN_FLIGHT, where_it_runs.GONE):
        return run.skip(residency.sentence)
    if not unfinished and residency.outcome != where_it_runs.ON_SOURCE:
        raise run.failure(f"Nothing was done. {residency.sentence}")
    if here.job is not None:
        return run.skip(f"{run.quoted} is busy on {run.source}: libvirt runs a job on it ({here.job})")
    if here.active and here.state not in ("running", "blocked"):
        return run.skip(f"{run.quoted} is {here.state} ({here.reason}) on {run.source}")
    if not there.active:
        bad = _against(run, domain, source, destination, here)
        if bad and all(check.stale for check in bad):
            return run.skip(f"{run.destination} cannot take {run.quoted} now: {'; '.join(c.message for c in bad)}")
        if bad:
            raise run.not_restarted(f"{'; '.join(check.message for check in bad)}. Nothing was touched.")
    run.result["changed"] = True
    if not check_mode:
        _carry_out(run, domain, copy, destination, there)
    return run.result


def _finish(
    run: _Restart,
    domain: t.Any | None,
    copy: t.Any | None,
    source: Connection,
    destination: Connection,
    residency: Residency,
    here: Side,
    there: Side,
    *,
    check_mode: bool,
) -> dict[str, t.Any]:
    """Finish an interrupted restart, and begin nothing: a domain that runs stays where it runs."""
    api, note, left = run.api, _note(run, domain), _note(run, copy)
    if note is None and left is None:
        run.result["reason"] = f"No restart of {run.quoted} from {run.source} to {run.destination} was interrupted."
        return run.result
    if not residency.certain and not _nowhere(residency):
        raise run.failure(f"Nothing was done. {residency.sentence}")
    run.result["changed"] = True
    if check_mode:
        return run.result
    problems: list[str] = []
    left_by_hand = _has_left(domain)
    autostart = any(known is not None and known.autostart for known in (note, left))
    if residency.outcome == where_it_runs.ON_DESTINATION:
        _put_right(run, domain, autostart=autostart or (domain is not None and bool(domain.autostart())))
    elif domain is not None and (residency.outcome == where_it_runs.ON_SOURCE or note is None or left_by_hand):
        # The copy has never run: what is here is only forgotten after that. And what left for a third host runs there.
        problems = _forget_there(run, new=left is not None)
        if autostart and domain.isPersistent() and not left_by_hand:
            domain.setAutostart(1)
        if not problems:
            problems = _note_taken_away(run, domain)
    elif domain is None:
        # It is only forgotten here once it has run there, and there somebody has shut it down since.
        problems = _note_taken_away(run, copy)
    elif run.request.finish == "destination" and not _against(run, domain, source, destination, here):
        _carry_out(run, domain, copy, destination, there)
    else:
        try:
            problems = _start_here(run, domain, new=left is not None, autostart=autostart)
        except api.libvirtError as error:
            run.result["changed"] = False
            raise run.failure(
                f"{run.quoted} is shut off since its restart was interrupted, and could not be started on "
                f"{run.source}: {because(error)}."
            ) from error
    if problems:
        raise run.failure(f"The restart of {run.quoted} could not be completed: {'; '.join(problems)}.")
    return run.result


def _has_left(domain: t.Any | None) -> bool:
    """Whether it is not active here because it was migrated to a host that is neither source nor destination."""
    return domain is not None and domain_state.left_by_migration(*domain.state())


def _nowhere(residency: Residency) -> bool:
    """Whether both hosts say that it is not active: only then it may be started. A copy that waits is active."""
    return residency.outcome == where_it_runs.GONE


def _against(run: _Restart, domain: t.Any, source: Connection, destination: Connection, here: Side) -> list[Check]:
    return [check for check in _checks(run, domain, source, destination, here) if check.ok is False]


def _note(run: _Restart, domain: t.Any | None) -> domain_metadata.MoveNote | None:
    """The note of a restart of this very way whose end nobody saw, where the domain carries it."""
    note = None if domain is None else move_note.read(run.api, domain)
    if note is None or not note.restart or (note.source, note.destination) != (run.source, run.destination):
        return None
    return note


def _checks(run: _Restart, domain: t.Any, source: Connection, destination: Connection, here: Side) -> t.Iterator[Check]:
    """Check in advance whether the domain starts on the destination."""
    api = run.api
    if not domain.isPersistent():
        yield Check("persistent", False, "it is transient, so nothing of it is left once it is shut down")
        return
    text = domain.XMLDesc(api.VIR_DOMAIN_XML_INACTIVE)
    parsed = domain_xml.parse(text)
    if source.local:
        parsed = qcow2.with_data_files(parsed)
    root = ET.fromstring(text)
    portable.release_pins(root, run.source_cpus)
    used_mib = host_facts.read_used_mib(source, domain) if run.request.memory_overcommit > 1 and here.active else None
    subject = Subject(run.name, run.uuid, run.source, run.destination, root, parsed, root.find("cpu"), used_mib)
    storage = SharedStorage(
        mounts=procfs.read_mounts() if source.local else None, shared_paths=run.request.shared_paths
    )
    if any(layer.type == "volume" for disk in parsed.disks for layer in disk.layers):
        storage.add_pools(host_facts.read_pools(source, storage) or [])
    snapshots = host_facts.ask(source, domain.snapshotNum, 0)
    yield blockers.check_blockers(
        subject,
        storage,
        state=here.state or "shutdown",
        reason=here.reason,
        has_snapshot=None if snapshots is None and not run.xen else bool(snapshots),
        accepted=_OVER_WITH_A_RESTART,
        copied=(),
        starts_anew=True,
    )
    for path in _firmware_variables(run.api, domain):
        if storage.file(path) is not True:
            message = f"the variables of its firmware are in {path}, which {run.destination} does not share"
            yield Check("nvram", False, message)
    yield from preflight.check_destination(
        subject,
        source,
        destination,
        destination_options.known(run.request),
        storage=storage,
    )


def _carry_out(run: _Restart, domain: t.Any, copy: t.Any | None, destination: Connection, there: Side) -> None:
    api, request = run.api, run.request
    note = _note(run, domain)
    # An earlier run may have got as far as to take the autostart away, and to define it there.
    autostart = bool(domain.autostart()) or (note is not None and note.autostart)
    new = there.persistent is None or _note(run, copy) is not None
    if not there.active:
        if domain.isActive():
            try:
                move_note.begin(
                    api,
                    domain,
                    source=run.source,
                    destination=run.destination,
                    started_at=run.now(),
                    cap=0,
                    autostart=autostart,
                    restart=True,
                )
                # Before anything is shut down: what cannot be defined cannot be started either.
                copy = destination.handle.defineXML(_definition(run, domain))
                run.result["destroyed"] = desired_state.shut_down(
                    api, domain, seconds=request.timeout_seconds, force=request.force, clock=run.clock
                )
            except (api.libvirtError, BalanceError) as error:
                run.result["changed"] = False
                problems = _forget_there(run, new=new)
                if isinstance(error, desired_state.StillRunsError):
                    # By the note the next run finds that it is to run.
                    more = "Should it shut down later, the next run starts it again."
                else:
                    more = "It was not shut down."
                    problems += _note_taken_away(run, domain)
                raise run.not_restarted(f"{because(error)}. {more}{also(problems)}") from error
        else:
            copy = destination.handle.defineXML(_definition(run, domain))
        residency = run.look_again()
        if not _nowhere(residency):
            raise run.not_restarted(f"it was shut down, and then: {residency.sentence}")
        try:
            if autostart:
                # Nor there before it runs there: a host that comes back must not start it a second time.
                domain.setAutostart(0)
            copy.create()
            cause = "libvirt says that it was started"
        except api.libvirtError as error:
            cause = because(error)
        residency = run.look_again()
        if _nowhere(residency):
            _start_here_again(run, domain, cause, new=new, autostart=autostart)
        if residency.outcome != where_it_runs.ON_DESTINATION:
            raise run.not_restarted(f"{cause}. {residency.sentence}")
    _put_right(run, domain, autostart=autostart)


def _firmware_variables(api: t.Any, domain: t.Any) -> set[str]:
    """The files with what the firmware (UEFI) remembers: a migration carries them along, a start elsewhere does not.

    Libvirt may choose the file when the domain starts, so it is looked for in both descriptions.
    """
    found: set[str] = set()
    for flags in (0, api.VIR_DOMAIN_XML_INACTIVE):
        nvram = ET.fromstring(domain.XMLDesc(flags)).find("os/nvram")
        source = None if nvram is None else nvram.find("source")
        paths: list[str | None] = [] if nvram is None else [(nvram.text or "").strip()]
        paths += [] if source is None else [source.get("file") or source.get("dev")]
        found.update(filter(None, paths))
    return found


def _definition(run: _Restart, domain: t.Any) -> str:
    """Return the definition to give to the destination."""
    change = portable.Change(
        source_version=procfs.read_cgroup_version() if is_local(run.request.uri) else None,
        destination_version=run.request.destination_cgroup_version,
        source_cpus=run.source_cpus,
    )
    text = domain.XMLDesc(run.api.VIR_DOMAIN_XML_INACTIVE | run.api.VIR_DOMAIN_XML_SECURE)
    return portable.portable(text, change)


def _start_here_again(run: _Restart, domain: t.Any, cause: str, *, new: bool, autostart: bool) -> None:
    """Start the domain where it was; it runs nowhere. Raises BalanceError, always."""
    try:
        problems = _start_here(run, domain, new=new, autostart=autostart)
    except run.api.libvirtError as error:
        raise run.not_restarted(
            f"{cause}. It could not be started on {run.source} again either ({because(error)}): it is shut off."
        ) from error
    except BalanceError as error:
        raise run.not_restarted(f"{cause}. {error.message}") from error
    run.result["changed"] = False
    raise run.not_restarted(f"{cause}. It was started again where it was: {run.result['sentence']}{also(problems)}")


def _start_here(run: _Restart, domain: t.Any, *, new: bool, autostart: bool) -> list[str]:
    """Start the domain on the source again and return the problems.

    Raises BalanceError where it may run there, libvirtError where it did not start.
    """
    problems = _forget_there(run, new=new)
    # A start there that seemed to have failed may have come through after all, and a host may be lost just now.
    residency = run.look_again(patience=0)
    if not _nowhere(residency):
        raise run.failure(f"It was not started on {run.source} again: {residency.sentence}")
    if autostart:
        domain.setAutostart(1)
    domain.create()
    run.look_again()
    if not problems:
        # Otherwise the next run finds by it what is left.
        problems = _note_taken_away(run, domain)
    return problems


def _forget_there(run: _Restart, *, new: bool) -> list[str]:
    """Take away what the destination got, if it does not run there: the definition, or its note of the restart where
    there was a definition before. Returns what went wrong."""
    try:
        with connect(run.api, run.request.destination_uri, read_only=False) as destination:
            copy = find_domain(destination, run.uuid)
            if copy is None or copy.isActive():
                return []
            if new:
                _undefine(run, copy)
            elif _note(run, copy) is not None:
                move_note.end(run.api, copy, moved_at=None)
    except (run.api.libvirtError, BalanceError) as error:
        return [f"{run.destination} may still have a definition of it ({because(error)})"]
    return []


def _note_taken_away(run: _Restart, domain: t.Any) -> list[str]:
    try:
        move_note.end(run.api, domain, moved_at=None)
    except run.api.libvirtError as error:
        return [f"its note could not be removed ({because(error)})"]
    return []


def _undefine(run: _Restart, domain: t.Any) -> None:
    # Without the flag libvirt refuses where the firmware has variables; the file is used on, by the other host.
    if run.xen:
        domain.undefine()
    else:
        domain.undefineFlags(run.api.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)


def _put_right(run: _Restart, domain: t.Any | None, *, autostart: bool) -> None:
    """Complete the restart: undefine the domain on the source, and record last that it has moved."""
    api = run.api
    problems: list[str] = []

    def attempt(doing: str, call: t.Callable[[], object]) -> None:
        try:
            call()
        except (api.libvirtError, BalanceError) as error:
            problems.append(f"cannot {doing} ({because(error)})")

    if domain is not None:
        attempt(f"undefine it on {run.source}, where nobody must start it", lambda: _undefine(run, domain))
    with connect(api, run.request.destination_uri, read_only=False) as destination:
        copy = destination.handle.lookupByUUIDString(run.uuid)
        if not problems and autostart:
            attempt(f"enable its autostart on {run.destination}", lambda: copy.setAutostart(1))
        if not problems:
            attempt("record its end", lambda: move_note.end(api, copy, moved_at=run.now()))
    if problems:
        raise run.failure(
            f"{run.quoted} runs on {run.destination} instead of {run.source}, but: {'; '.join(problems)}."
        )
