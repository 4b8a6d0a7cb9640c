# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Filters that check what a person wrote."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_filter import (
    Filter,
    as_filter,
    list_of,
    yaml_of,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._role_variables import unknown_variables as find_unknown
from ansible_collections.virtops.balance.plugins.plugin_utils._run.policy import for_run


@as_filter(
    policy=yaml_of("The policy"),
    changes=yaml_of("What changes in the policy"),
    strategy=str,
    drain=list_of("The hosts to drain", str),
    problem_as_data=True,
)
def policy(
    policy: dict[str, t.Any],
    changes: dict[str, t.Any] | None = None,
    strategy: str = "",
    drain: t.Sequence[str] = (),
    restart: bool = False,
    forget: bool = False,
) -> dict[str, t.Any]:
    """Complete and check a policy."""
    complete = Policy.from_mapping({**policy, **(changes or {})}).to_mapping()
    return for_run(complete, strategy=strategy, drain=drain, restart=bool(restart), forget=bool(forget))


@as_filter(names=str)
def unknown_variables(names: str) -> list[str]:
    """Find misspelt variables of the collection among names that are separated by spaces."""
    return find_unknown(names.split())


class FilterModule:
    """Filters of settings."""

    def filters(self) -> dict[str, Filter]:
        """Return the filters by name."""
        return {"policy": policy, "unknown_variables": unknown_variables}
