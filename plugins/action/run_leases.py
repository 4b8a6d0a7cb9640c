# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Judges the leases of all hosts at once."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._run import leases
from ansible_collections.virtops.balance.plugins.plugin_utils._run_action import (
    Json,
    RunAction,
    host_variables,
    of_hosts,
)


class ActionModule(RunAction):
    """The action; its documentation is that of the module of the same name."""

    spec: t.ClassVar[Json] = {
        "owner": {"type": "str", "required": True},
        "renewed": {"type": "dict"},
    }

    def act(self, arguments: Json, variables: Json) -> Json:
        """Judge the result of host_lease on each host."""
        said = of_hosts(host_variables(variables), "balance_lease")
        results = {name: known["balance_lease"] or {} for name, known in said.items()}
        before = arguments["renewed"]
        found = leases.judge(results, arguments["owner"]) if before is None else leases.renewed(results, before)
        return {**found, "at": time.time()}
