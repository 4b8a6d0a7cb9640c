# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What the plan tells about moves that failed and are not tried again yet, and what hosts forget of them."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.waits import Wait
from ansible_collections.virtops.balance.plugins.plugin_utils._text import several

MOST_NAMES = 3


def waiting_notes(fleet: Fleet) -> list[str]:
    """One note that names the moves that are waited for, those that end first; none where there are none.

    Where hosts are drained, the moves of other hosts do not matter.
    """
    found = _relevant(fleet)
    if fleet.now is None or not found:
        return []
    names = [f"{name} to {host} (after {wait.ends(fleet.now)})" for name, host, wait in found]
    what = "A move that failed is" if len(names) == 1 else "Moves that failed are"
    told = several(names, MOST_NAMES)
    return [f"{what} not tried again yet: {told}. With -e balance_forget=true nothing is waited for."]


def next_try(fleet: Fleet, uuids: t.Container[str] | None = None) -> str | None:
    """When the first move of these domains is tried again, null where none is waited for; ``uuids`` null = of all."""
    ends = [wait for (uuid, _host), wait in fleet.waits.items() if uuids is None or uuid in uuids]
    return None if fleet.now is None or not ends else min(ends, key=lambda wait: wait.until).ends(fleet.now)


def forgotten(fleet: Fleet) -> dict[str, dict[str, t.Any]]:
    """The marks of hosts that forget which moves failed, because the policy waits for none."""
    if fleet.policy.retry_after > 0:
        return {}
    hosts = (host.facts for host in fleet.hosts)
    return {host.name: {"refusals": []} for host in hosts if host.refusals and host.marks_problem is None}


def _relevant(fleet: Fleet) -> list[tuple[str, str, Wait]]:
    draining = fleet.policy.strategy == "drain"
    found = [
        (fleet[uuid].name, host, wait)
        for (uuid, host), wait in fleet.waits.items()
        if fleet[uuid].home.drained or not draining
    ]
    return sorted(found, key=lambda one: (one[2].until, one[0], one[1]))
