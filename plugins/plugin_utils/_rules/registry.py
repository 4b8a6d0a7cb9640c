# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Constraints, preferences and remarks register here by name. A new one is a new file in constraints/; nothing else
changes.

A constraint is a function ``(domain, host, fleet) -> Reason | None``: why the projected domain may not be on the
projected host. Its scope says what the answer depends on, so that it is evaluated no more often than necessary:
``domain`` - on the domain alone; ``host`` - on the host alone; ``pair`` - on facts of both that no move changes;
``fleet`` - on where domains are now; ``end`` - the same, but it has to hold only after the last move, because between
the moves it cannot. A constraint of scope ``domain`` must not read the host, and so on. A constraint whose ``when`` is
false is never evaluated and costs nothing.

A limit that is meant for levelling gives way to a repair: a constraint of scope ``fleet`` or ``end`` says so in the
``excess`` of its reason.

A preference is a function with the same arguments that returns how many wishes the domain leaves unkept on the host:
the soft form of a constraint. Each costs as much as a host that is completely out of balance.

A remark is a function ``(fleet, hosts, unrepaired) -> sentences``: notes for the user about a rule that cannot be kept.
``hosts`` are those that can take domains, ``unrepaired`` the domains that still violate a rule.
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
Unkept = Callable[[ProjectedDomain, ProjectedHost, Fleet], int]
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
_preferences: dict[str, tuple[When, Unkept]] = {}
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

    repair: the purpose of a move that takes a domain away from a host that this constraint refuses ("leaves the drained
      host"). Such moves come first. None = a domain that is already there may stay.
    one_of_several: it is enough that one of the domains that violate it leaves; the cheapest one does.
    yields: it does not prevent a repair.
    when: does the constraint apply to anything in the policy or the fleet?
    """

    def register(function: Ask) -> Ask:
        if scope not in SCOPES:
            raise ValueError(f"constraint {name!r} has the unknown scope {scope!r}")
        _constraints[name] = Constraint(name, scope, function, repair, one_of_several, yields, when)
        return function

    return register


def preference(name: str, *, when: When = _always) -> Callable[[Unkept], Unkept]:
    """Register how many wishes a domain leaves unkept on a host; evaluated only for domains with ``wishes``."""

    def register(function: Unkept) -> Unkept:
        _preferences[name] = (when, function)
        return function

    return register


def remark(name: str) -> Callable[[Tell], Tell]:
    """Register notes about rules that cannot be kept."""

    def register(function: Tell) -> Tell:
        _remarks[name] = function
        return function

    return register


def constraints() -> dict[str, Constraint]:
    """All constraints, by name."""
    load("_rules.constraints")
    return dict(sorted(_constraints.items()))


def preferences(fleet: Fleet) -> dict[str, Unkept]:
    """All preferences that apply to a fleet, by name."""
    load("_rules.constraints")
    return {name: ask for name, (when, ask) in sorted(_preferences.items()) if when(fleet)}


def remarks() -> list[Tell]:
    """All remarks, by name."""
    load("_rules.constraints")
    return [tell for _name, tell in sorted(_remarks.items())]
