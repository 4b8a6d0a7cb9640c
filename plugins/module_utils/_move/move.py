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

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection, connect
from ansible_collections.virtops.balance.plugins.module_utils._domain import cpu_shares, move_note, portable
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._move import libvirt_migration, where_it_runs
from ansible_collections.virtops.balance.plugins.module_utils._move.after import (
    arrived,
    cause,
    not_arrived,
    put_right_on_source,
)
from ansible_collections.virtops.balance.plugins.module_utils._move.before import (
    find_on_source,
    look_and_check,
)
from ansible_collections.virtops.balance.plugins.module_utils._move.both_hosts import look, settle
from ansible_collections.virtops.balance.plugins.module_utils._move.remember import remembered
from ansible_collections.virtops.balance.plugins.module_utils._move.run import (
    MoveRun,
    Needs,
    Report,
    Request,
    also,
    because,
    check_request,
)
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts

# For how long a situation that is not clear may become clear by itself: libvirt gives up a silent peer after 30 s.
_PATIENCE_SECONDS = 60


def move(
    api: t.Any,
    request: Request,
    *,
    check_mode: bool,
    report: Report,
    now: t.Callable[[], str] = move_note.utc_now,
    clock: libvirt_migration.Clock = libvirt_migration.SYSTEM_CLOCK,
) -> dict[str, t.Any]:
    """Migrate one domain and return the result of the module.

    Raises BalanceError with one sentence where it did not move and should have, or where it is not clear where it
    is. A domain that need not or can no longer be moved is no error: then RV(skipped) and RV(reason) are in the
    result, or RV(changed) is False.
    """
    check_request(request)
    run = MoveRun(api, request, check_mode, report, now, clock)
    with connect(api, request.uri, read_only=False) as source:
        found = find_on_source(run, source)
        run.tell({"phase": "checking"})
        with remembered(run, wanted=request.remember and not check_mode and source.local):
            try:
                with _connect_destination(run) as destination:
                    needs = look_and_check(run, source, destination, found)
            except api.libvirtError as error:
                raise _errors.translate(api, error, doing=f"check the migration of {run.quoted}") from error
            return run.result if needs is None else _carry_out(run, source, needs)


@contextlib.contextmanager
def _connect_destination(run: MoveRun) -> t.Iterator[Connection]:
    """Open the very connection that the source's daemon is going to open, as far as this process can."""
    with contextlib.ExitStack() as stack:
        run.destination = run.request.destination or run.request.destination_uri
        try:
            destination = stack.enter_context(connect(run.api, run.request.destination_uri, read_only=False))
        except BalanceError as error:
            why = f"{run.destination} cannot be reached from {run.source}: {error.message}"
            raise run.failure(
                f"{run.quoted} was not moved from {run.source} to {run.destination}, because {why}", why=why
            ) from error
        hostname = host_facts.ask(destination, destination.handle.getHostname)
        run.destination = run.request.destination or hostname or run.request.destination_uri
        yield destination


def _carry_out(run: MoveRun, source: Connection, needs: Needs) -> dict[str, t.Any]:
    api = run.api
    domain = source.handle.lookupByUUIDString(run.uuid)
    run.tell({"phase": "preparing"})
    tuning = cpu_shares.Tuning()
    try:
        tuning = cpu_shares.read(api, domain, xen=run.xen)
        move_note.begin(
            api,
            domain,
            source=run.source,
            destination=run.destination,
            started_at=run.now(),
            cap=tuning.cap,
            persistent=needs.persistent,
            autostart=needs.autostart,
            destination_had=needs.destination_had,
        )
        if tuning.cap:
            cpu_shares.lift_cap(api, domain, xen=run.xen)
        parameters = libvirt_migration.parameters(needs.transfer, **_rewritten(run, domain, needs))
    except (api.libvirtError, BalanceError) as error:
        problems = put_right_on_source(run, tuning)
        raise run.failure(
            f"{run.quoted} was not moved from {run.source} to {run.destination}, because it could not be prepared: "
            f"{because(error)}.{also(problems)}",
            why=because(error),
        ) from error
    watch = libvirt_migration.Watch(
        timeout_seconds=needs.timeout_seconds, post_copy=needs.transfer.post_copy, can_abort=not run.xen
    )
    with contextlib.closing(libvirt_migration.Control(api, run.request.uri, run.uuid)) as control:
        seen = libvirt_migration.run(
            api,
            control,
            lambda: libvirt_migration.migrate(
                api,
                uri=run.request.uri,
                uuid=run.uuid,
                destination_uri=run.request.destination_uri,
                flags=libvirt_migration.flags(api, needs.transfer, persistent=needs.persistent, xen=run.xen),
                parameters=parameters,
            ),
            watch=watch,
            report=run.tell,
            clock=run.clock,
        )
    run.tell({"phase": "verifying"})
    residency, here, there = settle(
        run.quoted,
        lambda: (
            look(api, run.request.uri, run.uuid, run.source),
            look(api, run.request.destination_uri, run.uuid, run.destination),
        ),
        patience=_PATIENCE_SECONDS if seen.returned else 0,
        clock=run.clock,
    )
    run.record(residency, here, there)
    _record_transfer(run, seen)
    if residency.outcome == where_it_runs.ON_DESTINATION:
        return arrived(run, needs, tuning, here, there)
    if seen.error is not None:
        run.result.update({key: value for key, value in seen.error.to_result().items() if key != "msg"})
    message = not_arrived(run, needs, tuning, seen, residency)
    raise run.failure(message, why=cause(needs, seen))


def _rewritten(run: MoveRun, domain: t.Any, needs: Needs) -> dict[str, str]:
    """Return the definitions to send, by the names of the call's parameters: none where libvirt's own are right.

    Nothing of what is changed has to be equal on both sides. Xen has no tuning in its definitions.
    """
    if run.xen:
        return {}
    api = run.api
    kinds = {"destination_xml": api.VIR_DOMAIN_XML_MIGRATABLE | api.VIR_DOMAIN_XML_SECURE}
    if needs.persistent:
        kinds["persistent_xml"] = api.VIR_DOMAIN_XML_INACTIVE | api.VIR_DOMAIN_XML_SECURE
    roots = {name: ET.fromstring(domain.XMLDesc(flags)) for name, flags in kinds.items()}
    changed = False
    for root in roots.values():
        changed |= portable.adapt(root, needs.change)
    return {name: portable.serialise(root) for name, root in roots.items()} if changed else {}


def _record_transfer(run: MoveRun, seen: libvirt_migration.Outcome) -> None:
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
