# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter allocate: hosts and domains -> which domain goes where with how much CPU."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation import allocate as solve
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_problem import Problem
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._plain import document, plain


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
