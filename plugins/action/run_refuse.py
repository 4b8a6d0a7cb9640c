# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Ends a run before it touches anything, and saves the reason."""

from __future__ import annotations

import contextlib
import json
import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import plain
from ansible_collections.virtops.balance.plugins.plugin_utils._run_action import Json, RunAction, stop

# A run that has woken hosts, or ended a round of a maintenance, has touched something: it fails, and is not refused.
TOUCHED = ("balance_woken", "balance_touched")


class ActionModule(RunAction):
    """The action; its documentation is that of the module of the same name."""

    spec: t.ClassVar[Json] = {
        "reason": {"type": "str", "required": True},
        "problem": {"type": "str", "required": True},
    }

    def act(self, arguments: Json, variables: Json) -> Json:
        """Save the reason and fail."""
        # A run that is refused at once has no directory yet.
        if not any(name in variables for name in TOUCHED) and self.run_directory(variables).is_dir():
            refusal = {"schema": 1, **arguments}
            # Which hosts are unknown is told in any case: the next run takes it for no news.
            if "balance_unknown_hosts" in variables:
                refusal["unknown_hosts"] = plain(self.given("balance_unknown_hosts", variables))
            # The reason is told in any case.
            with contextlib.suppress(OSError):
                self.save("refused.json", json.dumps(refusal, indent=4, sort_keys=True), variables)
        return stop(arguments["problem"])
