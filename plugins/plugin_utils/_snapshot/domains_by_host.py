# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Which domains each host has, by name: what a person compares before and after."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot


def residents(
    snapshot: t.Any, plan: t.Mapping[str, t.Any] | None = None, *, tuning: bool = False
) -> dict[str, list[str]]:
    """Host -> sorted names of its domains, as the snapshot has them or, with a plan, as they will be.

    With ``tuning`` each name has the domain's weight and cap behind it. Raises SnapshotError for a bad snapshot.
    """
    facts = Snapshot.from_mapping(snapshot)
    found = {
        uuid: (domain.host, domain.name, facts.raw["domains"][uuid].get("weight"), domain.cap)
        for uuid, domain in facts.domains.items()
    }
    moves = [move for wave in (plan or {}).get("waves", ()) for move in wave["moves"]]
    for move in [*moves, *(plan or {}).get("restarts", ())]:
        found[move["domain"]] = (move["destination"], *found[move["domain"]][1:])
    for step in (plan or {}).get("steps", ()):
        if step["state"] == "stop":
            del found[step["domain"]]
        else:
            found[step["domain"]] = (step["host"], step["name"], step["weight"], step["cap"])
    names: dict[str, list[str]] = {host: [] for host in sorted(facts.hosts)}
    for host, name, weight, cap in found.values():
        names[host].append(f"{name}: weight {_shown(weight)}, cap {_shown(cap)} %" if tuning else name)
    return {host: sorted(listed) for host, listed in names.items()}


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:g}"
