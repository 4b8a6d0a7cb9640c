# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter experiment_settings: what a person wrote -> all that defines an experiment."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.model import Experiment


def experiment_settings(settings: t.Any) -> dict[str, t.Any]:
    """Complete the settings, see the documentation beside this file."""
    try:
        return Experiment.from_mapping(plain(settings)).to_mapping()
    except BalanceError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"experiment_settings": experiment_settings}
