# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Where strategies of a plan register by name. A new one is a new file in strategies/, named as the policy names it.

A placement is a function ``(fleet, rules) -> Placement`` that moves domains in the projected fleet.
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
    """What a strategy decided: the fleet it was given is now as it wants it.

    trigger: a sentence about why it acts beside the repairs; None where it sees no cause.
    cause: a sentence about the repairs, of a strategy that does not repair everything; "" where there are none. None:
      the violated rules are counted.
    repairs: which domain was moved for which violated constraint, by UUID. unrepaired: a message, by UUID.
    notes: what a person should know.
    optimum: from an exact strategy, what its placement has in score and price of moves (found), what none can be below
      (bound), and whether these are the same (proved).

    The rest is of strategies that do not go by the score, and whose moves are therefore not held against minimum_gain:

    purposes: what a move is for, by the UUID of the domain, see _fleet/moves.py. None: the score is what it is for.
    whole: domains, by index, of which all move or none does.
    unplaced: why a domain that was to leave found no host, by UUID.
    content: a sentence about why there is nothing to do, where there is no trigger.
    conclude: called when the moves are settled and made in the projected fleet, with the waves and whether the moves
      wait for ``hold``; returns what the plan says about power and marks.
    """

    trigger: str | None = None
    cause: str | None = None
    repairs: dict[str, str] = field(default_factory=dict)
    unrepaired: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    optimum: dict[str, t.Any] | None = None
    purposes: dict[str, str] | None = None
    whole: list[frozenset[int]] = field(default_factory=list)
    unplaced: dict[str, Reason] = field(default_factory=dict)
    content: str = ""
    conclude: Conclude | None = None


@dataclass(slots=True)
class Conclusion:
    """Beside its moves, what a plan does: hosts to wake and to put to sleep, each as ``{host, why}``, what hosts are to
    remember (by name), what detectors said of each host, modelled watts before and after, and domains to shut down and
    start elsewhere once everything has moved."""

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
