# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Imports what the tasks of a run need once, where each of them would import it anew.

Ansible starts a process for every task on every host, a copy of its own, and keeps no compiled code of what
collections import. For one filter it imports the files of all filters, and those import the engine: a fifth of a
second of a CPU in every task that uses one. A copy of a process that has imported it all need not.
"""

from __future__ import annotations

import importlib
import pkgutil

from ansible_collections.virtops.balance.plugins.plugin_utils._discovery import load

# What registers by name is imported when it is first asked for by name.
_FOLDERS = (
    "_allocation.strategies",
    "_demand.predictors",
    "_detection.detectors",
    "_placement.strategies",
    "_rules.constraints",
    "_selection.selections",
)
_FILTERS = "ansible_collections.virtops.balance.plugins.filter"


def preload() -> None:
    """Import all filters, and all that the engine finds by name."""
    for module in pkgutil.iter_modules(importlib.import_module(_FILTERS).__path__):
        importlib.import_module(f"{_FILTERS}.{module.name}")
    for folder in _FOLDERS:
        load(folder)
