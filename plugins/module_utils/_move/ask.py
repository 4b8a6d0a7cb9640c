# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: could these domains of one host be moved? Asked before anything is promised.

Each question is answered by the look and the checks that a move itself begins with (before.py, in check mode). All
destinations are asked side by side, and one that hangs does not hold up the others.
"""

from __future__ import annotations

import concurrent.futures
import typing as t
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import (
    Connection,
    call_with_deadline,
    connect,
)
from ansible_collections.virtops.balance.plugins.module_utils._domain import move_note
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._move import libvirt_migration
from ansible_collections.virtops.balance.plugins.module_utils._move.before import (
    find_on_source,
    look_and_check,
)
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Check
from ansible_collections.virtops.balance.plugins.module_utils._move.run import (
    MoveError,
    MoveRun,
    Request,
    because,
    check_request,
)
from ansible_collections.virtops.balance.plugins.module_utils._option_checks import check_number

Answer = dict[str, t.Any]

# Each takes two of the calls that a process may have inside libvirt (_connection.MOST_INSIDE): one for all of its
# questions, and one that opens a connection.
_AT_ONCE = 6


@dataclass(frozen=True)
class Question:
    """Could the domain be moved to the destination, and in this way? RV(room_mib) is what other moves will have freed
    there before."""

    domain: str
    destination: str
    room_mib: int = 0
    post_copy: bool = False
    parallel_connections: int | None = None


@dataclass(frozen=True)
class Destination:
    """One host to ask, and what was observed there that its libvirt may not tell."""

    name: str
    uri: str
    bridges: t.Sequence[str] | None = None
    mounts: t.Sequence[t.Mapping[str, t.Any]] | None = None
    zfs_cache_mib: int | None = None
    shared_memory_mib: int | None = None


@dataclass(frozen=True)
class Asking:
    """Who asks, and what is accepted: the options of the module beside its questions, under their names."""

    uri: str
    source: str | None = None
    shared_paths: t.Sequence[str] = ()
    accept_blockers: t.Sequence[str] = ()
    memory_reserve_mib: int = 256
    memory_overcommit: float = 1.0
    timeout_seconds: float = 60


def ask(
    api: t.Any, asking: Asking, questions: t.Sequence[Question], destinations: t.Sequence[Destination]
) -> list[Answer]:
    """Return the answers in the order of the questions; those of a destination that does not answer have ok = None.

    Raises BalanceError where an option makes no sense, or a question is about a destination that is not among the
    RV(destinations).
    """
    check_number("timeout_seconds", asking.timeout_seconds, 0.1, 3600)
    known = {destination.name: destination for destination in destinations}
    for question in questions:
        if question.destination in known:
            check_request(_request(asking, known[question.destination], question))
    by_destination: dict[str, list[Question]] = {}
    for question in questions:
        if question.destination not in known:
            raise BalanceError(f"A question is about {question.destination}, which is not one of the destinations.")
        by_destination.setdefault(question.destination, []).append(question)
    answered: dict[Question, Answer] = {}
    with concurrent.futures.ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        for found in pool.map(lambda name: _ask_one(api, asking, known[name], by_destination[name]), by_destination):
            answered.update(found)
    return [answered[question] for question in questions]


def _ask_one(api: t.Any, asking: Asking, destination: Destination, questions: list[Question]) -> dict[Question, Answer]:
    """Ask one destination all questions about it; what it has answered before the deadline counts."""
    answers: dict[Question, Answer] = {}

    def work() -> None:
        # Connections of its own: two threads in one can crash libvirt when it breaks, see _connection.Line.
        with (
            connect(api, asking.uri, read_only=False) as source,
            connect(api, destination.uri, read_only=False) as other,
        ):
            for question in questions:
                answers[question] = _answer(_run(api, asking, destination, question), source, other)

    problem = ""
    try:
        call_with_deadline(work, asking.timeout_seconds, doing=f"ask {destination.name}")
    except BalanceError as error:
        problem = error.message
    except api.libvirtError as error:
        problem = _errors.translate(api, error, doing=f"ask {destination.name}").message
    # A call that was left alone may go on, and must not change what is returned.
    done = dict(answers)
    silent = Check("connection", None, problem.rstrip("."))
    return {
        question: done.get(question) or _told(question.domain, destination.name, None, [silent])
        for question in questions
    }


def _request(asking: Asking, destination: Destination, question: Question) -> Request:
    return Request(
        uri=asking.uri,
        domain=question.domain,
        destination_uri=destination.uri,
        source=asking.source,
        destination=destination.name,
        shared_paths=asking.shared_paths,
        accept_blockers=asking.accept_blockers,
        memory_reserve_mib=asking.memory_reserve_mib,
        memory_overcommit=asking.memory_overcommit,
        post_copy=question.post_copy,
        parallel_connections=question.parallel_connections,
        destination_bridges=destination.bridges,
        destination_mounts=destination.mounts,
        destination_zfs_cache_mib=destination.zfs_cache_mib,
        destination_shared_memory_mib=destination.shared_memory_mib,
    )


def _run(api: t.Any, asking: Asking, destination: Destination, question: Question) -> MoveRun:
    run = MoveRun(
        api,
        _request(asking, destination, question),
        check_mode=True,
        report=lambda _progress: None,
        now=move_note.utc_now,
        clock=libvirt_migration.SYSTEM_CLOCK,
        room_mib=question.room_mib,
    )
    run.destination = destination.name
    return run


def _answer(run: MoveRun, source: Connection, destination: Connection) -> Answer:
    """Answer one question. Raises libvirtError where one of the connections is lost."""
    domain, name = run.request.domain, run.destination
    try:
        look_and_check(run, source, destination, find_on_source(run, source))
    except MoveError as error:
        # Without checks it is where the domain is that stands in the way, or that both are one host.
        run.result.setdefault("checks", [Check("both_hosts", False, error.message.rstrip(".")).to_result()])
    except (BalanceError, run.api.libvirtError) as error:
        if source.lost(error) or destination.lost(error):
            raise
        return _told(domain, name, None, [Check("both_hosts", None, because(error))])
    if "checks" not in run.result:
        # It need not or cannot be moved, wherever to.
        reason = str(run.result["reason"]).rstrip(".")
        return _told(domain, name, False, [Check("domain", False, reason)])
    checks = run.result["checks"]
    return {
        "domain": domain,
        "destination": name,
        "ok": all(one["ok"] is not False for one in checks),
        "checks": checks,
    }


def _told(domain: str, destination: str, ok: bool | None, checks: list[Check]) -> Answer:
    return {
        "domain": domain,
        "destination": destination,
        "ok": ok,
        "checks": [check.to_result() for check in checks],
    }
