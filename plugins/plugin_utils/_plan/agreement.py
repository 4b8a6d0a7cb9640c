# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What the plan tells about the hosts that were asked: of each move whether they agreed, and who refused what."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.answers import ByQuestion
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._text import several

MOST_REFUSALS = 5
_MOST_NAMES = 3
_NOT_ASKED = "the rounds of questions were used up (agree_rounds)"


def mark(waves: Iterable[t.Mapping[str, t.Any]], given: ByQuestion | None) -> None:
    """Write into each move of a plan whether both hosts ``agreed``, and what is ``not_known`` because it could not be
    asked; ``given`` is None where nobody was asked at all."""
    for move in (move for wave in waves for move in wave["moves"]):
        answer = (given or {}).get((move["domain"], move["destination"]))
        move["agreed"] = None if answer is None else answer.ok
        move["not_known"] = answer.unknown if answer is not None else [] if given is None else [_NOT_ASKED]


def refusal_notes(snapshot: Snapshot, given: ByQuestion | None) -> list[str]:
    """Sentences about what was asked and refused: one for all domains that a host refuses for the same reason."""
    refused: dict[tuple[str, str], list[str]] = {}
    for answer in (given or {}).values():
        domain = snapshot.domains.get(answer.domain)
        for check in answer.refusals:
            name = answer.domain if domain is None else domain.name
            refused.setdefault((answer.destination, check.message), []).append(name)
    notes = [
        f"Asked and refused: {several(names, _MOST_NAMES)} to {destination}: {message}."
        for (destination, message), names in refused.items()
    ]
    more = len(notes) - MOST_REFUSALS
    return notes[:MOST_REFUSALS] + ([f"{more} more answers were refusals."] if more > 0 else [])
