# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Do the clocks of the hosts agree? Leases, cooldowns and histories have times of several hosts in them."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.answers import Host
from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.finding import named
from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.sentences import Sentence

LETTER = "T"
NAME = "clock"

TOLERANCE_SECONDS = 2.0

Span = tuple[float, float]


def find(hosts: Sequence[Host]) -> list[Sentence]:
    """A warning about each clock that differs from those of most hosts for certain.

    How long a question was on its way is not known, so a clock is known as a span; only a gap between two spans counts.
    """
    spans = {host.name: host.clock for host in hosts if host.clock is not None}
    if len(spans) < 2:
        return []
    agree = {name: [other for other in spans if _gap(spans[name], spans[other]) == 0] for name in spans}
    reference = max(sorted(spans), key=lambda name: len(agree[name]))
    found = []
    for name in sorted(spans):
        gap = _gap(spans[name], spans[reference])
        if abs(gap) < TOLERANCE_SECONDS:
            continue
        others = [other for other in agree[reference] if other != name]
        way = "ahead of" if gap > 0 else "behind"
        text = (
            f"The clock of {name} is at least {_duration(abs(gap))} {way} that of {named(others)}: synchronise it; see "
            f"on {name} whether that works with"
        )
        pairs = [pair for other in spans if other != name for pair in ((name, other), (other, name))]
        found.append(Sentence(LETTER, serious=False, text=text, commands=["timedatectl"], pairs=sorted(pairs)))
    return found


def offset(host: Host) -> float | None:
    """How far its clock is at least from that of the control node, in seconds, ahead of it or behind (-)."""
    return None if host.clock is None else round(_gap(host.clock, (0.0, 0.0)), 1)


def _gap(one: Span, other: Span) -> float:
    """How far the first span is beyond the second one at least; 0 where they overlap."""
    if one[0] > other[1]:
        return one[0] - other[1]
    if one[1] < other[0]:
        return one[1] - other[0]
    return 0.0


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.0f} hours"
