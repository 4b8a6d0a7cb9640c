# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter detect: a history of CPU use -> is the host overloaded or underloaded, and by which numbers."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import plain
from ansible_collections.virtops.balance.plugins.plugin_utils._detection import registry as _detectors
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import number, whole
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.history import read_history


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
    """Detect, see the documentation beside this file."""
    given = plain(history)
    try:
        series = read_history(given if isinstance(given, Mapping) else {"cpu": given}, "cpu", "The history")
        if series is None:
            raise BalanceError("There is no history.")
        verdict = _detectors.detect(
            _detectors.History.of(series.samples, whole(0, nullable=True)(new, "new")),
            plain(detector),
            plain(parameters),
            kind=plain(kind),
            step=number(0, above=True)(series.step if step_seconds is None else step_seconds, "step_seconds"),
            migration_time=number(0)(migration_seconds, "migration_seconds"),
            state=plain(state),
        )
    except BalanceError as error:
        raise AnsibleFilterError(str(error)) from error
    return {"decision": verdict.decision, "state": verdict.state, "numbers": verdict.numbers}


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"detect": detect}
