# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Saves a file of a run on the control node, in this process: the module copy would start three others for it."""

from __future__ import annotations

import json
import os
import pathlib
import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import plain
from ansible_collections.virtops.balance.plugins.plugin_utils._run_action import Json, RunAction, stop


class ActionModule(RunAction):
    """The action; its documentation is that of the module of the same name."""

    spec: t.ClassVar[Json] = {
        "name": {"type": "str"},
        "content": {"type": "raw"},
        "before": {"type": "str"},
    }

    def act(self, arguments: Json, variables: Json) -> Json:
        """Save the file, or make the directory."""
        name, before, text = arguments["name"], arguments["before"], _text(arguments["content"])
        directory = self.run_directory(variables)
        if directory is None:
            return stop(
                "balance_run_dir is empty. Name a directory with -e balance_run_dir=DIRECTORY, or leave it out."
            )
        try:
            if not name:
                _make(directory)
                return {}
            path = self.save(directory, name, text, variables)
        except OSError as error:
            return stop(
                f"The files of the run cannot be saved in {directory}: {error.strerror}. "
                "Name another directory with -e balance_run_dir=DIRECTORY."
            )
        result: Json = {"dest": str(path), "changed": before is not None and before != text}
        if before is not None and self._task.diff:
            result["diff"] = {"before": before, "after": text, "before_header": str(path), "after_header": str(path)}
        return result


def _make(directory: pathlib.Path) -> None:
    """Make it, and those above it that are missing, for its owner alone."""
    mask = os.umask(0o077)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    finally:
        os.umask(mask)


def _text(content: t.Any) -> str:
    """Before ansible-core 2.19 a template whose text is JSON becomes the data that it stands for."""
    found = plain(content)
    return found if isinstance(found, str) else json.dumps(found, indent=4, sort_keys=True)
