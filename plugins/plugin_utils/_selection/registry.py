# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Selection: which domain leaves an overloaded host? The selections by name, and what they answer.

A selection is a function ``(domains, step, migration_time, parameters, state) -> Choice``, the form of a detector with
the domains by name in place of the history. It registers by name, in a file of its own in selections/:
``@selection("random", Parameters)``. It selects one domain at a time; call it again without that domain for more. Ties
go to the name that sorts first.
"""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._discovery import load
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import (
    choice,
    mapping,
    number,
    option,
    read,
    sequence,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._text import shown

FALLBACK = "minimum_migration_time"


@dataclass(frozen=True, slots=True)
class MigratableDomain:
    """A domain that may leave its host: the MiB that its migration copies, and the cores that it used in each step,
    oldest first, null where a sample is missing."""

    memory_mib: float = option(0.0, number(0))
    cpu_cores: tuple[float | None, ...] = option((), sequence(number(0, nullable=True)))

    @property
    def latest(self) -> float:
        """The last known sample; infinity if there is none, so that the domain is never the least busy."""
        return next((cores for cores in reversed(self.cpu_cores) if cores is not None), float("inf"))


class Choice(t.NamedTuple):
    """The answer of a selection. decision: name of the domain; None if there is no domain or no answer. state: for the
    next round. numbers: the values behind the decision, plain JSON, for the user."""

    decision: str | None
    state: dict[str, t.Any]
    numbers: dict[str, t.Any]


MigratableDomains = Mapping[str, MigratableDomain]
Selection = Callable[[MigratableDomains, float, float, t.Any, Mapping[str, t.Any]], Choice]

_selections: dict[str, tuple[Selection, type[t.Any]]] = {}


@dataclass(frozen=True, slots=True)
class NoParameters:
    """For selections without parameters."""


def selection(name: str, parameters: type[t.Any] = NoParameters) -> Callable[[Selection], Selection]:
    """Register a selection and the dataclass of its parameters."""

    def register(function: Selection) -> Selection:
        _selections[name] = (function, parameters)
        return function

    return register


def selections() -> dict[str, tuple[Selection, type[t.Any]]]:
    """All selections with their parameters, by name."""
    load("_selection.selections")
    return dict(sorted(_selections.items()))


def parameters_of(name: str, data: Mapping[str, t.Any] | None, where: str = "parameters") -> t.Any:
    """Read the parameters of a selection; PolicyError says what is wrong."""
    known = selections()
    return read(known[choice(*known)(name, "selection")][1], {} if data is None else data, where)


def domains_from(data: t.Any) -> dict[str, MigratableDomain]:
    """Read ``{name: {memory_mib, cpu_cores}}``; PolicyError says what is wrong."""
    if not isinstance(data, Mapping):
        raise PolicyError(f"The candidates must be a mapping of names to memory_mib and cpu_cores, not {shown(data)}.")
    return {str(name): read(MigratableDomain, entry, f"candidates.{name}") for name, entry in data.items()}


def select(
    domains: MigratableDomains,
    name: str = FALLBACK,
    parameters: Mapping[str, t.Any] | None = None,
    *,
    step: float = 60.0,
    migration_time: float = 0.0,
    state: Mapping[str, t.Any] | None = None,
) -> Choice:
    """Select by ``name``; by minimum_migration_time if that has no answer because the histories are too short."""
    wanted = parameters_of(name, parameters)
    answer = selections()[name][0](domains, step, migration_time, wanted, mapping(state, "state"))
    if answer.decision is not None or not domains or name == FALLBACK:
        return answer
    instead = selections()[FALLBACK][0](domains, step, migration_time, NoParameters(), {})
    return Choice(instead.decision, answer.state, {**answer.numbers, **instead.numbers, "instead": FALLBACK})


def least(values: Mapping[str, float]) -> str | None:
    """The name with the least value, of equals the first by name."""
    return min(values, key=lambda name: (values[name], name), default=None)
