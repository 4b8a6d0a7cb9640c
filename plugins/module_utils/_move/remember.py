# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: a move that fails is remembered in the marks of its source, until one succeeds.

It is written where the move is made and as soon as it has failed, so that it is known even if the control node is lost
meanwhile.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._host import marks, refusals
from ansible_collections.virtops.balance.plugins.module_utils._move import where_it_runs


class Run(t.Protocol):
    """What it has to know of a run of domain_migrate or domain_restart. Where RV(why) is empty, the message says it."""

    uuid: str
    destination: str
    why: str
    result: dict[str, t.Any]

    @property
    def now(self) -> t.Callable[[], str]: ...


@contextlib.contextmanager
def remembered(run: Run, *, wanted: bool) -> t.Iterator[None]:
    """Remember how the move ends that is made meanwhile.

    A failure is remembered where the domain is known to have stayed on the source. Where it is not known where it runs,
    nothing is: such a domain is not moved anyway until that is clear. What is no failure, as a domain that is busy or a
    destination with less memory than planned, changes nothing.
    """
    if not wanted:
        yield
        return
    try:
        yield
    except BalanceError as error:
        outcome = run.result.get("outcome")
        if outcome == where_it_runs.ON_DESTINATION:
            _moved(run, error.details)
        elif outcome in (None, where_it_runs.ON_SOURCE) and run.uuid:
            _failed(run, run.why or error.message, error.details)
        raise
    if run.result.get("outcome") == where_it_runs.ON_DESTINATION:
        _moved(run, run.result)


def _failed(run: Run, why: str, result: dict[str, t.Any]) -> None:
    def change(known: list[refusals.Refusal]) -> list[refusals.Refusal]:
        reason = why.strip().rstrip(".")
        return refusals.after_failure(known, domain=run.uuid, destination=run.destination, reason=reason, at=run.now())

    _write(change, result)


def _moved(run: Run, result: dict[str, t.Any]) -> None:
    _write(lambda known: refusals.after_success(known, domain=run.uuid, at=run.now()), result)


def _write(change: t.Callable[[list[refusals.Refusal]], list[refusals.Refusal]], result: dict[str, t.Any]) -> None:
    """Write the marks where that changes them. What became of the domain is told all the same where it cannot be."""
    try:
        before = marks.read()
        after = {**before, "refusals": change(before["refusals"])}
        if after != before:
            marks.write(after)
    except BalanceError as error:
        result["warnings"] = [*result.get("warnings", ()), f"How this move ended is not remembered. {error.message}"]
