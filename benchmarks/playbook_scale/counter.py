# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A callback that counts the task executions on each host and writes them as JSON into the file COUNTS names."""

from __future__ import annotations

import collections
import json
import os
import pathlib
import typing as t

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Runs beside the usual output."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "counter"

    def __init__(self) -> None:
        super().__init__()
        self._counts: collections.Counter[str] = collections.Counter()

    def v2_runner_on_start(self, host: t.Any, task: t.Any) -> None:
        """Count each task that a worker process is started for, whether it is then skipped or not."""
        self._counts[host.get_name()] += 1

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        """Write the counts; the run is over."""
        pathlib.Path(os.environ["COUNTS"]).write_text(json.dumps(self._counts), encoding="utf-8")
