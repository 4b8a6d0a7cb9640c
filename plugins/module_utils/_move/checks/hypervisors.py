# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what the versions of QEMU on both hosts allow."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Check, Subject
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts

# The file driver of QEMU drops what the host has cached of an image where a domain arrives (its option drop-cache).
_DROPS_CACHE = 4_000_000
# Since 10.1 post-copy and several connections (multifd) go together. From 8.1 on QEMU refuses that, and before it takes
# it though it does not work (QEMU's commit b405dfff1ea3). Red Hat's 10.0, whose machine types tell it, can.
_BOTH, _BOTH_OF_RED_HAT = 10_001_000, 10_000_000
_RED_HAT = "-rhel"


def _versions(connections: t.Iterable[Connection]) -> list[int | None]:
    """Return the versions of QEMU as libvirt writes them, 7.2.22 as 7002022; None = not known, or not QEMU."""
    return [
        host_facts.ask(connection, connection.handle.getVersion) if connection.handle.getType() == "QEMU" else None
        for connection in connections
    ]


def drop_cache(source: Connection, destination: Connection) -> bool:
    """Return whether both hosts are known to have a QEMU that drops its cache of an image where a domain arrives."""
    return all((version or 0) >= _DROPS_CACHE for version in _versions((source, destination)))


def check_post_copy(
    subject: Subject, source: Connection, destination: Connection, *, post_copy: bool, connections: int | None
) -> t.Iterator[Check]:
    """Check whether both hosts can do with post-copy and several connections at once, where that is asked for."""
    if not post_copy or (connections or 0) < 2:
        return
    versions = _versions((source, destination))
    least = _BOTH_OF_RED_HAT if _RED_HAT in (subject.live.machine or "") else _BOTH
    for name, version in zip((subject.source, subject.destination), versions):
        if version is not None and version < least:
            text = host_facts.version_text(version)
            message = f"QEMU {text} on {name} cannot have post_copy and parallel_connections together, which 10.1 can"
            yield Check("post_copy", False, f"{message}: leave out one of them")
            return
    sure = all(version is not None and version >= _BOTH for version in versions)
    what = "QEMU can have" if sure else "it is not known whether QEMU can have"
    yield Check("post_copy", sure or None, f"{what} post_copy and parallel_connections together")
