# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The results of a run so far: of each move, restart and step, on whichever host it was made."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping, Sequence

Json = Mapping[str, t.Any]

KINDS = ("move", "restart", "step")
"""What a result is about: each has the part of the plan that it belongs to under one of these."""


def collect(known: Sequence[Json], latest: Iterable[Json | None]) -> list[Json]:
    """Return the known results and those of the latest loops that are new.

    ``latest`` is what each host registered last, null where it has not done anything. It may be of a step whose results
    are known already. A loop that failed before its first result is a result itself.
    """
    found, seen = list(known), {_subject(result) for result in known}
    for loop in latest:
        for result in _results(loop or {}):
            if _subject(result) not in seen:
                seen.add(_subject(result))
                found.append(result)
    return found


def _results(loop: Json) -> Sequence[Json]:
    return loop.get("results") or ([loop] if loop.get("failed") else [])


def _subject(result: Json) -> tuple[str, str]:
    """Return what a result is about. A domain may move twice, so a move goes by its number; a restart has none."""
    kind = next((kind for kind in KINDS if kind in result), "")
    about = result.get(kind) or {}
    return kind, str(about.get("number", about.get("domain", result.get("msg"))))
