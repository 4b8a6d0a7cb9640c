# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Text for people: safe names, counted nouns, percentages, lines that fit."""

from __future__ import annotations

import textwrap
import typing as t

WIDTH = 100


def clean(text: t.Any, width: int | None = None) -> str:
    """A name or message that cannot harm a terminal: control characters escaped, cut with an ellipsis."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))
    return shown if width is None or len(shown) <= width else shown[: width - 1] + "…"


def counted(number: int, word: str) -> str:
    """1 move, 2 moves."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def wrapped(text: t.Any, indent: str) -> list[str]:
    """The text in lines that fit."""
    return textwrap.wrap(clean(text), WIDTH, initial_indent=indent, subsequent_indent=indent + "  " * bool(indent))


def percent(fraction: float) -> str:
    """0.784 -> 78 %."""
    return f"{points(fraction)} %"


def points(fraction: float) -> str:
    """0.784 -> 78, 0.004 -> 0.4."""
    value = fraction * 100
    return f"{value:.0f}" if value >= 10 or abs(value - round(value)) < 0.05 else f"{value:.1f}"
