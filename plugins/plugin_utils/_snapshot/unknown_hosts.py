# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Unknown hosts: which they are, whether they were known in the previous run, and whether enough others are left."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence

from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Host, Snapshot

MOST_NAMED = 10
MOST_LINES = 5
LEAST = 2
"""With fewer hosts there is nothing to balance."""


def unknown_hosts(facts: Snapshot, before: Mapping[str, t.Any] | None = None) -> dict[str, t.Any]:
    """Return ``lost``, the names of unknown hosts that were known in the previous run; ``others``, those of the other
    unknown hosts; and ``told``, both as sentences, null if every host is known.

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
    """Sentences if fewer than two hosts can be used (of a fleet of one: none), else None.

    A host that was put to sleep counts as usable if at least one host answers. A host does not count if it is not known
    whether it is drained."""
    few = _few(facts)
    return None if few is None else " ".join([*_named("May be drained", _unclear(facts)), few])


def too_few_shown(facts: Snapshot) -> str | None:
    """Return a text of several lines if fewer than two hosts can be used, else None: that, and a line for each host
    that cannot, those that were known in the previous run first."""
    few = _few(facts)
    if few is None:
        return None
    unknown = [host for host in facts.hosts.values() if host.state == "unknown"]
    unknown.sort(key=lambda host: not host.known_last)
    told = [f"{host.name}{', lost since the last run' * host.known_last}: {_why(host)}" for host in unknown]
    told += [f"{host.name}, may be drained: {_why(host)}" for host in _unclear(facts)]
    # A reason may have lines of its own.
    lines = [" ".join(line.split()) for line in told]
    more = len(lines) - MOST_LINES
    return "\n  ".join([few, *lines[:MOST_LINES], *([f"and {more} more"] if more > 0 else [])])


def _few(facts: Snapshot) -> str | None:
    unclear = len(_unclear(facts))
    answer = sum(host.answers for host in facts.hosts.values()) - unclear
    known = sum(host.state != "unknown" for host in facts.hosts.values()) - unclear
    count = len(facts.hosts)
    if not count or (answer and known >= min(LEAST, count)):
        return None
    return f"{'Only 1' if answer else 'None'} of {count} host{'s' * (count > 1)} can be used."


def _unclear(facts: Snapshot) -> list[Host]:
    """The hosts that answer and of which it is not known whether they are drained."""
    return [host for host in facts.hosts.values() if host.marks_problem is not None and host.answers]


def _why(host: Host) -> str:
    return (host.problem or host.marks_problem or "no reason was given").rstrip(".")


def _named(title: str, hosts: Sequence[Host]) -> list[str]:
    if not hosts:
        return []
    named = [f"{host.name} ({_why(host)})" for host in hosts[:MOST_NAMED]]
    more = len(hosts) - len(named)
    return [f"{title}: {', '.join(named)}{f' and {more} more' if more else ''}."]
