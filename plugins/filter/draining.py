# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Filters that prepare and check draining and maintenance."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_filter import (
    Filter,
    as_filter,
    json_of,
    list_of,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.draining import left, objections
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.maintenance_rounds import rounds


@as_filter(plan=json_of("The plan"), snapshot=json_of("The snapshot"), hosts=list_of("The hosts", str))
def drain_left(plan: t.Any, snapshot: t.Any, hosts: t.Any) -> list[str]:
    """Name the domains that are still on drained hosts, and why."""
    return left(plan, snapshot, hosts)


# Hosts that cannot be checked cannot be drained either, so an error is an objection.
@as_filter(snapshot=json_of("The snapshot"), hosts=list_of("The hosts", str), problem_as_list=True)
def drain_objections(snapshot: t.Any, hosts: t.Any, policy: t.Any = None) -> list[str]:
    """Name the reasons not to drain hosts."""
    return objections(snapshot, hosts, policy)


@as_filter(snapshot=json_of("The snapshot"), hosts=list_of("The hosts", str), name=str, problem_as_data=True)
def maintenance_rounds(
    snapshot: t.Any, hosts: t.Any, policy: t.Any = None, name: str = "", most: t.Any = None
) -> dict[str, t.Any]:
    """Divide hosts into rounds of hosts that may be down together."""
    return rounds(snapshot, hosts, policy, name=name, most=most)


class FilterModule:
    """Filters of draining."""

    def filters(self) -> dict[str, Filter]:
        """Return the filters by name."""
        return {
            "drain_left": drain_left,
            "drain_objections": drain_objections,
            "maintenance_rounds": maintenance_rounds,
        }
