# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Which algorithms consolidation uses, as a policy names them: a name, or a name and parameters."""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation import best_fit
from ansible_collections.virtops.balance.plugins.plugin_utils._detection import registry as _detectors
from ansible_collections.virtops.balance.plugins.plugin_utils._options import (
    Reader,
    choice,
    mapping,
    option,
    read,
    required,
    text,
    whole,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._selection import registry as _selections

PLACEMENTS = ("best_fit_decreasing", "power_aware_best_fit_decreasing")


@dataclass(frozen=True, slots=True)
class Algorithm:
    """name: of the algorithm. parameters: its own, as plain data, already validated."""

    name: str = required(text)
    parameters: Mapping[str, t.Any] = required(mapping)


def _algorithm(parameters: Callable[[str, str], type[t.Any]]) -> Reader:
    """``parameters`` gives the dataclass of an algorithm's parameters by its name; the key is for messages."""

    def reader(value: t.Any, key: str) -> Algorithm:
        if isinstance(value, str):
            value = {"name": value}
        found = read(Algorithm, {"parameters": {}, **value} if isinstance(value, Mapping) else value, key)
        read(parameters(found.name, f"{key}.name"), found.parameters, f"{key}.parameters")
        return found

    return reader


def _detector(kind: str) -> Reader:
    def parameters(name: str, key: str) -> type[t.Any]:
        known = _detectors.detectors(kind)
        return known[choice(*known)(name, key)][1]

    return _algorithm(parameters)


def _selection(name: str, key: str) -> type[t.Any]:
    known = _selections.selections()
    return known[choice(*known)(name, key)][1]


def _placement(name: str, key: str) -> type[t.Any]:
    choice(*PLACEMENTS)(name, key)
    return best_fit.Parameters


@dataclass(frozen=True, slots=True)
class Consolidation:
    """How the strategy consolidate works. Each algorithm is a name, or a mapping with name and parameters.

    overload: the detector of hosts that have to give domains away.
    underload: the detector of hosts that may be emptied.
    selection: which domains leave an overloaded host.
    placement: to which host a domain goes.
    spare_hosts: how many hosts without a domain stay awake as a reserve.
    idle_rounds: after how many runs in a row without a domain a host is put to sleep; 0 = at the end of the run that
      emptied it.
    """

    overload: Algorithm = option(Algorithm("threshold", {}), _detector("overload"))  # noqa: RUF009  # makes a field
    underload: Algorithm = option(Algorithm("threshold", {}), _detector("underload"))  # noqa: RUF009  # makes a field
    selection: Algorithm = option(  # noqa: RUF009  # makes a field
        Algorithm("minimum_migration_time", {}), _algorithm(_selection)
    )
    placement: Algorithm = option(  # noqa: RUF009  # makes a field
        # Below the threshold of overload, so that a host is not overloaded as soon as it has been filled.
        Algorithm("power_aware_best_fit_decreasing", {"cpu_fill": 0.7}),
        _algorithm(_placement),
    )
    spare_hosts: int = option(1, whole(0))
    idle_rounds: int = option(2, whole(0))
