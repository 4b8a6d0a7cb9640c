# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Fail with a message, and without the place in the collection's own files that Ansible prints beside it."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.virtops.balance.plugins.plugin_utils._run_action import stop


class ActionModule(ActionBase):
    """The action; its documentation is that of the module of the same name."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Fail, and change nothing."""
        result = super().run(tmp, task_vars)
        _spec, arguments = self.validate_argument_spec(argument_spec={"msg": {"type": "str", "required": True}})
        return {**result, **stop(arguments["msg"])}
