# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What is not well with a pair of hosts, and what to do about it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

# They stand for the names of the hosts, so that the same trouble of several pairs is told once.
SOURCES = "\0sources\0"
DESTINATIONS = "\0destinations\0"

MOST_NAMED = 3


@dataclass(frozen=True)
class Finding:
    """``problem`` and ``advice`` are parts of a sentence, with SOURCES and DESTINATIONS in place of names.

    A ``serious`` one makes moves fail. ``command`` is what to run where ``advice`` says it. A ``mutual`` one holds for
    both directions, and is told once.
    """

    problem: str
    advice: str = ""
    command: str = ""
    serious: bool = True
    mutual: bool = False


def named(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """Names in a sentence: web-1, web-2, db-1 and 4 more."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def quoted(text: object) -> str:
    """A word of a command, whatever it is made of."""
    return shlex.quote(str(text))
