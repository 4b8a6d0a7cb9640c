# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter experiment_measured: a snapshot of the lab -> one more row of results."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document, plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.lab import measured
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.model import Experiment


def experiment_measured(
    results: t.Any, settings: t.Any, plan: t.Any, snapshot: t.Any, pool: t.Any, seconds: t.Any
) -> str:
    """Add the row, see the documentation beside this file."""
    try:
        return measured(
            Experiment.from_mapping(plain(settings)),
            plain(results),
            plain(plan),
            document(snapshot, "The snapshot"),
            pool=plain(pool),
            seconds=float(seconds),
        )
    except BalanceError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"experiment_measured": experiment_measured}
