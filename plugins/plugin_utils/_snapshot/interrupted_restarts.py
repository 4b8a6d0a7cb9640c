# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Restarts on another host that were interrupted: which of them can be finished, and how.

The definitions of the domain on both hosts contain a note from before it is shut down until it runs and only one host
defines it. So a domain that is shut off and has the note was not shut down by its user.
"""

from __future__ import annotations

import typing as t
from collections.abc import Collection, Mapping

from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import ANSWERS

Json = t.Mapping[str, t.Any]


def interrupted_restarts(snapshot: Json, drained: Collection[str] = ()) -> list[dict[str, t.Any]]:
    """Return them sorted by name: {uuid, name, source, destination, started_at, seen_on, finish, problem}.

    ``drained`` are hosts that are about to be drained, beside those that are or may be. ``finish`` says where the
    domain is to be started if it runs on neither of the two: ``source`` or ``destination``, null where nothing must be
    done because of ``problem``, one sentence.
    """
    hosts = snapshot["hosts"]
    notes: dict[str, list[tuple[str, Json]]] = {}
    for name in sorted(hosts):
        for note in hosts[name].get("interrupted_restarts") or ():
            notes.setdefault(str(note["uuid"]).lower(), []).append((name, note))
    found = []
    for uuid, seen in notes.items():
        # Of several only the newest can be right, and two hosts must not finish one domain at the same time.
        newest = max((note for _host, note in seen), key=lambda note: str(note["started_at"]))
        way = (newest["source"], newest["destination"])
        seen_on = [host for host, note in seen if (note["source"], note["destination"]) == way]
        problem = _problem(hosts, snapshot["domains"].get(uuid), newest, seen_on)
        end = hosts.get(way[1], {})
        back = end.get("state") == "drained" or end.get("marks_problem") is not None or way[1] in drained
        finish = None if problem else "source" if back else "destination"
        found.append({**newest, "uuid": uuid, "seen_on": seen_on, "finish": finish, "problem": problem})
    return sorted(found, key=lambda one: (one["name"], one["uuid"]))


def interrupted_notes(snapshot: Json) -> list[str]:
    """A sentence for each of them."""
    return [one["problem"] or f"{_begun(one)}, and is not finished yet." for one in interrupted_restarts(snapshot)]


def _begun(note: Json) -> str:
    return f"The restart of {note['name']} from {note['source']} to {note['destination']} was interrupted"


def _problem(hosts: Mapping[str, Json], running: Json | None, note: Json, seen_on: list[str]) -> str | None:
    begun, way = _begun(note), (note["source"], note["destination"])
    silent = [host for host in way if hosts.get(host, {}).get("state") not in ANSWERS]
    if silent:
        return f"{begun}. It cannot be finished before {' and '.join(silent)} answers whether the domain runs there."
    if running is not None and running["host"] not in way:
        return (
            f"{begun}, and it runs on {running['host']}: undefine it on {' and '.join(seen_on)}, where it is shut off."
        )
    # What has left the destination since has no definition there any more.
    unknown = sorted(host for host, facts in hosts.items() if facts.get("state") == "unknown")
    if running is None and unknown and len(seen_on) < len(way):
        return f"{begun}. It cannot be finished before it is known whether the domain runs on {' or '.join(unknown)}."
    return None
