# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Runs host_power in two places: checks of the host on the host itself, requests to its BMC on the control node.

Both have to be one task, because the facts of the host must still be true when the BMC is asked to act. Besides, a
host that sleeps cannot run a module.
"""

from __future__ import annotations

import time
import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._host.power import argument_spec, check_options
from ansible_collections.virtops.balance.plugins.plugin_utils._host_power import act as power_act
from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.control import BY_THE_HOST, build
from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.switch import PowerError

MODULE = "virtops.balance.host_power"


class ActionModule(ActionBase):
    """Puts the host to sleep, wakes it, or asks for its state."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _spec, arguments = self.validate_argument_spec(argument_spec=argument_spec())
        host = _AnsibleHost(self, arguments, task_vars)
        started = time.monotonic()
        try:
            outcome = self._act(arguments, host)
        except (PowerError, BalanceError) as error:
            return {**result, "failed": True, "changed": False, "msg": str(error)}
        return {
            **result,
            "changed": outcome.changed,
            "power": {"state": outcome.state, "seen_by": outcome.seen_by, "problem": outcome.problem},
            "seconds": round(time.monotonic() - started, 1),
            "diff": {"before": {"state": outcome.before}, "after": {"state": outcome.state}},
        }

    def _act(self, arguments: dict[str, t.Any], host: _AnsibleHost) -> power_act.Outcome:
        check_options(arguments)
        control = build(arguments["control"])
        if arguments["state"] == "query":
            return power_act.query(control, host)
        do = power_act.wake if arguments["state"] == "awake" else power_act.put_to_sleep
        return do(control, host, timeout_seconds=arguments["timeout_seconds"], check_mode=bool(self._task.check_mode))


class _AnsibleHost:
    """The host, over the connection of Ansible. The settings of BMCs and commands are not sent to it."""

    def __init__(self, action: ActionModule, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> None:
        self._action, self._arguments, self._variables = action, arguments, task_vars
        self.name = str(action._task.delegate_to or task_vars.get("inventory_hostname"))

    def reachable(self) -> bool:
        self._start_anew()
        try:
            return bool(self._action._low_level_execute_command("true")["rc"] == 0)
        except AnsibleError:
            return False

    def answer(self) -> str | None:
        # What the host itself can say is whether its libvirt answers.
        return self._ask("query")

    def wake_up(self) -> str | None:
        return self._ask("awake")

    def _ask(self, state: str) -> str | None:
        self._start_anew()
        found = self._run_module({"state": state, "control": {"wake": self._arguments["control"]["wake"]}})
        if found is None:
            return f"{self.name} cannot be reached."
        return str(found.get("msg")) if found.get("failed") else None

    def go_to_sleep(self) -> None:
        control = self._arguments["control"]
        passed = {key: control[key] for key in ("sleep", "wake", "wake_after_seconds") if control[key] is not None}
        found = self._run_module({"state": "asleep", "control": passed, "lease_owner": self._arguments["lease_owner"]})
        if found is None:
            # The connection may break while the host goes; whether it went is looked at next.
            if control["sleep"] in BY_THE_HOST and not self._action._task.check_mode:
                return
            raise PowerError(f"{self.name} cannot be reached any more, so it is left as it is.")
        if found.get("failed"):
            raise PowerError(f"{self.name}: {found.get('msg')}")

    def _run_module(self, arguments: dict[str, t.Any]) -> dict[str, t.Any] | None:
        """Return the result of the module, None if the connection failed."""
        action = self._action
        if action._discovered_interpreter_key:
            # What was found out about a host that did not answer is worth nothing.
            self._variables.get("ansible_facts", {}).pop(action._discovered_interpreter_key, None)
        try:
            return action._execute_module(
                module_name=MODULE, module_args={**arguments, "uri": self._arguments["uri"]}, task_vars=self._variables
            )
        except AnsibleConnectionFailure:
            # Its temporary directory cannot be removed any more.
            action._connection._shell.tmpdir = None
            return None

    def _start_anew(self) -> None:
        """Reset the connection: one that is kept open for reuse hangs when its host is switched off."""
        try:
            self._action._connection.reset()
        except (AttributeError, AnsibleError):
            return
