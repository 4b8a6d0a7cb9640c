# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Decides before each step of a run whether leases have to be renewed first, and whether it may start."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document, plain
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.left_out import left_out
from ansible_collections.virtops.balance.plugins.plugin_utils._run import leases, steps
from ansible_collections.virtops.balance.plugins.plugin_utils._run_action import Json, RunAction, gone, outcomes
from ansible_collections.virtops.balance.plugins.plugin_utils._run_action import leases as leases_of


class ActionModule(RunAction):
    """The action; its documentation is that of the module of the same name."""

    spec: t.ClassVar[Json] = {
        "ordered": {"type": "bool", "default": False},
        "wave": {"type": "int", "default": 0},
        "seconds": {"type": "float", "default": 0},
        "lease_seconds": {"type": "float", "required": True},
    }

    def act(self, arguments: Json, variables: Json) -> Json:
        """Decide about the next step."""
        leased, length = leases_of(variables), arguments["lease_seconds"]
        done, start = outcomes(variables), True
        left: list[int] = []
        if arguments["ordered"]:
            plan, number = plain(self.given("balance_plan", variables)), arguments["wave"]
            absent = {*gone(variables), *leases.lost(leased["failures"])}
            start = steps.may_start(plan, done, gone=absent, wave=number > 0)
            if start and number and any(map(steps.did_not_happen, done)):
                fleet = document(self.given("balance_fleet", variables), "The snapshot")
                why = left_out(plan, done, fleet, number)
                kind, moves = steps.moves_of(plan, number)
                left = [move["number"] for move in moves if move["number"] in why]
                without = [{kind: move, "left_out": why[move["number"]]} for move in moves if move["number"] in why]
                done, start = outcomes(variables, without), len(left) < len(moves)
        return {
            "outcomes": done,
            "left_out": left,
            "renew": leases.due(leased["at"], time.time(), step_seconds=arguments["seconds"], lease_seconds=length),
            "keep_seconds": leases.keep_seconds(step_seconds=arguments["seconds"], lease_seconds=length),
            "start": start,
        }
