# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter experiment_report: the results of all strategies -> an HTML page."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.model import Experiment, from_csv
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.page import experiment_page


def experiment_report(results: t.Any, settings: t.Any) -> str:
    """Make the page, see the documentation beside this file."""
    try:
        wanted = Experiment.from_mapping(plain(settings))
        return experiment_page(wanted, [row for text in plain(results) for row in from_csv(wanted, text)])
    except BalanceError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"experiment_report": experiment_report}
