# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the note about a move under way, which the domain carries along in its own metadata.

It is written before a move begins and taken away when somebody has seen its end. Whoever finds it on a domain that
no migration holds knows that the move ended without a witness, and what has to be put right.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._domain import cpu_shares
from ansible_collections.virtops.balance.plugins.module_utils._domain import metadata as domain_metadata


def utc_now() -> str:
    """Return the time as notes have it, RFC 3339."""
    return datetime.datetime.now(tz=datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def read(api: t.Any, domain: t.Any) -> domain_metadata.MoveNote | None:
    """Return the note, None = there is none. Raises libvirtError."""
    return domain_metadata.parse_text(domain_metadata.read_text(api, domain)).unfinished_move


def begin(
    api: t.Any,
    domain: t.Any,
    *,
    source: str,
    destination: str,
    started_at: str,
    cap: float,
    persistent: bool = False,
    autostart: bool = False,
    restart: bool = False,
    destination_had: str | None = None,
) -> None:
    """Write the note. Raises libvirtError."""
    state = domain_metadata.parse_text(domain_metadata.read_text(api, domain))
    move = domain_metadata.MoveNote(
        source,
        destination,
        started_at,
        cap,
        persistent=persistent,
        autostart=autostart,
        restart=restart,
        destination_had=destination_had,
    )
    domain_metadata.write(api, domain, dataclasses.replace(state, unfinished_move=move))


def end(api: t.Any, domain: t.Any, *, moved_at: str | None) -> None:
    """Take the note away. RV(moved_at) is when the move was done, None for one that was not. Raises libvirtError."""
    state = domain_metadata.parse_text(domain_metadata.read_text(api, domain))
    changes: dict[str, t.Any] = {"unfinished_move": None}
    if moved_at is not None:
        changes["last_moved_at"] = moved_at
    domain_metadata.write(api, domain, dataclasses.replace(state, **changes))


def finish_left_over(
    api: t.Any, domain: t.Any, move: domain_metadata.MoveNote, *, xen: bool, host: str, now: str
) -> None:
    """Repair what an earlier move left on a domain that no job holds, on the host RV(host); RV(move) is its note.

    Its cap is only set where the domain has none: somebody may have set another one meanwhile. Definition and autostart
    are only lost where it arrived, which is any host but the source: the destination may have been noted under another
    name. Raises libvirtError or BalanceError.
    """
    moved = host != move.source
    if moved and move.persistent and not domain.isPersistent():
        domain.connect().defineXML(domain.XMLDesc(api.VIR_DOMAIN_XML_INACTIVE | api.VIR_DOMAIN_XML_SECURE))
    if moved and move.autostart:
        domain.setAutostart(1)
    if move.cap and not cpu_shares.read(api, domain, xen=xen).cap:
        cpu_shares.write_cap(api, domain, move.cap, xen=xen)
    end(api, domain, moved_at=now if moved else None)
