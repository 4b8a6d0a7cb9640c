# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what is left to do once a migration has ended, wherever the domain now is."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._connection import connect
from ansible_collections.virtops.balance.plugins.module_utils._domain import cpu_shares, move_note
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._move import libvirt_migration, where_it_runs
from ansible_collections.virtops.balance.plugins.module_utils._move.both_hosts import read_side
from ansible_collections.virtops.balance.plugins.module_utils._move.run import MoveRun, Needs, also, because
from ansible_collections.virtops.balance.plugins.module_utils._move.where_it_runs import Residency, Side


def arrived(run: MoveRun, needs: Needs, tuning: cpu_shares.Tuning, here: Side, there: Side) -> dict[str, t.Any]:
    """Complete the move on the destination. The note of the move goes last: while it is there, work is left."""
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
                    problems.append(f"cannot {doing} ({because(error)})")

            if needs.persistent and not domain.isPersistent():
                attempt("define it there", lambda: destination.handle.defineXML(needs.definition))
            attempt("set its cap and weight again", lambda: cpu_shares.restore(api, domain, tuning, xen=run.xen))
            if needs.autostart:
                attempt("mark it for autostart", lambda: domain.setAutostart(1))
            if not problems:
                attempt("record the end of the move", lambda: move_note.end(api, domain, moved_at=run.now()))
    except (api.libvirtError, BalanceError) as error:
        problems.append(because(error))
    if there.state in ("paused", "crashed") and (there.state, there.reason) != ("paused", "user"):
        # It ran before, or its user had paused it: what is otherwise came with the move.
        problems.append(
            f"it is {where_it_runs.how(there)} there: find the reason (virsh domstate --reason) and resume it"
        )
    if here.persistent:
        problems.append(
            f"{run.source} still has a definition of it: undefine it there, so that nobody starts it a second time"
        )
    if problems:
        raise run.failure(f"{run.quoted} moved from {run.source} to {run.destination}, but: {'; '.join(problems)}.")
    return run.result


def _record_completed(run: MoveRun, domain: t.Any) -> None:
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


def not_arrived(
    run: MoveRun, needs: Needs, tuning: cpu_shares.Tuning, seen: libvirt_migration.Outcome, residency: Residency
) -> str:
    """Repair what can be repaired, and return the sentence about it."""
    sentence = residency.sentence
    problems: list[str] = []
    if residency.outcome == where_it_runs.NEVER_FINISHED and seen.returned:
        # Both hosts were asked, the destination never started it, and it was this very call that ended: nobody else
        # can still start it there.
        sentence, problems = _resume(run, sentence)
    if run.result["outcome"] == where_it_runs.ON_SOURCE:
        # A call that has not come back may still begin. Then the note tells on the destination what there is to do.
        problems += put_right_on_source(run, tuning, over=seen.returned)
    # Two versions may be all that there is to know about a refusal that only the hypervisor itself could make.
    way = run.way if seen.error is not None else f"from {run.source} to {run.destination}"
    return f"{run.quoted} was not moved {way}: {cause(needs, seen)} {sentence}{also(problems)}"


def cause(needs: Needs, seen: libvirt_migration.Outcome) -> str:
    """Return in one sentence why the domain did not arrive."""
    left = ""
    if seen.stats.get("data_total"):
        rates = libvirt_migration.progress(seen.stats, seen.convergence)
        left = f", {rates['remaining_mib']} of {rates['total_mib']} MiB being left at {rates['mib_per_second']} MiB/s"
        if seen.convergence.converging is False:
            left += " while the guest changed its memory at the same rate"
    if seen.aborted and seen.returned:
        return (
            f"it did not finish within {needs.timeout_seconds} seconds (timeout_seconds){left}, so the migration was "
            "aborted."
        )
    if not seen.returned and seen.post_copied:
        return (
            f"its post-copy phase sent nothing for {libvirt_migration.ABORT_GRACE_SECONDS} seconds"
            f"{left}. That phase cannot be aborted without killing the domain, so it was left alone."
        )
    if not seen.returned:
        return (
            f"it did not finish within {needs.timeout_seconds} seconds (timeout_seconds){left}, and the migration "
            "could not be aborted: it is stuck and was left alone. Check virsh domjobinfo on the source and the daemon "
            "of the destination."
        )
    if seen.error is not None:
        return seen.error.message
    return "libvirt reported success, but the domain is not there."


def _resume(run: MoveRun, sentence: str) -> tuple[str, list[str]]:
    """Let a domain go on that its own migration left paused. Returns the new sentence and what went wrong."""
    api = run.api
    try:
        with connect(api, run.request.uri, read_only=False) as source:
            source.handle.lookupByUUIDString(run.uuid).resume()
            here = read_side(source, run.uuid, run.source)
    except (api.libvirtError, BalanceError) as error:
        return sentence, [f"it could not be resumed ({because(error)})"]
    run.result.update(outcome=where_it_runs.ON_SOURCE, source=here.to_result(), resumed=True)
    return f"It had been left paused and was resumed on {run.source}.", []


def put_right_on_source(run: MoveRun, tuning: cpu_shares.Tuning, *, over: bool = True) -> list[str]:
    """Take back what was prepared, the note only where the move is RV(over). Returns what could not be taken back."""
    api = run.api
    try:
        with connect(api, run.request.uri, read_only=False) as source:
            domain = source.handle.lookupByUUIDString(run.uuid)
            cpu_shares.restore(api, domain, tuning, xen=run.xen)
            if over:
                move_note.end(api, domain, moved_at=None)
    except (api.libvirtError, BalanceError) as error:
        return [f"its cap of {tuning.cap:g} % and the note of the move could not be restored ({because(error)})"]
    return []
