# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What a host kept busy itself in the past: its whole use less that of all domains that were on it then.

Only the host's own observation can tell: it has the histories of domains that have left, or ended, since then.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

Json = dict[str, t.Any]

_SAME = ("step_seconds", "ends_at")


def with_own_cores(history: t.Any, threads: t.Any, domains: Iterable[t.Any]) -> t.Any:
    """The history of a host with the column own_cores, where it can be calculated; ``domains`` are the histories of all
    domains that the host knows.

    A step is null in which a domain was measured for a part of the time only, because it came, left or was not answered
    for: what is missing of it would look like the host's own.
    """
    if not isinstance(history, Mapping) or not isinstance(threads, int) or "own_cores" in history:
        return history
    cpu = history.get("cpu")
    if not _is_column(cpu):
        return history
    used, unclear = [0.0] * len(cpu), [False] * len(cpu)
    for past in domains:
        if past is None:
            continue
        if not isinstance(past, Mapping) or any(past.get(key) != history.get(key) for key in _SAME):
            return history
        cores = past.get("cpu_cores") or []
        if not _is_column(cores):
            return history
        _add(cores, used, unclear)
    own = [
        None if use is None or doubt else round(max(0.0, use * threads - cores), 3)
        for use, cores, doubt in zip(cpu, used, unclear, strict=True)
    ]
    return {**history, "own_cores": own}


def _is_column(values: t.Any) -> t.TypeGuard[list[float | None]]:
    """Is it a list of numbers or null? What else is wrong with a history is told where the snapshot is read."""
    return isinstance(values, list) and all(value is None or isinstance(value, (int, float)) for value in values)


def _add(cores: list[float | None], used: list[float], unclear: list[bool]) -> None:
    """Add a column, which ends when ``used`` ends."""
    shift = len(used) - len(cores)
    known = [place for place, value in enumerate(cores) if value is not None]
    if not known:
        return
    first, last = known[0], known[-1]
    for place in range(first - 1, last + 2):
        step = place + shift
        if not 0 <= step < len(used):
            continue
        value = cores[place] if 0 <= place < len(cores) else None
        if value is None:
            unclear[step] = True
        else:
            used[step] += value
