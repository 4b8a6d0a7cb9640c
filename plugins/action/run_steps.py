# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Divides a plan, and the moves and restarts that earlier runs left unfinished, into the steps of a run."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document, plain
from ansible_collections.virtops.balance.plugins.plugin_utils._run import steps
from ansible_collections.virtops.balance.plugins.plugin_utils._run_action import (
    Json,
    RunAction,
    host_variables,
    leases,
    of_hosts,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.interrupted_restarts import interrupted_restarts


class ActionModule(RunAction):
    """The action; its documentation is that of the module of the same name."""

    spec: t.ClassVar[Json] = {
        "kinds": {"type": "list", "elements": "str", "choices": list(steps.KINDS), "required": True},
        "drain": {"type": "list", "elements": "str", "default": []},
        "states": {"type": "list", "elements": "str", "default": ["stop", "create", "run"]},
        "shutdown_seconds": {"type": "float", "default": 0},
    }

    def act(self, arguments: Json, variables: Json) -> Json:
        """Divide the plan into steps."""
        finish = "finish" in arguments["kinds"]
        interrupted = self._interrupted(arguments["drain"], variables) if finish else []
        work = steps.Work(
            plain(self.given("balance_plan", variables)) if "balance_plan" in variables else {"waves": []},
            unfinished=self._unfinished(variables) if finish else (),
            interrupted=interrupted,
            unleased=leases(variables)["failures"],
            shutdown_seconds=arguments["shutdown_seconds"],
            states=arguments["states"],
        )
        return {"steps": steps.steps(arguments["kinds"], work), "interrupted": interrupted}

    def _interrupted(self, drain: list[str], variables: Json) -> list[Json]:
        # All hosts have to be known for it: a domain that is shut off on two hosts may run on a third one.
        return interrupted_restarts(document(self.given("balance_fleet", variables), "The snapshot"), drain)

    def _unfinished(self, variables: Json) -> list[str]:
        seen = of_hosts(host_variables(variables), "balance_observation")
        briefs = {name: (known["balance_observation"] or {}).get("brief") or {} for name, known in seen.items()}
        return [name for name, brief in briefs.items() if brief.get("unfinished_moves")]
