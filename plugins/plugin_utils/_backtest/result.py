# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What came of a replay, and what really happened, in the same figures, as plain JSON.

policy: its name. runs: that began. runs_that_moved, moves, gib (memory copied), moved_back (to a host that the domain
left less than ``BACK_SECONDS`` before), most_moves_of_one (of one domain).
host_time_above_limit, host_time_full: of the time of hosts that are awake, that in which more than the limit, or all of
their CPU and more, is asked for. unserved: of what domains wanted, what they did not get; worst: the domains with most
of it. All are fractions.
kwh: modelled by the power models of the hosts, null where one has none. wakes, sleeps: of hosts. cpu_seconds: null, for
who has a clock. hosts: the fraction of its CPU that each host used at each time, null while it slept. made: the moves,
with the time at which they began. times: when the recording began, and its steps.
"""

from __future__ import annotations

import heapq
import typing as t
from collections.abc import Sequence
from datetime import timedelta

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.recording import (
    RecordedDomain,
    Recording,
    check,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.world import Copy, World
from ansible_collections.virtops.balance.plugins.plugin_utils._times import stamp

Json = dict[str, t.Any]

BACK_SECONDS = 3600.0
HAPPENED = "what really happened"

_WORST = 5
_DIGITS = 6


def result(world: World, made: Sequence[Copy], *, name: str, runs: int, runs_that_moved: int) -> Json:
    """The figures of a world after some time."""
    totals = world.totals
    unserved = [(domain, _share(domain.unserved, domain.wanted)) for domain in world.domains.values()]
    return {
        "policy": name,
        "runs": runs,
        "runs_that_moved": runs_that_moved,
        **_figures(world, made),
        "unserved": _share(totals.unserved, totals.wanted),
        "worst": _worst([(domain.facts, part) for domain, part in unserved if part]),
        "wakes": totals.wakes,
        "sleeps": totals.sleeps,
        "cpu_seconds": None,
        "hosts": {host.facts.name: [_rounded(used) for used in host.used] for host in world.hosts.values()},
        "made": [_made(world, copy) for copy in made],
        "times": _times(world.recording),
    }


def happened(recording: Recording, limit: float) -> Json:
    """The figures of what really happened, without those that cannot be known: domains are where they were, hosts sleep
    when they did. Unserved is what domains wanted and, as measured, did not get. ``limit``: above this fraction of its
    CPU a host counts as too full. Raises SnapshotError for a recording with mistakes."""
    check(recording)
    world = World(recording, keep=0, limit=limit)
    made: list[Copy] = []
    wakes = sleeps = 0
    for index in range(recording.steps):
        if index:
            world.advance()
        for uuid, domain in recording.domains.items():
            name, before = domain.where[index], world.domains[uuid].host
            if name is not None and before != name:
                if index and before is not None and domain.where[index - 1] is not None:
                    made.append(Copy(uuid, before, name, domain.memory_mib, world.seconds, world.seconds))
                world.put(uuid, name)
        for name, host in recording.hosts.items():
            awake = bool(world.hosts[name].residents) or not (host.asleep and host.asleep[index])
            wakes += bool(index) and awake and not world.hosts[name].awake
            sleeps += bool(index) and not awake and world.hosts[name].awake
            world.hosts[name].awake = awake
        world.record()
    found = result(world, made, name=HAPPENED, runs=0, runs_that_moved=0)
    parts = [(domain, *_measured(domain)) for domain in recording.domains.values()]
    known = all(domain.used is not None for domain, _wanted, _got in parts)
    found |= {
        "runs": None,
        "runs_that_moved": None,
        "wakes": wakes,
        "sleeps": sleeps,
        "unserved": _share(sum(w - g for _d, w, g in parts), sum(w for _d, w, _g in parts)) if known else None,
        "worst": _worst([(d, part) for d, w, g in parts if (part := _share(w - g, w))]) if known else [],
    }
    for name, host in recording.hosts.items():
        if host.used is not None:
            found["hosts"][name] = [_rounded(used) for used in host.used]
    for move in found["made"]:
        move["seconds"] = None
    return found


def _figures(world: World, made: Sequence[Copy]) -> Json:
    totals = world.totals
    counts: dict[str, int] = {}
    left: dict[tuple[str, str], float] = {}
    back = 0
    for copy in made:
        counts[copy.domain] = counts.get(copy.domain, 0) + 1
        before = left.get((copy.domain, copy.destination))
        back += before is not None and copy.begin - before < BACK_SECONDS
        left[copy.domain, copy.source] = copy.end
    return {
        "moves": len(made),
        "gib": round(sum(copy.mib for copy in made) / 1024.0, 3),
        "moved_back": back,
        "most_moves_of_one": max(counts.values(), default=0),
        "host_time_above_limit": _share(totals.above, totals.awake),
        "host_time_full": _share(totals.full, totals.awake),
        "kwh": None if totals.joules is None else round(totals.joules / 3.6e6, _DIGITS),
    }


def _measured(domain: RecordedDomain) -> tuple[float, float]:
    """What a domain wanted and what it got, where both are known; core times steps."""
    wanted = got = 0.0
    for want, used in zip(domain.wanted, domain.used or (), strict=False):
        if want is not None and used is not None:
            wanted += want
            got += min(used, want)
    return wanted, got


def _worst(parts: list[tuple[RecordedDomain, float]]) -> list[Json]:
    found = heapq.nsmallest(_WORST, parts, key=lambda one: (-one[1], one[0].uuid))
    return [{"domain": domain.uuid, "name": domain.name, "unserved": part} for domain, part in found]


def _made(world: World, copy: Copy) -> Json:
    return {
        "at": stamp(world.recording.begins_at + timedelta(seconds=copy.begin)),
        "domain": copy.domain,
        "name": world.recording.domains[copy.domain].name,
        "source": copy.source,
        "destination": copy.destination,
        "mib": copy.mib,
        "seconds": round(copy.end - copy.begin, 1),
    }


def _times(recording: Recording) -> Json:
    begins_at = stamp(recording.begins_at)
    return {"begins_at": begins_at, "step_seconds": recording.step, "steps": recording.steps}


def _share(part: float, whole: float) -> float:
    return round(part / whole, _DIGITS) if whole else 0.0


def _rounded(used: float | None) -> float | None:
    return None if used is None else round(used, 4)
