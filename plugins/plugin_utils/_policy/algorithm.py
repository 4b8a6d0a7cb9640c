# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""An algorithm as a policy names it: a name, or a name and parameters."""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._options import Reader, mapping, read, required, text


@dataclass(frozen=True, slots=True)
class Algorithm:
    """name: of the algorithm. parameters: its own, as plain data, already validated."""

    name: str = required(text)
    parameters: Mapping[str, t.Any] = required(mapping)


def algorithm(parameters: Callable[[str, str], type[t.Any]]) -> Reader:
    """``parameters`` gives the dataclass of an algorithm's parameters by its name; the key is for messages."""

    def reader(value: t.Any, key: str) -> Algorithm:
        if isinstance(value, str):
            value = {"name": value}
        found = read(Algorithm, {"parameters": {}, **value} if isinstance(value, Mapping) else value, key)
        read(parameters(found.name, f"{key}.name"), found.parameters, f"{key}.parameters")
        return found

    return reader
