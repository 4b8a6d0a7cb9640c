# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter experiment_steps: what an experiment in the lab has left to do."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.lab import steps
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.model import Experiment


def experiment_steps(settings: t.Any, results: t.Any, pool: t.Any, directory: t.Any) -> list[dict[str, t.Any]]:
    """List the steps, see the documentation beside this file."""
    try:
        return steps(Experiment.from_mapping(plain(settings)), plain(results), plain(pool), plain(directory))
    except BalanceError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"experiment_steps": experiment_steps}
