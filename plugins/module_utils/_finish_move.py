# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the end of a move that nobody saw, on the host where the domain now runs."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils import (
    _cputune,
    _domain_state,
    _errors,
    _journal,
    _metadata,
)
from ansible_collections.virtops.balance.plugins.module_utils._both_hosts import find_domain
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection, connect
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError


def finish_move(api: t.Any, *, uri: str, domain: str, host: str, check_mode: bool) -> dict[str, t.Any]:
    """Put right what the note on a domain tells of, and return the result of the module. Raises BalanceError."""
    with connect(api, uri, read_only=check_mode) as connection:
        try:
            return _finish(connection, key=domain, host=host, check_mode=check_mode)
        except api.libvirtError as error:
            raise _errors.translate(api, error, doing=f"finish the move of {domain!r}") from error


def _finish(connection: Connection, *, key: str, host: str, check_mode: bool) -> dict[str, t.Any]:
    api = connection.api
    found = find_domain(connection, key)
    if found is None:
        raise BalanceError(f"There is no domain {key!r} on this host.")
    note = _metadata.parse_text(_metadata.read_text(api, found)).unfinished_move
    result: dict[str, t.Any] = {"changed": False, "finished_move": None}
    if note is None:
        return result
    result["finished_move"] = dataclasses.asdict(note)
    obstacle = _domain_state.why_held(api, found)
    if obstacle is not None:
        return {**result, "reason": obstacle}
    if not check_mode:
        _journal.finish_left_over(
            api,
            found,
            xen=_cputune.is_xen(connection.handle.getType()),
            moved_at=_journal.utc_now() if note.destination == host else None,
        )
    return {**result, "changed": True}
