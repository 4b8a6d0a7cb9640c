# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Filters that show plans, outcomes and histories to a person."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_filter import Filter, as_filter, json_of
from ansible_collections.virtops.balance.plugins.plugin_utils._report.allocation_table import (
    allocation_table as make_allocation_table,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._report.outcome_table import (
    outcome_table as make_outcome_table,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._report.plan_table import plan_table as make_plan_table
from ansible_collections.virtops.balance.plugins.plugin_utils._report.timeline_page import timeline_page


@as_filter(plan=json_of("The plan"))
def allocation_table(plan: t.Any) -> str:
    """Show the plan of an allocation as text for a terminal."""
    return make_allocation_table(plan)


@as_filter(outcome=json_of("The outcome"))
def outcome_table(outcome: t.Any) -> str:
    """Show the outcome of a run as text for a terminal."""
    return make_outcome_table(outcome)


@as_filter(plan=json_of("The plan"))
def plan_table(plan: t.Any) -> str:
    """Show a plan as text for a terminal."""
    return make_plan_table(plan)


@as_filter(snapshot=json_of("The snapshot"))
def timeline_report(
    snapshot: t.Any,
    runs: t.Any,
    begin: t.Any = None,
    title: t.Any = "Hosts over time",
    events: t.Any = None,
    settings: t.Any = None,
) -> str:
    """Show the CPU of each host over time and when domains moved, as an HTML page."""
    return timeline_page(snapshot, runs, begin=begin, title=title, events=events, settings=settings)


class FilterModule:
    """Filters of reports."""

    def filters(self) -> dict[str, Filter]:
        """Return the filters by name."""
        return {
            "allocation_table": allocation_table,
            "outcome_table": outcome_table,
            "plan_table": plan_table,
            "timeline_report": timeline_report,
        }
