# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Domains that should run and do not, and running domains that a second host defines too.

A domain that is shut off or that its user paused should not run. A domain that a migration, a start or an error of its
disks left paused should, and nobody may notice, because it uses no CPU.
"""

from __future__ import annotations

import shlex
import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.interrupted_restarts import interrupted_restarts
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import ANSWERS

Json = t.Mapping[str, t.Any]

# Reasons of libvirt for a pause that no user asked for; api_error = libvirt could not resume it after a migration.
_OF_A_MIGRATION = ("migration", "postcopy", "api_error")
_BROKEN = "postcopy_failed"
_REASONS = (*_OF_A_MIGRATION, "starting_up", "ioerror")
NO_DEFINITION = "none"


def not_running(snapshot: Json) -> list[dict[str, str]]:
    """Return them sorted by name: {domain, name, host, why}; why is sentences that begin with the name.

    Where a domain is active on two hosts that is a doubt of the snapshot, unless one migration is under way.
    """
    still = {uuid: domain for uuid, domain in snapshot["domains"].items() if _stands_still(domain)}
    defined = _definitions(snapshot) if still else {}
    found = []
    for uuid, domain in still.items():
        name, host = str(domain.get("name") or uuid), str(domain["host"])
        others = _others(defined, uuid, host)
        also = f" {' and '.join(others)} {_has(others)} a definition of it too." if others else ""
        why = f"{name} does not run: {_how(domain)}. {_advice(snapshot, name, domain, others)}{also}"
        found.append({"domain": uuid, "name": name, "host": host, "why": why})
    return sorted(found, key=lambda one: (one["name"], one["domain"]))


def second_definitions(snapshot: Json) -> list[str]:
    """Return a sentence for each domain that is active on one host and defined on others as well, sorted by name."""
    restarted = {found["uuid"] for found in interrupted_restarts(snapshot)}
    defined = _definitions(snapshot)
    told = []
    for uuid, domain in snapshot["domains"].items():
        hosts = _others(defined, uuid, str(domain["host"]))
        if not hosts or uuid.lower() in restarted or _stands_still(domain):
            continue
        name = str(domain.get("name") or uuid)
        told.append(
            f"{name} is active on {domain['host']}, and {' and '.join(hosts)} {_has(hosts)} a definition of it too: "
            f"undefine it there (virsh undefine --keep-nvram {shlex.quote(name)}) unless it is kept on purpose. "
            "Started there it would run a second time."
        )
    return sorted(told)


def _stands_still(domain: Json) -> bool:
    if domain.get("destination") is not None:
        return False
    if domain.get("reason") == _BROKEN:
        return True
    return domain.get("state") == "paused" and domain.get("reason") in _REASONS and not domain.get("job")


def _how(domain: Json) -> str:
    host, reason, note = domain["host"], domain["reason"], domain.get("unfinished_move") or {}
    if reason == _BROKEN:
        return f"the post-copy phase of its migration broke, and {host} has only a part of its memory"
    if reason not in _OF_A_MIGRATION:
        return f"it is paused ({reason}) on {host}"
    way = f" from {note.get('source')} to {note.get('destination')}" if note else ""
    return f"it is paused ({reason}) on {host} by a migration{way} that no longer runs"


def _advice(snapshot: Json, name: str, domain: Json, others: t.Sequence[str]) -> str:
    """What the user may do about it, and what not. ``others``: other hosts that define the domain."""
    host, reason, note = domain["host"], domain["reason"], domain.get("unfinished_move") or {}
    source, destination = note.get("source"), note.get("destination")
    if reason == _BROKEN:
        return "Destroy it nowhere, and resume the migration (virsh migrate --postcopy-resume)."
    if reason == "ioerror":
        return f"See which disk failed (virsh domblkerror {shlex.quote(name)}), and resume it then."
    if reason == "starting_up":
        return f"Its start has not come to an end: see its log there (/var/log/libvirt/qemu/{name}.log)."
    if host == destination:
        return f"Never resume it: {host} may not have all of its memory."
    if host != source:
        return "Never resume it before it is certain that it has run nowhere else since."
    known = snapshot["hosts"].get(destination) or {}
    if known.get("state") not in ANSWERS or known.get("inactive_domains") is None:
        return f"Never resume it before {destination} tells whether it has run there."
    if destination in others or note.get("destination_had") != NO_DEFINITION or reason != "migration":
        return (
            f"It may have run on {destination} and ended there. Never resume it if it has: its disks would be newer "
            f"than its memory. What became of it is in /var/log/libvirt/qemu/{name}.log on {destination}. Until that "
            "is clear, undefine it nowhere."
        )
    return (
        f"{destination} has nothing of it: unless somebody has moved it on or undefined it there since, it was never "
        f"started there and may be resumed (virsh resume {shlex.quote(name)})."
    )


def _definitions(snapshot: Json) -> dict[str, list[str]]:
    """The hosts on which a domain is shut off, by its UUID."""
    found: dict[str, list[str]] = {}
    for host in sorted(snapshot["hosts"]):
        for one in snapshot["hosts"][host].get("inactive_domains") or ():
            found.setdefault(str(one.get("uuid")).lower(), []).append(host)
    return found


def _others(defined: t.Mapping[str, list[str]], uuid: str, host: str) -> list[str]:
    return [name for name in defined.get(uuid.lower(), ()) if name != host]


def _has(hosts: t.Sequence[str]) -> str:
    return "has" if len(hosts) == 1 else "have"
