# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter outcome_table: the outcome of a run as text for a terminal."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._report.outcome_table import outcome_table as make_table


def outcome_table(outcome: t.Any) -> str:
    """Make the text, see the documentation beside this file."""
    try:
        return make_table(document(outcome, "The outcome"))
    except BalanceError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"outcome_table": outcome_table}
