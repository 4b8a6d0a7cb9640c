# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Histories as in data_model.rst: equal steps, oldest first, None where a sample is missing."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import SnapshotError
from ansible_collections.virtops.balance.plugins.plugin_utils._text import shown
from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse

STEP_SECONDS = 60.0
"""The step of a history that does not name one."""

LARGEST = 1e30
"""What is larger was not measured. The squares and the products of figures must be numbers as well."""

Samples = tuple[float | None, ...]
_NUMBERS = (int, float)
_ALL_NUMBERS = ({float}, {int}, {int, float})


@dataclass(frozen=True, slots=True)
class Series:
    """One column of a history. ends_at: the time of the last sample, None if the history does not name it."""

    samples: Samples
    step: float = STEP_SECONDS
    ends_at: datetime | None = None

    def aligned(self, other: Series) -> Series | None:
        """This history at the times of ``other``, None where it has no sample; None if the steps do not match."""
        if self.step != other.step or (self.ends_at is None) != (other.ends_at is None):
            return None
        late = 0
        if self.ends_at is not None and other.ends_at is not None:
            late = round((other.ends_at - self.ends_at).total_seconds() / self.step)
        size = len(other.samples)
        begin = len(self.samples) + late - size
        if begin >= 0 and late <= 0:  # as nearly always
            return replace(other, samples=self.samples[begin : begin + size])
        return replace(
            other,
            samples=tuple(
                self.samples[place] if 0 <= place < len(self.samples) else None for place in range(begin, begin + size)
            ),
        )


def read_history(data: t.Any, column: str, what: str, *, optional: bool = False) -> Series | None:
    """Read one column; null is no history, and so is an ``optional`` column that is not there. Raises SnapshotError;
    ``what`` begins its message."""
    if data is None or (optional and isinstance(data, Mapping) and column not in data):
        return None
    values = data.get(column) if isinstance(data, Mapping) else None
    if not isinstance(values, list):
        raise SnapshotError(f"{what} needs the list {column!r}, numbers of at least 0 or null, oldest first.")
    # A fleet has millions of values, nearly all of them good. What is not a number makes the sum none either.
    good = set(map(type, values)) in _ALL_NUMBERS and min(values) >= 0 and max(values) <= LARGEST >= sum(values)
    for value in () if good else values:
        if value is not None and not (type(value) in _NUMBERS and 0 <= value <= LARGEST):
            raise SnapshotError(
                f"{what} has {shown(value)} in {column!r}; each must be a number of at least 0 or null."
            )
    step = data.get("step_seconds", STEP_SECONDS)
    if not (type(step) in _NUMBERS and 0 < step <= LARGEST):
        raise SnapshotError(f"{what} has the step_seconds {shown(step)}; it must be a number above 0.")
    ends_at = data.get("ends_at")
    moment = None if ends_at is None else parse(str(ends_at))
    if ends_at is not None and moment is None:
        raise SnapshotError(f"{what} has the ends_at {ends_at!r}; it must be a time such as 2026-01-31T12:00:00Z.")
    samples = tuple(map(float, values) if good else [value if value is None else float(value) for value in values])
    return Series(samples, float(step), moment)
