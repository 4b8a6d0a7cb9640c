# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Do both hosts see the same shared directories and storage pools?"""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.answers import Json, Pair
from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.finding import (
    DESTINATIONS,
    SOURCES,
    Finding,
    named,
    quoted,
)

LETTER = "S"
NAME = "shared storage"


def find(pair: Pair) -> Iterator[Finding]:
    """Paths and pools that the destination does not have, or that are not the same ones."""
    for path in sorted(pair.source.written):
        yield from _path(pair, path)
    yield from _pools(pair)


def _path(pair: Pair, path: str) -> Iterator[Finding]:
    here, there = pair.source.written[path], pair.destination.written.get(path)
    if there is None or here["kind"] in (None, "missing") or there["kind"] is None:
        return
    domains = sorted({name for disk, names in pair.needs("disk") for name in names if _below(disk, path)})
    serious = bool(domains) or path in pair.here["shared_paths"]
    whose = f" ({named(domains)} among them)" if domains else ""
    if there["kind"] == "missing":
        yield Finding(
            f"Guests with disks in {path}{whose} cannot move from {SOURCES} to {DESTINATIONS}, which has no {path}",
            f"mount it there as on {SOURCES}; see there what it is with",
            f"findmnt --target {quoted(path)}",
            serious=serious,
        )
    elif _same(pair, path) is False:
        yield Finding(
            f"{SOURCES} and {DESTINATIONS} do not share {path}, where one does not see a file that the other writes",
            "mount the same share on all hosts; compare on both",
            f"findmnt --target {quoted(path)}",
            serious=serious,
            mutual=True,
        )


def _same(pair: Pair, path: str) -> bool | None:
    """Whether one of the two sees the file that the other wrote; null where neither could be tried."""
    tried = []
    for writer, reader in ((pair.source, pair.destination), (pair.destination, pair.source)):
        seen = reader.seen.get(path)
        if writer.written[path]["written"] and seen is not None:
            tried.append(writer.name in seen)
    return any(tried) if tried else None


def _below(disk: str, path: str) -> bool:
    return disk == path or disk.startswith(path.rstrip("/") + "/")


def _pools(pair: Pair) -> Iterator[Finding]:
    there = pair.there.get("pools")
    if there is None:
        return
    active = {pool["name"]: pool["active"] for pool in there}
    used = dict(pair.needs("pool"))
    # A shared directory is looked at as one.
    shared = {pool["name"] for pool in pair.here.get("pools") or () if _shared_without_path(pool)}
    for name in sorted({*used, *shared}):
        if active.get(name):
            continue
        domains = used.get(name, [])
        defined = name in active
        yield Finding(
            f"{named(domains) if domains else f'Guests with volumes of the pool {name}'} "
            f"{'cannot' if domains else 'could not'} move from {SOURCES} to {DESTINATIONS}, where the pool {name} is "
            f"{'not active' if defined else 'missing'}",
            f"on {DESTINATIONS} run" if defined else f"define it on {DESTINATIONS} from what {SOURCES} prints with",
            f"virsh pool-start {quoted(name)}" if defined else f"virsh pool-dumpxml {quoted(name)}",
            serious=bool(domains),
        )


def _shared_without_path(pool: Json) -> bool:
    return bool(pool["active"] and pool["shared"] and not pool["path"])
