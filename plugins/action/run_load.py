# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Loads a saved snapshot in place of observing hosts."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._preload import preload
from ansible_collections.virtops.balance.plugins.plugin_utils._run_action import Json, RunAction, typed_path
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot

# Ansible imports the file of an action plugin in its own process, and the tasks that use filters come after this one.
preload()


class ActionModule(RunAction):
    """The action; its documentation is that of the module of the same name."""

    spec: t.ClassVar[Json] = {"path": {"type": "str", "required": True}}

    def act(self, arguments: Json, variables: Json) -> Json:
        """Read the file and check that it is a snapshot."""
        path = typed_path(arguments["path"])
        wanted = f"balance_snapshot must be the path of a snapshot.json that a run has saved, and {path} is"
        try:
            text = self.read(path, wanted)
        except BalanceError as error:
            return self.refuse("snapshot", str(error), variables)
        try:
            Snapshot.from_mapping(document(text, "The snapshot"))
        except BalanceError as error:
            return self.refuse("snapshot", f"{wanted} none: {error}", variables)
        # The fact that is made of it is what -v shows.
        return {"snapshot": text, "_ansible_verbose_override": True}
