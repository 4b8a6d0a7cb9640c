# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Runs the module, and adds when it was asked and answered by the clock of the control node, to compare clocks."""

from __future__ import annotations

import time
import typing as t

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """The action; its documentation is that of the module of the same name."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the module."""
        result = super().run(tmp, task_vars)
        asked_at = time.time()
        found = self._execute_module(module_name="virtops.balance.host_doctor_info", task_vars=task_vars or {})
        return {**result, **found, "controller": {"asked_at": asked_at, "answered_at": time.time()}}
