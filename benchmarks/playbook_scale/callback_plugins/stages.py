# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Writes how long each task took, as JSON lines, into the file that STAGES names."""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Runs beside the usual output."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "stages"

    def __init__(self) -> None:
        super().__init__()
        self._open: tuple[str, float] | None = None

    def _close(self) -> None:
        if self._open is not None:
            name, since = self._open
            with open(os.environ["STAGES"], "a", encoding="utf-8") as out:
                out.write(json.dumps({"stage": name, "seconds": time.monotonic() - since}) + "\n")

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        """A task begins, so the one before has ended."""
        self._close()
        self._open = (task.get_name(), time.monotonic())

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        """The last task has ended."""
        self._close()
