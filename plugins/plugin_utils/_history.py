# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Histories as data_model.rst has them: equal steps, oldest first, null where a sample is missing."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from datetime import datetime

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import SnapshotError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import number
from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse

STEP_SECONDS = 60.0
"""Of a history that does not say its own."""

Samples = tuple[float | None, ...]


def host_history(data: t.Mapping[str, t.Any]) -> tuple[Samples, float]:
    """The CPU use of a host and the seconds of a step; raise SnapshotError where something is wrong."""
    return _column(data, "cpu"), _step(data)


def domain_history(data: t.Mapping[str, t.Any]) -> tuple[Samples, float]:
    """The cores that a domain used and the seconds of a step; raise SnapshotError where something is wrong."""
    return _column(data, "cpu_cores"), _step(data)


def ends_at(data: t.Mapping[str, t.Any]) -> datetime | None:
    """The time of the last sample, None where the history does not say it."""
    return parse(str(data["ends_at"])) if data.get("ends_at") else None


def _step(data: t.Mapping[str, t.Any]) -> float:
    return t.cast(float, number(0, above=True)(data.get("step_seconds", STEP_SECONDS), "step_seconds of a history"))


def _column(data: t.Mapping[str, t.Any], key: str) -> Samples:
    values = data.get(key) if isinstance(data, Mapping) else None
    if not isinstance(values, list):
        raise SnapshotError(f"A history needs the list {key!r}, numbers of at least 0 or null, oldest first.")
    for value in values:
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0):
            raise SnapshotError(f"A history has {value!r} in {key!r}; each must be a number of at least 0 or null.")
    return tuple(None if value is None else float(value) for value in values)
