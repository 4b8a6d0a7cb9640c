# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter residents: which domains each host has, now or after a plan."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.domains_by_host import (
    residents as list_residents,
)


def residents(snapshot: t.Any, plan: t.Any = None, tuning: bool = False) -> dict[str, list[str]]:
    """List them, see the documentation beside this file."""
    try:
        return list_residents(
            document(snapshot, "The snapshot"), None if plan is None else document(plan, "The plan"), tuning=tuning
        )
    except BalanceError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"residents": residents}
