# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Decides before each step of a run whether leases have to be renewed first, and whether it may start."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import plain
from ansible_collections.virtops.balance.plugins.plugin_utils._run import leases, steps
from ansible_collections.virtops.balance.plugins.plugin_utils._run_action import Json, RunAction, gone, outcomes
from ansible_collections.virtops.balance.plugins.plugin_utils._run_action import leases as leases_of


class ActionModule(RunAction):
    """The action; its documentation is that of the module of the same name."""

    spec: t.ClassVar[Json] = {
        "ordered": {"type": "bool", "default": False},
        "seconds": {"type": "float", "default": 0},
        "lease_seconds": {"type": "float", "required": True},
    }

    def act(self, arguments: Json, variables: Json) -> Json:
        """Decide about the next step."""
        leased, length = leases_of(variables), arguments["lease_seconds"]
        done = outcomes(variables)
        return {
            "outcomes": done,
            "renew": leases.due(leased["at"], time.time(), step_seconds=arguments["seconds"], lease_seconds=length),
            "keep_seconds": leases.keep_seconds(step_seconds=arguments["seconds"], lease_seconds=length),
            "start": not arguments["ordered"] or self._may_start(leased["failures"], done, variables),
        }

    def _may_start(self, failures: Json, done: list[Json], variables: Json) -> bool:
        plan = plain(self.given("balance_plan", variables))
        return steps.may_start(plan, done, gone={*gone(variables), *leases.lost(failures)})
