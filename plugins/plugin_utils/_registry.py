# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Where strategies and constraints register by name. A new one is a new file in its directory, nothing else changes.

A constraint is a function ``(domain, host, fleet) -> Reason | None``: why the projected domain may not be on the
projected host. Its scope says what the answer depends on, so that it is asked no more often than needed:
``domain`` - on the domain alone; ``host`` - on the host alone; ``pair`` - on facts of both that no move changes;
``fleet`` - on where domains are now. The host of a question with scope ``domain`` is not to be looked at, and so on.

A preference is a function with the same arguments that returns what it costs to have the domain on the host (score
times the number of hosts, 0 = nothing to say): the soft form of a constraint.

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
    from ansible_collections.virtops.balance.plugins.plugin_utils._rules import Rules

_PACKAGE = "ansible_collections.virtops.balance.plugins.plugin_utils."
SCOPES = ("domain", "host", "pair", "fleet")


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
    """What a strategy decided: the fleet it was given is now as it wants it; ``repairs`` says which domain was moved
    for which violated constraint, ``notes`` what a person should know."""

    repairs: dict[str, str] = field(default_factory=dict)
    unrepaired: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


Constraint = Callable[["ProjectedDomain", "ProjectedHost", "Fleet"], "Reason | None"]
Preference = Callable[["ProjectedDomain", "ProjectedHost", "Fleet"], float]
Place = Callable[["Fleet", "Rules"], Placement]

_constraints: dict[str, tuple[str, Constraint]] = {}
_repairing: set[str] = set()
_preferences: dict[str, Preference] = {}
_placements: dict[str, Place] = {}


def constraint(name: str, *, scope: str, repair: bool = False) -> Callable[[Constraint], Constraint]:
    """Register a hard constraint; with ``repair`` a domain that is where it refuses it is moved away first of all."""

    def register(function: Constraint) -> Constraint:
        if scope not in SCOPES:
            raise ValueError(f"constraint {name!r} has the unknown scope {scope!r}")
        _constraints[name] = (scope, function)
        if repair:
            _repairing.add(name)
        return function

    return register


def preference(name: str) -> Callable[[Preference], Preference]:
    """Register what it costs to have a domain on a host."""

    def register(function: Preference) -> Preference:
        _preferences[name] = function
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


def constraints(scope: str) -> dict[str, Constraint]:
    """All constraints of a scope, by name."""
    load("_constraints")
    return {name: function for name, (of, function) in sorted(_constraints.items()) if of == scope}


def repairing() -> dict[str, Constraint]:
    """The constraints whose violation is repaired, by name."""
    load("_constraints")
    return {name: function for name, (_scope, function) in sorted(_constraints.items()) if name in _repairing}


def preferences() -> dict[str, Preference]:
    """All preferences, by name."""
    load("_constraints")
    return dict(sorted(_preferences.items()))


def placements() -> dict[str, Place]:
    """All strategies, by name."""
    load("_placement")
    return dict(sorted(_placements.items()))
