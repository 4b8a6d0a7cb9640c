# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter allocate: hosts and domains -> which domain goes where with how much CPU."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.problem import Problem
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.registry import allocate as solve
from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document, plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError


def allocate(problem: t.Any, strategy: t.Any, parameters: t.Any = None) -> dict[str, t.Any]:
    """Allocate, see the documentation beside this file."""
    try:
        return solve(
            Problem.from_mapping(document(problem, "The problem")), plain(strategy), plain(parameters)
        ).to_mapping()
    except BalanceError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"allocate": allocate}
