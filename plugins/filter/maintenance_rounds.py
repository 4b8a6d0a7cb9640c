# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter maintenance_rounds: a snapshot and hosts to maintain -> rounds of hosts that may be down together."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document, plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.maintenance_rounds import rounds


def maintenance_rounds(
    snapshot: t.Any,
    hosts: t.Any,
    policy: t.Any = None,
    name: t.Any = "",
    most: t.Any = None,
    problem_as_data: bool = False,
) -> dict[str, t.Any]:
    """Divide the hosts, see the documentation beside this file."""
    try:
        return rounds(document(snapshot, "The snapshot"), plain(hosts), plain(policy), name=str(name), most=plain(most))
    except BalanceError as error:
        if problem_as_data:
            return {"problem": str(error)}
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"maintenance_rounds": maintenance_rounds}
