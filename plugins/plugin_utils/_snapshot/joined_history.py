# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Joins what several hosts recorded about one domain to one history."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse, stamp

Json = dict[str, t.Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_COLUMNS = ("step_seconds", "ends_at")
_DIGITS = 6
_FARTHEST = 100_000
"""A history that is so many steps away from the first one is of a host whose clock is wrong by years."""


def join(histories: Iterable[t.Any]) -> Json | None:
    """Join histories, the ones that are to be believed first; None where none of them says anything.

    Steps end at the same times on all hosts, so each step has one value at most: that of the first history that has
    one. A history with steps of another length or of another time than the first one has, or that is malformed, is
    left out.
    """
    usable = [parsed for parsed in map(_Parsed.of, histories) if parsed is not None]
    if len(usable) < 2:
        return usable[0].to_mapping() if usable else None
    first = usable[0]
    usable = [parsed for parsed in usable if parsed.step == first.step and abs(parsed.end - first.end) < _FARTHEST]
    begin, end = min(parsed.begin for parsed in usable), max(parsed.end for parsed in usable)
    names = sorted({name for parsed in usable for name in parsed.columns})
    columns = {name: [_first(usable, name, number) for number in range(begin, end)] for name in names}
    return _Parsed(first.step, begin, end, columns).to_mapping()


def at_speed(history: t.Any, factor: float) -> t.Any:
    """A history of a domain in cores that are ``factor`` times slower than those in which it was measured."""
    if factor == 1.0 or not isinstance(history, Mapping) or not isinstance(history.get("cpu_cores"), list):
        return history
    cores = [
        round(used * factor, _DIGITS) if isinstance(used, (int, float)) and not isinstance(used, bool) else used
        for used in history["cpu_cores"]
    ]
    return {**history, "cpu_cores": cores}


class _Parsed(t.NamedTuple):
    """A history with its steps numbered since 1970: the first is ``begin``, the one after the last ``end``."""

    step: int
    begin: int
    end: int
    columns: t.Mapping[str, list[t.Any]]

    @classmethod
    def of(cls, data: t.Any) -> _Parsed | None:
        if not isinstance(data, Mapping):
            return None
        step, moment = data.get("step_seconds"), parse(str(data.get("ends_at")))
        columns = {name: values for name, values in data.items() if name not in _NO_COLUMNS}
        if not isinstance(step, int) or step < 1 or moment is None or not columns:
            return None
        if not all(isinstance(values, list) for values in columns.values()):
            return None
        lengths = {len(values) for values in columns.values()}
        if len(lengths) != 1:
            return None
        end = round((moment - _EPOCH).total_seconds() / step)
        return cls(step, end - lengths.pop(), end, columns)

    def to_mapping(self) -> Json:
        moment = _EPOCH + timedelta(seconds=self.end * self.step)
        return {
            "step_seconds": self.step,
            "ends_at": stamp(moment),
            **{name: list(values) for name, values in self.columns.items()},
        }

    def value(self, name: str, number: int) -> t.Any:
        if name not in self.columns or not self.begin <= number < self.end:
            return None
        return self.columns[name][number - self.begin]


def _first(usable: list[_Parsed], name: str, number: int) -> t.Any:
    return next((value for parsed in usable if (value := parsed.value(name, number)) is not None), None)
