# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Moves -> waves that are safe at every step.

A move depends on the moves that make room for it. A wave holds moves that may run together in any order: while it runs
every domain of it counts on both ends, and with that no hard constraint refuses any of them. Nor does it bring a host
above cpu_limit: what the constraint on CPU lets through although it does (the move relieves a fuller host) waits until
nothing else can go, and then what a host sends or takes in the same wave does not make it look fuller than it is. Where
all moves wait for each other (A and B are full and must swap), one domain takes a detour over a third host. What cannot
be ordered even so is returned with the reason; it is never forced.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet import (
    ROUNDING,
    Fleet,
    ProjectedDomain,
    ProjectedHost,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._registry import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules import Rules

PARKING = "parking"
OVERLOAD = "overload"
UNDERLOAD = "underload"


@dataclass(slots=True)
class Move:
    """One live migration. ``purpose`` is the constraint that it repairs, PARKING for a detour, OVERLOAD or UNDERLOAD
    where it relieves or empties its source, None where it makes the score better."""

    domain: ProjectedDomain
    source: ProjectedHost
    destination: ProjectedHost
    purpose: str | None = None


@dataclass(slots=True)
class Order:
    """The waves, and the moves that nothing can unblock with the reason against each."""

    waves: list[list[Move]]
    stranded: list[tuple[Move, Reason]]


def order(fleet: Fleet, rules: Rules, moves: Iterable[Move]) -> Order:
    """Order ``moves``; the fleet must be where they start, and is left where the waves end."""
    pending = list(moves)
    result = Order([], [])
    parked: set[int] = set()
    while pending:
        wave = _wave(fleet, rules, pending) or _wave(fleet, rules, pending, relief=True)
        if not wave:
            detour = _park(fleet, rules, pending, parked)
            if detour is None:
                break
            wave = [detour]
        for move in wave:
            fleet.release(move.domain, move.source)
            move.domain.host = move.destination
        done = {id(move) for move in wave}
        pending = [move for move in pending if id(move) not in done]
        result.waves.append(wave)
    for move in pending:
        reason = rules.refuses_now(move.domain, move.destination)
        result.stranded.append(
            (move, reason or Reason("ordering", f"no order of moves brings it to {move.destination.name}"))
        )
    return result


def seconds(move: Move, bandwidth_mib_s: float) -> float:
    """How long a move takes, roughly: its memory once, and again as far as the domain is busy writing it."""
    busy = min(1.0, move.domain.demand[0] / (move.domain.demand[3] or 1.0))
    return move.domain.copy_mib * (1.0 + busy) / bandwidth_mib_s


def wave_seconds(wave: Iterable[Move], bandwidth_mib_s: float) -> float:
    """How long a wave takes, roughly: moves out of one host one after the other, hosts side by side."""
    by_source: dict[int, float] = {}
    for move in wave:
        by_source[move.source.index] = by_source.get(move.source.index, 0.0) + seconds(move, bandwidth_mib_s)
    return max(by_source.values(), default=0.0)


def _overloads(fleet: Fleet, domain: ProjectedDomain, host: ProjectedHost) -> bool:
    """Would the host be above cpu_limit with the domain as well?"""
    return host.use[0] + domain.demand[0] * host.scale[0] > fleet.policy.cpu_limit + ROUNDING


def _wave(fleet: Fleet, rules: Rules, pending: list[Move], *, relief: bool = False) -> list[Move]:
    """The moves that can start now, each already counted on its destination as well; with ``relief`` also those that
    bring a host above cpu_limit to relieve a fuller one."""
    policy = fleet.policy
    out: dict[int, int] = {}
    into: dict[int, int] = {}
    wave: list[Move] = []
    for move in pending:
        if policy.max_moves_per_wave is not None and len(wave) >= policy.max_moves_per_wave:
            break
        source, destination = move.source.index, move.destination.index
        if out.get(source, 0) >= policy.max_moves_out or into.get(destination, 0) >= policy.max_moves_in:
            continue
        if (source in into or destination in out) if relief else _overloads(fleet, move.domain, move.destination):
            continue
        if rules.refuses_now(move.domain, move.destination) is not None:
            continue
        fleet.occupy(move.domain, move.destination)
        out[source] = out.get(source, 0) + 1
        into[destination] = into.get(destination, 0) + 1
        wave.append(move)
    return wave


def _park(fleet: Fleet, rules: Rules, pending: list[Move], parked: set[int]) -> Move | None:
    """A detour that lets another move start, counted on both ends; the move that it delays then starts from there."""
    waiting: dict[int, list[Move]] = {}
    for move in pending:
        waiting.setdefault(move.destination.index, []).append(move)
    hosts = [host for host in fleet.counted() if rules.closed(host) is None]
    for move in sorted(pending, key=lambda m: (m.domain.copy_mib, m.domain.facts.uuid)):
        blocked = [other for other in waiting.get(move.source.index, ()) if other is not move]
        if not blocked or move.domain.index in parked:
            continue
        for host in sorted(hosts, key=lambda h: (h.use[0] + h.use[1], h.index)):
            if host in (move.source, move.destination) or _overloads(fleet, move.domain, host):
                continue
            if rules.refuses_now(move.domain, host) is not None:
                continue
            fleet.move(move.domain, host)
            helps = any(rules.refuses_now(other.domain, other.destination) is None for other in blocked)
            fleet.move(move.domain, move.source)
            if helps:
                detour = Move(move.domain, move.source, host, PARKING)
                fleet.occupy(move.domain, host)
                parked.add(move.domain.index)
                move.source = host
                return detour
    return None
