# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Filters that judge the load of hosts by its history."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_filter import Filter, as_filter
from ansible_collections.virtops.balance.plugins.plugin_utils._detection import registry as detectors
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import number, whole
from ansible_collections.virtops.balance.plugins.plugin_utils._selection import registry as selections
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.history import read_history


@as_filter()
def detect(
    history: t.Any,
    detector: t.Any = "threshold",
    parameters: t.Any = None,
    kind: t.Any = "overload",
    step_seconds: t.Any = None,
    migration_seconds: t.Any = 0,
    state: t.Any = None,
    new: t.Any = None,
) -> dict[str, t.Any]:
    """Decide from its history whether a host is overloaded or underloaded."""
    series = read_history(history if isinstance(history, Mapping) else {"cpu": history}, "cpu", "The history")
    if series is None:
        raise BalanceError("There is no history.")
    verdict = detectors.detect(
        detectors.History.of(series.samples, whole(0, nullable=True)(new, "new")),
        detector,
        parameters,
        kind=kind,
        step=number(0, above=True)(series.step if step_seconds is None else step_seconds, "step_seconds"),
        migration_time=number(0)(migration_seconds, "migration_seconds"),
        state=state,
    )
    return {"decision": verdict.decision, "state": verdict.state, "numbers": verdict.numbers}


@as_filter()
def select(
    candidates: t.Any, selection: t.Any = selections.FALLBACK, parameters: t.Any = None, state: t.Any = None
) -> dict[str, t.Any]:
    """Decide which domain leaves an overloaded host."""
    return selections.select(selections.domains_from(candidates), selection, parameters, state=state)._asdict()


class FilterModule:
    """Filters of detection."""

    def filters(self) -> dict[str, Filter]:
        """Return the filters by name."""
        return {"detect": detect, "select": select}
