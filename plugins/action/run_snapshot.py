# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Joins the observations of all hosts into the snapshot of the fleet."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._run_action import (
    Json,
    RunAction,
    gone,
    host_variables,
    leases,
    of_hosts,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.build import build_snapshot

HISTORY = "virtops.balance.prometheus_history_info"
LOST = {"failed": True, "msg": "Something failed on it earlier in this run."}
WANTED = (
    "ansible_host",
    "balance_host_speed",
    "balance_observation",
    "balance_power_model",
    "balance_prometheus_names",
    "balance_tags",
    "group_names",
)


class ActionModule(RunAction):
    """The action; its documentation is that of the module of the same name."""

    spec: t.ClassVar[Json] = {
        "last_states": {"type": "dict", "default": {}},
        "history": {"type": "int", "default": 0},
        "history_step": {"type": "int", "default": 60},
        "prometheus": {"type": "dict"},
    }

    def act(self, arguments: Json, variables: Json) -> Json:
        """Join the observations."""
        known = host_variables(variables)
        hosts = of_hosts(known, *WANTED)
        histories = None
        if arguments["prometheus"] and arguments["history"] > 0:
            found = self._read_histories(arguments, hosts, variables)
            if found.get("failed"):
                return found
            histories = found["histories"]
        # Only whether it is set counts; in it may be the password of a BMC.
        may_sleep = [name for name, own in known.items() if "balance_power_control" in own]
        try:
            return {"snapshot": json.dumps(_join(hosts, arguments, variables, histories, may_sleep))}
        except BalanceError as error:
            return {"failed": True, "msg": str(error)}

    def _read_histories(self, arguments: Json, hosts: dict[str, Json], variables: Json) -> Json:
        names = {
            name: [*(host["balance_prometheus_names"] or ()), host["ansible_host"] or ""]
            for name, host in hosts.items()
        }
        asked = {"history": arguments["history"], "history_step": arguments["history_step"], "as_json": True}
        return self.run_module(HISTORY, {**arguments["prometheus"], **asked, "hosts": names}, variables)


def _join(hosts: dict[str, Json], arguments: Json, variables: Json, histories: t.Any, may_sleep: list[str]) -> Json:
    # What was observed of a host before it failed says nothing about it now.
    seen = {
        **{name: host["balance_observation"] for name, host in hosts.items()},
        **dict.fromkeys(gone(variables), LOST),
    }
    return build_snapshot(
        seen,
        groups={name: host["group_names"] for name, host in hosts.items()},
        tags={name: host["balance_tags"] or [] for name, host in hosts.items()},
        may_sleep=may_sleep,
        power_models={name: host["balance_power_model"] for name, host in hosts.items()},
        speeds={name: host["balance_host_speed"] for name, host in hosts.items()},
        power_states={name: (said or {}).get("power_state") for name, said in seen.items()},
        leases=leases(variables)["failures"],
        last_states=arguments["last_states"],
        histories=histories if histories is None or isinstance(histories, dict) else json.loads(histories),
    )
