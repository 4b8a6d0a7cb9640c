# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Hosts of which nothing is known: which they are, whether that is news, and whether enough others are left."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence

from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Host, Snapshot

MOST_NAMED = 10
LEAST = 2
"""Fewer hosts than these can balance nothing between them."""


def unknown_hosts(facts: Snapshot, before: Mapping[str, t.Any] | None = None) -> dict[str, t.Any]:
    """Return ``lost``, the names of hosts that are unknown and were not in the run before this one; ``others``, those
    of the other unknown hosts; and ``told``, all of it in sentences, null where every host is known.

    ``before`` maps hosts to the state that they had earlier in this run.
    """
    unknown = [host for host in facts.hosts.values() if host.state == "unknown"]
    lost = [host for host in unknown if host.known_last or (before or {}).get(host.name, "unknown") != "unknown"]
    others = [host for host in unknown if host not in lost]
    told = [*_named("Lost since the last run", lost), *_named("Unknown", others)]
    return {
        "lost": [host.name for host in lost],
        "others": [host.name for host in others],
        "told": " ".join(told) or None,
    }


def too_few(facts: Snapshot) -> str | None:
    """Sentences where fewer than two hosts are left, or fewer than there are. One that was put to sleep is not lost,
    but somebody has to answer who could wake it. One of which nobody knows whether it is drained can take nothing."""
    unclear = [host for host in facts.hosts.values() if host.marks_problem is not None and host.answers]
    answer = sum(host.answers for host in facts.hosts.values()) - len(unclear)
    known = sum(host.state != "unknown" for host in facts.hosts.values()) - len(unclear)
    count = len(facts.hosts)
    if not count or (answer and known >= min(LEAST, count)):
        return None
    few = f"{'Only 1' if answer else 'None'} of {count} host{'s' * (count > 1)} can be used."
    return " ".join([*_named("May be drained", unclear), few])


def _named(title: str, hosts: Sequence[Host]) -> list[str]:
    if not hosts:
        return []
    named = [
        f"{host.name} ({(host.problem or host.marks_problem or 'no reason was given').rstrip('.')})"
        for host in hosts[:MOST_NAMED]
    ]
    more = len(hosts) - len(named)
    return [f"{title}: {', '.join(named)}{f' and {more} more' if more else ''}."]
