# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter policy: what a person wrote -> the complete policy, or one sentence about what is wrong with it."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import plain, settings
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._run.policy import for_run


def policy(
    policy: t.Any,
    changes: t.Any = None,
    problem_as_data: bool = False,
    strategy: t.Any = "",
    drain: t.Any = (),
    restart: t.Any = False,
) -> dict[str, t.Any]:
    """Complete it, see the documentation beside this file."""
    try:
        wanted = {**settings(policy, "The policy"), **settings(changes, "What changes in the policy")}
        found = Policy.from_mapping(wanted).to_mapping()
        return for_run(found, strategy=str(strategy), drain=plain(drain), restart=bool(restart))
    except BalanceError as error:
        if problem_as_data:
            return {"problem": str(error)}
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"policy": policy}
