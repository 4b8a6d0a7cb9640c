# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Text for people: safe names, counted nouns, percentages, times, columns that stay, lines that fit."""

from __future__ import annotations

import textwrap
import typing as t
import unicodedata
from collections.abc import Mapping

WIDTH = 100
NAME_WIDTH = 24
"""How many columns of a table a name gets."""

_ELLIPSIS = "…"
# They say how to draw the character before, and terminals differ in how wide that makes it.
_SELECTORS = frozenset(map(chr, range(0xFE00, 0xFE10)))
# Letters of Hangul that a terminal draws into the one before, although they combine with nothing by their category.
_HANGUL_ENDS = ((0x1160, 0x11FF), (0xD7B0, 0xD7FF))


def clean(text: t.Any, width: int | None = None) -> str:
    """A name or message that cannot harm a terminal: control characters escaped, cut with an ellipsis.

    width: how many columns it may take, None = as many as it needs.
    """
    drawn = (c for c in str(text) if c not in _SELECTORS)
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in drawn)
    return plain if width is None else cut(plain, width)


def columns(text: str) -> int:
    """How many columns of a terminal the text takes: most characters one, those of East Asia and emoji two."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    if any(first <= ord(character) <= last for first, last in _HANGUL_ENDS):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def cut(text: str, width: int) -> str:
    """The text in so many columns at most; an ellipsis where it was longer."""
    if columns(text) <= width:
        return text
    head, _rest = _split(text, width - 1)
    return head + _ELLIPSIS


def padded(text: str, width: int) -> str:
    """The text, and as many spaces after it as make it so many columns."""
    return text + " " * (width - columns(text))


def widest(texts: t.Iterable[str], least: int = 0) -> int:
    """How many columns the widest of the texts takes, and at least so many."""
    return max([least, *map(columns, texts)])


def counted(number: int, word: str) -> str:
    """1 move, 2 moves."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def ordinal(number: float) -> str:
    """1 -> 1st, 95 -> 95th, 99.9 -> 99.9th."""
    text = f"{number:g}"
    teen = text[-2:] in ("11", "12", "13")
    return text + ("th" if teen or "." in text else {"1": "st", "2": "nd", "3": "rd"}.get(text[-1], "th"))


def span(minutes: float) -> str:
    """A length of time in few words: 45 s, 90 min, 2 h, 2.5 h."""
    if minutes < 2.0:
        return f"{minutes * 60.0:.0f} s"
    hours = f"{minutes / 60.0:.1f}".removesuffix(".0")
    return f"{hours} h" if minutes >= 120.0 else f"{minutes:.0f} min"


def shown(value: t.Any, most: int = 60) -> str:
    """A value as the person who wrote it in YAML knows it, for messages: true, null, 'a text', [1, 2]; not longer."""
    text = _written(value)
    return text if len(text) <= most else text[: most - 1] + _ELLIPSIS


def _written(value: t.Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_written(key)}: {_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_written, value)) + "]"
    return repr(value)


def wrapped(text: t.Any, indent: str) -> list[str]:
    """The text in lines that fit."""
    plain, following = clean(text), indent + "  " * bool(indent)
    if plain.isascii():
        return textwrap.wrap(plain, WIDTH, initial_indent=indent, subsequent_indent=following)
    lines: list[str] = []
    line, empty = indent, True
    for word in plain.split():
        if not empty and columns(line) + 1 + columns(word) > WIDTH:
            lines.append(line)
            line, empty = following, True
        line = line + word if empty else f"{line} {word}"
        empty = False
        while columns(line) > WIDTH:  # the word alone is longer than a line
            head, rest = _split(line, WIDTH)
            lines.append(head)
            line = following + rest
    return lines if empty else [*lines, line]


def _split(text: str, width: int) -> tuple[str, str]:
    """As much of the text as fits into so many columns, with what is drawn into its last character, and the rest."""
    used = 0
    for place, character in enumerate(text):
        used += _columns_of(character)
        if used > width:
            return text[:place], text[place:]
    return text, ""


def several(names: t.Sequence[str], most: int) -> str:
    """The first names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def percent(fraction: float) -> str:
    """0.784 -> 78 %."""
    return f"{points(fraction)} %"


def points(fraction: float) -> str:
    """0.784 -> 78, 0.004 -> 0.4."""
    value = fraction * 100
    return f"{value:.0f}" if value >= 10 or abs(value - round(value)) < 0.05 else f"{value:.1f}"
