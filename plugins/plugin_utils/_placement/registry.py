# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Strategies of a plan register here by name. A new one is a new file in strategies/ with the name of the strategy.

A strategy is a function ``(fleet, rules) -> Placement`` that moves domains in the projected fleet.
"""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from dataclasses import dataclass, field

from ansible_collections.virtops.balance.plugins.plugin_utils._discovery import load
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.moves import Move
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules


@dataclass(slots=True)
class Placement:
    """The decision of a strategy, which has already moved domains in the projected fleet.

    trigger: a sentence about why it acts, apart from repairs; None if there is no reason to act.
    cause: a sentence about the repairs, from a strategy that does not repair everything; "" if there are none. None:
      the verdict counts the violated rules.
    repairs: the violated constraint that each moved domain repairs, by UUID. reliefs: the purpose of each move that is
      not judged by what it gains in score, by UUID; they wait for hold as others do. unrepaired: a message, by UUID.
    forced: the UUIDs of the domains that were moved although limits have to give way for that.
    notes: notes for the user.
    unreachable: sentences about hosts that no move can level.
    least_score: the part of the score that no move can take away.
    optimum: from an exact strategy, the score plus price of moves of its placement (found), a lower bound for all
      placements (bound), and whether the two are equal (proved).
    again: may the strategy be called again for the fleet as it is after some of the moves?

    The rest is for strategies that do not go by the score, and whose moves minimum_gain therefore does not apply to:

    purposes: the purpose of each move by the UUID of its domain, see _fleet/moves.py. None: moves improve the score.
    whole: sets of domains, by index, that move together or not at all.
    unplaced: why a domain that should leave found no host, by UUID.
    content: a sentence about why there is nothing to do, if there is no trigger.
    conclude: called after the moves are made in the projected fleet, with the waves and whether the moves wait for
      ``hold``; returns the rest of the plan.
    """

    trigger: str | None = None
    cause: str | None = None
    repairs: dict[str, str] = field(default_factory=dict)
    reliefs: dict[str, str] = field(default_factory=dict)
    unrepaired: dict[str, str] = field(default_factory=dict)
    forced: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)
    least_score: float = 0.0
    optimum: dict[str, t.Any] | None = None
    again: bool = False
    purposes: dict[str, str] | None = None
    whole: list[frozenset[int]] = field(default_factory=list)
    unplaced: dict[str, Reason] = field(default_factory=dict)
    content: str = ""
    conclude: Conclude | None = None


@dataclass(slots=True)
class Conclusion:
    """The rest of a plan: hosts to wake and to put to sleep, each as ``{host, why}``, the marks that hosts store (by
    name), the judgement of each host, modelled watts before and after, and domains to restart on another host after
    all moves."""

    wake: list[dict[str, str]] = field(default_factory=list)
    sleep: list[dict[str, str]] = field(default_factory=list)
    marks: dict[str, dict[str, t.Any]] = field(default_factory=dict)
    detection: dict[str, dict[str, t.Any]] = field(default_factory=dict)
    watts: dict[str, t.Any] | None = None
    notes: list[str] = field(default_factory=list)
    restarts: list[dict[str, t.Any]] = field(default_factory=list)


Conclude = Callable[[list[list[Move]], bool], Conclusion]
Place = Callable[[Fleet, Rules], Placement]


_placements: dict[str, Place] = {}


def placement(name: str) -> Callable[[Place], Place]:
    """Register a strategy."""

    def register(function: Place) -> Place:
        _placements[name] = function
        return function

    return register


def placements() -> dict[str, Place]:
    """All strategies, by name."""
    load("_placement.strategies")
    return dict(sorted(_placements.items()))
