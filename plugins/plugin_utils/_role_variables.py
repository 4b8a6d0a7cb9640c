# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The variables of the role balance. Their names begin with ``balance_``, and no other variable's name may: one that is
misspelt would do nothing, in silence."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._options import near

PREFIX = "balance_"
MOST_TOLD = 5

OPTIONS = frozenset(
    (
        "balance_allocation",
        "balance_approved_plan",
        "balance_domains",
        "balance_drain",
        "balance_drain_for",
        "balance_drain_give_back",
        "balance_drain_restart",
        "balance_file_prefix",
        "balance_forget",
        "balance_history",
        "balance_history_source",
        "balance_history_step",
        "balance_host_speed",
        "balance_hosts",
        "balance_interval",
        "balance_lease_owner",
        "balance_lease_purpose",
        "balance_lease_seconds",
        "balance_lease_wait_seconds",
        "balance_maintain",
        "balance_maintenance_most",
        "balance_maintenance_name",
        "balance_maintenance_tasks",
        "balance_maintenance_wait_seconds",
        "balance_migrate_uri",
        "balance_migration_uri",
        "balance_named",
        "balance_policy",
        "balance_policy_changes",
        "balance_power_control",
        "balance_power_model",
        "balance_prometheus",
        "balance_prometheus_names",
        "balance_record",
        "balance_refusal",
        "balance_run_dir",
        "balance_settle_seconds",
        "balance_shared_paths",
        "balance_shutdown_force",
        "balance_shutdown_seconds",
        "balance_snapshot",
        "balance_states",
        "balance_strategy",
        "balance_tags",
        "balance_uri",
    )
)
"""What is given to the role: those of its argument_specs."""

FACTS = frozenset(
    (
        "balance_acts",
        "balance_agree",
        "balance_asked",
        "balance_back",
        "balance_drain_mark",
        "balance_drain_objections",
        "balance_file",
        "balance_finished_moves",
        "balance_fleet",
        "balance_interrupted",
        "balance_kinds",
        "balance_last_states",
        "balance_lease",
        "balance_leases",
        "balance_maintained",
        "balance_named_hosts",
        "balance_next",
        "balance_observation",
        "balance_outcome",
        "balance_outcomes",
        "balance_phase",
        "balance_plan",
        "balance_power_problem",
        "balance_results",
        "balance_round",
        "balance_round_index",
        "balance_round_number",
        "balance_rounds",
        "balance_saved_outcome",
        "balance_saved_plan",
        "balance_step",
        "balance_table",
        "balance_touched",
        "balance_tuning",
        "balance_unknown_hosts",
        "balance_wave",
        "balance_woken",
        "balance_work",
    )
)
"""What runs set besides, which an earlier run of the same play, or a job of the same workflow, may have left."""


def unknown_variables(names: t.Iterable[str]) -> list[str]:
    """A sentence for each of the names that begins like a variable of the role and is none."""
    unknown = sorted({name for name in names if name.startswith(PREFIX)} - OPTIONS - FACTS)
    told = []
    for name in unknown[:MOST_TOLD]:
        meant = near(name, OPTIONS)
        told.append(f"There is no variable {name}{'.' if meant is None else f': did you mean {meant}?'}")
    if len(unknown) > MOST_TOLD:
        told.append(f"There are {len(unknown) - MOST_TOLD} more such variables.")
    return [*told, f"Names that begin with {PREFIX} are the collection's; give yours others."] if told else []
