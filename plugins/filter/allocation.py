# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Filters that give domains a host and CPU."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.problem import Problem
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.registry import allocate as solve
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.plan import allocation_plan as make_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_filter import Filter, as_filter, json_of, time


@as_filter(problem=json_of("The problem"))
def allocate(problem: t.Any, strategy: t.Any, parameters: t.Any = None) -> dict[str, t.Any]:
    """Decide which domain goes on which host and how much CPU it gets there."""
    return solve(Problem.from_mapping(problem), strategy, parameters).to_mapping()


@as_filter(snapshot=json_of("The snapshot"), now=time, problem_as_data=True)
def allocation_plan(
    snapshot: t.Any,
    domains: t.Any = None,
    allocation: t.Any = None,
    policy: t.Any = None,
    now: t.Any = None,
    answers: t.Any = None,
) -> dict[str, t.Any]:
    """Decide where domains run and how much CPU each gets, and what has to be done for it."""
    return make_plan(snapshot, {} if domains is None else domains, allocation, policy, now=now, answers=answers)


class FilterModule:
    """Filters of allocation."""

    def filters(self) -> dict[str, Filter]:
        """Return the filters by name."""
        return {"allocate": allocate, "allocation_plan": allocation_plan}
