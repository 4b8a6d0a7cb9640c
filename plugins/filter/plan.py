# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter plan: a snapshot and a policy -> what to move where, in which order and why."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document, plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan as make_plan


def plan(snapshot: t.Any, policy: t.Any = None, now: t.Any = None, problem_as_data: bool = False) -> dict[str, t.Any]:
    """Plan, see the documentation beside this file."""
    if now is not None and not isinstance(now, str):
        raise AnsibleFilterError(f"now must be a time such as 2026-01-31T12:00:00Z, not {now!r}.")
    try:
        return make_plan(document(snapshot, "The snapshot"), plain(policy), now=plain(now))
    except BalanceError as error:
        if problem_as_data:
            return {"problem": str(error)}
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"plan": plan}
