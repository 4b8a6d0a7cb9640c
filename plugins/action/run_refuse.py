# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Ends a run before it touches anything, and saves the reason."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._run_action import Json, RunAction


class ActionModule(RunAction):
    """The action; its documentation is that of the module of the same name."""

    spec: t.ClassVar[Json] = {
        "reason": {"type": "str", "required": True},
        "problem": {"type": "str", "required": True},
        "shown": {"type": "str"},
    }

    def act(self, arguments: Json, variables: Json) -> Json:
        """Save the reason and fail."""
        return self.refuse(arguments["reason"], arguments["problem"], variables, shown=arguments.get("shown"))
