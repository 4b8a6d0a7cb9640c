# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Where constraints, preferences and remarks register by name. A new one is a new file in constraints/, nothing else
changes.

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
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._discovery import load
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason

SCOPES = ("domain", "host", "pair", "fleet", "end")

Ask = Callable[[ProjectedDomain, ProjectedHost, Fleet], Reason | None]
Cost = Callable[[ProjectedDomain, ProjectedHost, Fleet], float]
Tell = Callable[[Fleet, list[ProjectedHost], list[ProjectedDomain]], list[str]]
When = Callable[[Fleet], object]


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


def constraints() -> dict[str, Constraint]:
    """All constraints, by name."""
    load("_rules.constraints")
    return dict(sorted(_constraints.items()))


def preferences(fleet: Fleet) -> dict[str, Cost]:
    """All preferences that find something to look at in a fleet, by name."""
    load("_rules.constraints")
    return {name: ask for name, (when, ask) in sorted(_preferences.items()) if when(fleet)}


def remarks() -> list[Tell]:
    """All remarks, by name."""
    load("_rules.constraints")
    return [tell for _name, tell in sorted(_remarks.items())]
