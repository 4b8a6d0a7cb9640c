# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Stands in for host_info: returns a recorded observation, so that only what happens to it is measured."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Returns the file as host_info would: a mapping, or the same as JSON text."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Read the file that the argument names."""
        super().run(tmp, task_vars)
        content = Path(self._task.args["path"]).read_text(encoding="utf-8")
        shape = self._task.args["shape"]
        return {"changed": False, "observation": content if shape == "text" else json.loads(content)}
