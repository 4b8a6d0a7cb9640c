# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A plan in stages, each of which begins where the waves of the one before it end, as the next run would.

A plan is made in stages only where moves are stranded. The rest of such a plan has to be worth its moves by itself, and
the next run, under the same load, would look for other ways from there, and even move domains back. So the stages of
further runs are planned at once. The moves of all are then ordered anew as one plan; if that strands a move, the waves
of the stages follow each other, and a domain that moves in two stages takes a detour.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.moves import PARKING, Move
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules

Waves = list[list[Move]]

_DIGITS = 6


def make(fleet: Fleet, waves: Waves) -> None:
    """Make the moves in the projected fleet."""
    for wave in waves:
        for move in wave:
            fleet.move(move.domain, move.destination)


def take_back(fleet: Fleet, waves: Waves) -> None:
    """Undo the moves in the projected fleet, from the end of the waves to their start."""
    for wave in reversed(waves):
        for move in reversed(wave):
            fleet.move(move.domain, move.source)


def settle(fleet: Fleet, waves: Waves) -> None:
    """Make the moves and take their ends for the homes of the domains, as the next run would."""
    make(fleet, waves)
    for domain in fleet.domains:
        domain.home = domain.host


@contextmanager
def homes_kept(fleet: Fleet) -> Iterator[None]:
    """Give domains back their homes afterwards, and have them there."""
    homes = [(domain, domain.home) for domain in fleet.domains]
    try:
        yield
    finally:
        for domain, home in homes:
            domain.home = home
            if domain.moved:
                fleet.move(domain, home)


def worth(fleet: Fleet, rules: Rules, waves: Waves) -> tuple[int, float]:
    """How many rules domains violate after the waves, and what is left of the score, with the cost of the moves and of
    the wishes that do not come true."""
    paid = sum(move.domain.price for wave in waves for move in wave)
    make(fleet, waves)
    broken = rules.violated()
    wishes = sum(rules.penalty(domain, domain.host) for domain in fleet.domains)
    score = fleet.score.value()
    take_back(fleet, waves)
    return broken, round(score + wishes + paid, _DIGITS)


def domains_in(waves: Waves) -> int:
    """How many domains the waves move."""
    return len({move.domain.index for wave in waves for move in wave})


def joined(waves: Waves) -> Waves:
    """The waves of several stages as those of one plan: a domain that goes on later only makes room before."""
    last = {move.domain.index: move for wave in waves for move in wave}
    for wave in waves:
        for move in wave:
            if last[move.domain.index] is not move:
                move.purpose = PARKING
    return waves
