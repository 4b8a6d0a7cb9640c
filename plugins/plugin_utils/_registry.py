# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Where strategies and constraints register by name. A new one is a new file in its directory, nothing else changes.

A constraint is a function ``(domain, host, fleet) -> Reason | None``: why the projected domain may not be on the
projected host. Its scope says what the answer depends on, so that it is asked no more often than needed:
``domain`` - on the domain alone; ``host`` - on the host alone; ``pair`` - on facts of both that no move changes;
``fleet`` - on where domains are now; ``end`` - the same, but it need hold only when all moves are done, because between
them it cannot. The host of a question with scope ``domain`` is not to be looked at, and so on. Where
``when`` finds nothing for a constraint to look at, it is not asked at all and costs nothing.

A preference is a function with the same arguments that returns what it costs to have the domain on the host (score
times the number of hosts, 0 = nothing to say): the soft form of a constraint.

A remark is a function ``(fleet, hosts, unrepaired) -> sentences``: what a person should be told once about a rule that
cannot be kept. ``hosts`` are those that can take domains, ``unrepaired`` the domains that still violate a rule.

A placement is a function ``(fleet, rules) -> Placement`` that moves domains in the projected fleet.
"""

from __future__ import annotations

import importlib
import pkgutil
import typing as t
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

if t.TYPE_CHECKING:
    from ansible_collections.virtops.balance.plugins.plugin_utils._fleet import Fleet, ProjectedDomain, ProjectedHost
    from ansible_collections.virtops.balance.plugins.plugin_utils._ordering import Move
    from ansible_collections.virtops.balance.plugins.plugin_utils._rules import Rules

_PACKAGE = "ansible_collections.virtops.balance.plugins.plugin_utils."
SCOPES = ("domain", "host", "pair", "fleet", "end")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a domain may not be on a host; ``message`` is for a person and needs no other context."""

    constraint: str
    message: str

    def to_mapping(self) -> dict[str, str]:
        """As the plan has it."""
        return {"constraint": self.constraint, "message": self.message}


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

    purposes: what a move is for, by the UUID of the domain, see _ordering. None: the score is what it is for.
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


Conclude = Callable[["list[list[Move]]", bool], Conclusion]
Ask = Callable[["ProjectedDomain", "ProjectedHost", "Fleet"], "Reason | None"]
Cost = Callable[["ProjectedDomain", "ProjectedHost", "Fleet"], float]
Tell = Callable[["Fleet", "list[ProjectedHost]", "list[ProjectedDomain]"], "list[str]"]
Place = Callable[["Fleet", "Rules"], Placement]
When = Callable[["Fleet"], object]


@dataclass(frozen=True, slots=True)
class Constraint:
    """A registered constraint, see ``constraint``."""

    name: str
    scope: str
    ask: Ask
    repair: str | None
    one_of_several: bool
    yields: bool
    when: When


_constraints: dict[str, Constraint] = {}
_preferences: dict[str, tuple[When, Cost]] = {}
_remarks: dict[str, Tell] = {}
_placements: dict[str, Place] = {}


def _always(fleet: Fleet) -> bool:
    return True


def constraint(
    name: str,
    *,
    scope: str,
    repair: str | None = None,
    one_of_several: bool = False,
    yields: bool = False,
    when: When = _always,
) -> Callable[[Ask], Ask]:
    """Register a hard constraint.

    repair: what a move is for that takes a domain away from where this refuses it ("leaves the drained host"); such
      moves come first of all. None = a domain that is there may stay.
    one_of_several: it is enough that one of the domains that violate it goes; the cheapest will.
    yields: it does not stand in the way of a repair.
    when: is there anything in the policy or the fleet for it to look at?
    """

    def register(function: Ask) -> Ask:
        if scope not in SCOPES:
            raise ValueError(f"constraint {name!r} has the unknown scope {scope!r}")
        _constraints[name] = Constraint(name, scope, function, repair, one_of_several, yields, when)
        return function

    return register


def preference(name: str, *, when: When = _always) -> Callable[[Cost], Cost]:
    """Register what it costs to have a domain on a host; asked for domains with ``wishes`` only."""

    def register(function: Cost) -> Cost:
        _preferences[name] = (when, function)
        return function

    return register


def remark(name: str) -> Callable[[Tell], Tell]:
    """Register what is to be said about rules that cannot be kept."""

    def register(function: Tell) -> Tell:
        _remarks[name] = function
        return function

    return register


def placement(name: str) -> Callable[[Place], Place]:
    """Register a strategy."""

    def register(function: Place) -> Place:
        _placements[name] = function
        return function

    return register


@cache
def load(directory: str) -> None:
    """Import every file of a directory beside this one, so that what is in it has registered."""
    package = importlib.import_module(_PACKAGE + directory)
    for name in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
        importlib.import_module(f"{_PACKAGE}{directory}.{name}")


def constraints() -> dict[str, Constraint]:
    """All constraints, by name."""
    load("_constraints")
    return dict(sorted(_constraints.items()))


def preferences(fleet: Fleet) -> dict[str, Cost]:
    """All preferences that find something to look at in a fleet, by name."""
    load("_constraints")
    return {name: ask for name, (when, ask) in sorted(_preferences.items()) if when(fleet)}


def remarks() -> list[Tell]:
    """All remarks, by name."""
    load("_constraints")
    return [tell for _name, tell in sorted(_remarks.items())]


def placements() -> dict[str, Place]:
    """All strategies, by name."""
    load("_placement")
    return dict(sorted(_placements.items()))
