# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Filters that plan moves and compare a plan with reality."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_filter import (
    Filter,
    as_filter,
    json_of,
    list_of,
    time,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.best_host import best_host as find_best_host
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.outcome import outcome as make_outcome
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan as make_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.revalidate import objections


@as_filter(snapshot=json_of("The snapshot"), now=time, problem_as_data=True)
def plan(snapshot: t.Any, policy: t.Any = None, now: t.Any = None, answers: t.Any = None) -> dict[str, t.Any]:
    """Decide which domains to move where, in which order and why."""
    return make_plan(snapshot, policy, now=now, answers=answers)


# A plan that cannot be checked cannot be carried out either, so an error is an objection.
@as_filter(plan=json_of("The approved plan"), snapshot=json_of("The snapshot"), problem_as_list=True)
def plan_objections(plan: t.Any, snapshot: t.Any) -> list[str]:
    """Name the reasons not to carry out a saved plan."""
    return objections(plan, snapshot)


@as_filter(snapshot=json_of("The snapshot"))
def best_host(snapshot: t.Any, domain: t.Any, policy: t.Any = None) -> t.Any:
    """Find the best host for a domain that does not run yet."""
    return find_best_host(snapshot, domain, policy)


@as_filter(plan=json_of("The plan"), results=list_of("The results", dict), snapshot=json_of("The snapshot"))
def outcome(plan: t.Any, results: t.Any, snapshot: t.Any) -> dict[str, t.Any]:
    """Compare a plan with what became of it."""
    return make_outcome(plan, results, snapshot)


class FilterModule:
    """Filters of plans."""

    def filters(self) -> dict[str, Filter]:
        """Return the filters by name."""
        return {"plan": plan, "plan_objections": plan_objections, "best_host": best_host, "outcome": outcome}
