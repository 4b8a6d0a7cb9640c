# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Observes a host. If it does not answer, finds out whether it is off. Both are one task."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ansible_collections.virtops.balance.plugins.plugin_utils._preload import preload
from ansible_collections.virtops.balance.plugins.plugin_utils._run_action import Json, RunAction

# Ansible imports the file of an action plugin in its own process, and the tasks that use filters come after this one.
preload()

OBSERVE = "virtops.balance.host_info"
POWER = "virtops.balance.host_power"
CONTROL = "balance_power_control"


class ActionModule(RunAction):
    """The action; its documentation is that of the module of the same name."""

    spec: t.ClassVar[Json] = {
        "observe": {"type": "dict", "required": True},
        "lease_failure": {"type": "dict"},
    }

    def act(self, arguments: Json, variables: Json) -> Json:
        """Observe the host. A host without a lease is left alone, because another run may have leased it."""
        failure = arguments["lease_failure"]
        found: Json = {"skipped": True} if failure else self._observe(arguments["observe"], variables)
        silent = found.get("unreachable") or (failure or {}).get("unreachable")
        # What was put to sleep must not be on; what is off was not put to sleep for that.
        if silent and CONTROL in variables:
            found["power_state"] = self._ask(arguments["observe"].get("uri"), variables)
        return found

    def _observe(self, options: Json, variables: Json) -> Json:
        return self._try(OBSERVE, {**options, "as_json": True}, variables)

    def _ask(self, uri: t.Any, variables: Json) -> Json:
        # Passwords may have to be looked up for it, so it is evaluated only where it is needed.
        try:
            control = self._templar.template(variables[CONTROL])
        except AnsibleError as error:
            return {"failed": True, "msg": f"{CONTROL} cannot be evaluated: {error}"}
        return self._try(POWER, {"uri": uri, "state": "query", "control": control}, variables)

    def _try(self, name: str, options: Json, variables: Json) -> Json:
        try:
            return self.run_module(name, options, variables)
        except AnsibleConnectionFailure as error:
            # Its temporary directory cannot be removed any more.
            self._connection._shell.tmpdir = None
            return {"unreachable": True, "msg": str(error)}
