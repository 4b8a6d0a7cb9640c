# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Print text as it is: the callbacks quote, wrap or escape what debug prints."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.virtops.balance.plugins.plugin_utils._shown_text import is_left_to_a_callback


class ActionModule(ActionBase):
    """The action; its documentation is that of the module of the same name."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Print the text, and change nothing."""
        result = super().run(tmp, task_vars)
        _spec, arguments = self.validate_argument_spec(argument_spec={"text": {"type": "str", "required": True}})
        if not is_left_to_a_callback():
            Display().display(arguments["text"])
        return {**result, "changed": False, "text": arguments["text"]}
