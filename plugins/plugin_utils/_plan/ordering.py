# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Orders moves into waves that are safe at every step.

A move depends on the moves that make room for it. The moves of a wave may run together in any order: while it runs,
every domain counts on both its hosts, and even then no hard constraint refuses any of them. A wave does not bring a
host above cpu_limit either. A move that does so, because it relieves a fuller host or because limits give way for it,
waits until no other move can start; its source then takes no domain and its destination sends none in the same wave. If
all moves wait for each other (A and B are full and must swap), one domain takes a detour over a third host. Moves that
cannot be ordered even so are returned with the reason; they are never forced.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.moves import PARKING, Move
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import (
    ROUNDING,
    ProjectedDomain,
    ProjectedHost,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU, MEMORY
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.copy_estimate import of_move
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._text import counted


@dataclass(slots=True)
class Order:
    """The waves, and the moves that cannot be ordered, each with the reason."""

    waves: list[list[Move]]
    stranded: list[tuple[Move, Reason]]


def order(fleet: Fleet, rules: Rules, moves: Iterable[Move]) -> Order:
    """Order ``moves``. Moves the fleet from the start of the waves to their end."""
    pending = list(moves)
    result = Order([], [])
    parked: set[int] = set()
    while pending:
        wave = (
            _wave(fleet, rules, pending)
            or _wave(fleet, rules, pending, relief=True)
            or _wave(fleet, rules, pending, relief=True, force=True)
        )
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
        nowhere = Reason("ordering", f"no order of moves takes it to {move.destination.name}")
        result.stranded.append((move, move.waits or nowhere))
    return result


def _overloads(fleet: Fleet, domain: ProjectedDomain, host: ProjectedHost) -> bool:
    """Would the host be above cpu_limit with the domain as well?"""
    return host.use[CPU] + domain.demand[CPU] * host.scale[CPU] > fleet.policy.cpu_limit + ROUNDING


def _wave(fleet: Fleet, rules: Rules, pending: list[Move], *, relief: bool = False, force: bool = False) -> list[Move]:
    """The moves that can start now, each already counted on its destination too. With ``relief`` also those that bring
    a host above cpu_limit to relieve a fuller one, with ``force`` also those for which limits give way."""
    wave: list[Move] = []
    out: dict[int, int] = {}
    into: dict[int, int] = {}
    for move in pending:
        source, destination = move.source, move.destination
        waits = _crowded(fleet.policy, move, len(wave), out, into)
        if waits is None and not relief and _overloads(fleet, move.domain, destination):
            waits = Reason("cpu", f"{destination.name} would exceed its CPU limit before other domains have left it")
        if waits is None and relief and (source.index in into or destination.index in out):
            waits = Reason("cpu", f"{source.name} and {destination.name} are too full for all moves at once")
        forced = force and move.forced and rules.passed(move.domain, destination, between=True) is not None
        if waits is None and not forced:
            waits = rules.refuses_now(move.domain, destination)
        if waits is not None:
            move.waits = waits
            continue
        if forced:
            move.waits = None
        fleet.occupy(move.domain, destination)
        out[source.index] = out.get(source.index, 0) + 1
        into[destination.index] = into.get(destination.index, 0) + 1
        wave.append(move)
    return wave


def _crowded(policy: Policy, move: Move, size: int, out: dict[int, int], into: dict[int, int]) -> Reason | None:
    """The limit on moves that keeps a move out of a wave: in all, by source, or by destination; None if none does."""
    if policy.max_moves_per_wave is not None and size >= policy.max_moves_per_wave:
        return Reason("max_moves_per_wave", f"a wave has at most {counted(policy.max_moves_per_wave, 'move')}")
    if out.get(move.source.index, 0) >= policy.max_moves_out:
        most = counted(policy.max_moves_out, "domain")
        return Reason("max_moves_out", f"{move.source.name} sends at most {most} a wave")
    if into.get(move.destination.index, 0) >= policy.max_moves_in:
        return Reason(
            "max_moves_in",
            f"{move.destination.name} takes at most {counted(policy.max_moves_in, 'domain')} a wave",
        )
    return None


def _park(fleet: Fleet, rules: Rules, pending: list[Move], parked: set[int]) -> Move | None:
    """A detour that lets another move start, counted on both hosts; the delayed move then starts from the detour."""
    waiting: dict[int, list[Move]] = {}
    for move in pending:
        waiting.setdefault(move.destination.index, []).append(move)
    hosts = [host for host in fleet.counted() if rules.closed(host) is None]
    for move in sorted(pending, key=lambda m: (of_move(m.domain, fleet.policy).mib, m.domain.facts.uuid)):
        blocked = [other for other in waiting.get(move.source.index, ()) if other is not move]
        if not blocked or move.domain.index in parked:
            continue
        for host in sorted(hosts, key=lambda h: (h.use[CPU] + h.use[MEMORY], h.index)):
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
