# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: look for a domain on the two hosts of a move until it is clear where it is."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection, connect
from ansible_collections.virtops.balance.plugins.module_utils._domain import move_note
from ansible_collections.virtops.balance.plugins.module_utils._domain import state as domain_state
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._move import libvirt_migration, where_it_runs
from ansible_collections.virtops.balance.plugins.module_utils._move.where_it_runs import Residency, Side

T = t.TypeVar("T")


# What one host says about the domain must not take longer. How long its connection takes is bounded by connect().
_LOOK_SECONDS = 10
# A situation that is clear and bad is believed when it has not changed for so long.
_STEADY_SECONDS = 5


def read_side(connection: Connection, uuid: str, host: str) -> Side:
    """Ask one host about the domain. Raises libvirtError where the connection is lost."""
    api, handle = connection.api, connection.handle
    try:
        domain = handle.lookupByUUIDString(uuid)
        persistent = bool(domain.isPersistent())
        if not domain.isActive():
            return Side(host, persistent=persistent, definition=_hash_of_definition(api, domain))
        state, reason = domain.state()
        job = domain_state.read_job(api, domain)
        side = Side(
            host,
            active=True,
            state=domain_state.state_name(state),
            reason=domain_state.reason_name(state, reason),
            job=None if job is None else job["operation"],
            persistent=persistent,
        )
        if side.waiting:
            side = dataclasses.replace(side, note=_or_none(api, lambda: move_note.read(api, domain)))
        return side
    except api.libvirtError as error:
        if _errors.code_of(error) == _errors.NO_DOMAIN:
            return Side(host, definition=where_it_runs.NO_DEFINITION)
        raise


def _hash_of_definition(api: t.Any, domain: t.Any) -> str | None:
    """Return what tells one definition from another, None where libvirt does not give it."""
    text = _or_none(api, lambda: domain.XMLDesc(api.VIR_DOMAIN_XML_INACTIVE))
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()[:16]


def _or_none(api: t.Any, ask: t.Callable[[], T]) -> T | None:
    """Return the answer, None where libvirt gives none although domain and connection are there."""
    try:
        return ask()
    except api.libvirtError as error:
        if _errors.code_of(error) == _errors.NO_DOMAIN or _errors.is_connection_lost(error):
            raise
        return None


def look(api: t.Any, uri: str, uuid: str, host: str) -> Side:
    """Ask one host on a new connection: the old one may be the very thing that broke."""
    try:
        with connect(api, uri, read_only=False) as connection:
            return connection.call(
                lambda: read_side(connection, uuid, host), _LOOK_SECONDS, doing=f"ask {host} about the domain"
            )
    except BalanceError as error:
        return Side(host, problem=error.message.rstrip("."))
    except api.libvirtError as error:
        return Side(host, problem=str(error).rstrip("."))


def settle(
    name: str, look_at_both: t.Callable[[], tuple[Side, Side]], *, patience: float, clock: libvirt_migration.Clock
) -> tuple[Residency, Side, Side]:
    """Observe both hosts until it is clear where the domain is, at most ``patience`` seconds."""
    started = clock.monotonic()
    steady_since, last = started, None
    never = threading.Event()
    while True:
        here, there = look_at_both()
        residency = where_it_runs.judge(name, here, there)
        moment = clock.monotonic()
        if residency.outcome != last:
            steady_since, last = moment, residency.outcome
        bad = residency.outcome not in (where_it_runs.IN_FLIGHT, where_it_runs.UNKNOWN)
        if residency.certain or moment - started >= patience or (bad and moment - steady_since >= _STEADY_SECONDS):
            return residency, here, there
        clock.wait(never, 1)
