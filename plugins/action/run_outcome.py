# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Compares the plan with the results of all hosts and with the fleet afterwards."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document, plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.outcome import outcome
from ansible_collections.virtops.balance.plugins.plugin_utils._report.outcome_table import outcome_table
from ansible_collections.virtops.balance.plugins.plugin_utils._run_action import Json, RunAction, outcomes


class ActionModule(RunAction):
    """The action; its documentation is that of the module of the same name."""

    def act(self, arguments: Json, variables: Json) -> Json:
        """Compare the plan with the results of all hosts."""
        fleet = document(self.given("balance_fleet", variables), "The snapshot")
        try:
            found = outcome(plain(self.given("balance_plan", variables)), outcomes(variables), fleet)
        except BalanceError as error:
            return {"failed": True, "msg": str(error)}
        return {"outcome": found, "table": outcome_table(found)}
