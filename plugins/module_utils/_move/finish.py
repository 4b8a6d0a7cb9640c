# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the end of a move that nobody saw, on the host where the domain now runs."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection, connect
from ansible_collections.virtops.balance.plugins.module_utils._domain import move_note
from ansible_collections.virtops.balance.plugins.module_utils._domain import state as domain_state
from ansible_collections.virtops.balance.plugins.module_utils._domain.find import find_domain, is_uuid, need_domain
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError


def finish_move(api: t.Any, *, uri: str, domain: str, host: str, check_mode: bool) -> dict[str, t.Any]:
    """Finish the move that the note on a domain describes, and return the result of the module. Raises BalanceError."""
    with connect(api, uri, read_only=check_mode) as connection:
        try:
            return _finish(connection, key=domain, host=host, check_mode=check_mode)
        except api.libvirtError as error:
            raise _errors.translate(api, error, doing=f"finish the move of {domain!r}") from error


def _finish(connection: Connection, *, key: str, host: str, check_mode: bool) -> dict[str, t.Any]:
    api = connection.api
    # A name may be misspelt; a UUID comes from somebody who saw the domain here, and it may have ended since.
    found = find_domain(connection, key) if is_uuid(key) else need_domain(connection, key)
    result: dict[str, t.Any] = {"changed": False, "finished_move": None}
    if found is None:
        return {**result, "reason": f"There is no domain {key} on this host any more."}
    note = move_note.read(api, found)
    if note is None:
        return result
    result["finished_move"] = note.to_result()
    stopped = domain_state.why_stopped(api, found) if found.isActive() else None
    if stopped is not None:
        raise BalanceError(
            f"{stopped} Its move from {note.source} to {note.destination} began at {note.started_at} and was not "
            "finished. Run domain_migrate for that move again: it says whether it may be resumed.",
            details={**result, "stands_still": True},
        )
    obstacle = domain_state.why_held(api, found)
    if obstacle is not None:
        return {**result, "reason": obstacle}
    if not check_mode:
        move_note.finish_left_over(
            api,
            found,
            note,
            xen=connection.xen,
            host=host,
            now=move_note.utc_now(),
        )
    return {**result, "changed": True}
