# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter outcome: a plan and what happened -> what became of it."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document, plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.outcome import outcome as make_outcome


def outcome(plan: t.Any, results: t.Any, snapshot: t.Any) -> dict[str, t.Any]:
    """Compare, see the documentation beside this file."""
    try:
        return make_outcome(document(plan, "The plan"), plain(results), document(snapshot, "The snapshot"))
    except BalanceError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"outcome": outcome}
