# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter experiment: what defines an experiment -> the results of one strategy."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.model import Experiment, run, to_csv


def experiment(settings: t.Any, strategy: t.Any) -> str:
    """Run it, see the documentation beside this file."""
    try:
        wanted = Experiment.from_mapping(plain(settings))
        return to_csv(wanted, run(wanted, plain(strategy)))
    except BalanceError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"experiment": experiment}
