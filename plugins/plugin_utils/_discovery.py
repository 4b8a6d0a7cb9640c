# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Finds the files of a folder in which each file is one strategy, detector, selection or constraint."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

_PACKAGE = "ansible_collections.virtops.balance.plugins.plugin_utils."


@cache
def names(folder: str) -> tuple[str, ...]:
    """The names of the files in a folder beside this one (``_rules.constraints``), sorted, without importing them."""
    package = importlib.import_module(_PACKAGE + folder)
    return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__)))


@cache
def load(folder: str) -> None:
    """Import every file of a folder, so that its contents register."""
    for name in names(folder):
        importlib.import_module(f"{_PACKAGE}{folder}.{name}")
