# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Which algorithms consolidation uses."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation import best_fit
from ansible_collections.virtops.balance.plugins.plugin_utils._detection import registry as _detectors
from ansible_collections.virtops.balance.plugins.plugin_utils._options import Reader, choice, option, whole
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.algorithm import Algorithm, algorithm
from ansible_collections.virtops.balance.plugins.plugin_utils._selection import registry as _selections

PLACEMENTS = ("best_fit_decreasing", "power_aware_best_fit_decreasing")


def _detector(kind: str) -> Reader:
    def parameters(name: str, key: str) -> type[t.Any]:
        known = _detectors.detectors(kind)
        return known[choice(*known)(name, key)][1]

    return algorithm(parameters)


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
        Algorithm("minimum_migration_time", {}), algorithm(_selection)
    )
    placement: Algorithm = option(  # noqa: RUF009  # makes a field
        # Below the threshold of overload, so that a host is not overloaded as soon as it has been filled.
        Algorithm("power_aware_best_fit_decreasing", {"cpu_fill": 0.7}),
        algorithm(_placement),
    )
    spare_hosts: int = option(1, whole(0))
    idle_rounds: int = option(2, whole(0))
