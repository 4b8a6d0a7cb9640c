# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Reading a mapping that a person wrote into a frozen dataclass: every wrong key or value is one clear sentence.

A field is declared with ``option(default, reader)``; a reader takes the value and the key's full name, and returns
the value to keep or raises PolicyError.
"""

from __future__ import annotations

import difflib
import math
import sys
import typing as t
from collections.abc import Callable, Mapping
from dataclasses import MISSING, field, fields

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._text import shown

Reader = Callable[[t.Any, str], t.Any]
T = t.TypeVar("T")

MOST_KNOWN = 15
"""So many words are told where none is near."""


def option(default: t.Any, reader: Reader) -> t.Any:
    """A dataclass field with its default and its reader."""
    # The caller is a dataclass, which pylint does not see.
    return field(default=default, metadata={"reader": reader})  # pylint: disable=invalid-field-call


def required(reader: Reader) -> t.Any:
    """A dataclass field that must be given."""
    return field(metadata={"reader": reader})  # pylint: disable=invalid-field-call  # as above


class Problems:
    """What is wrong with something that a person wrote: all of it, so that one run tells all there is to mend."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, problem: str) -> None:
        """One more sentence."""
        self._found.append(problem)

    def read(self, reader: Reader, value: t.Any, key: str) -> t.Any:
        """What the reader reads; None where that is a problem, which is kept."""
        try:
            return reader(value, key)
        except PolicyError as error:
            self.add(str(error))
            return None

    def stop(self) -> None:
        """Raise PolicyError with all of them, one a line; nothing where there is none."""
        if self._found:
            raise PolicyError("\n".join(self._found))


def near(word: str, words: t.Iterable[str]) -> str | None:
    """The one of the words that was probably meant, None where none is near or more than one has the word in it."""
    known = sorted(words)
    same = next((one for one in known if one.casefold() == word.casefold()), None)
    return same or next(iter(difflib.get_close_matches(word, known, n=1)), None) or _only_one_with(word, known)


def _only_one_with(word: str, known: t.Sequence[str]) -> str | None:
    """The one that has the word as one of its parts, such as minimum_gain for gain."""
    found = [one for one in known if word.casefold() in one.casefold().split("_")]
    return found[0] if len(found) == 1 else None


def nearest(word: str, words: t.Iterable[str]) -> str:
    """Words to end an error sentence with: the right spelling where one is near, else those that there are."""
    known = sorted(words)
    meant = near(word, known)
    if meant is not None:
        return f"did you mean {meant!r}?"
    if len(known) > MOST_KNOWN:
        return f"known are {', '.join(known[:MOST_KNOWN])}, and {len(known) - MOST_KNOWN} more."
    return f"known are {', '.join(known)}." if known else "there are none."


def read(cls: type[T], data: t.Any, where: str) -> T:
    """Build the dataclass ``cls`` from ``data``; ``where`` is the full name of what is read, for messages.

    Raises PolicyError with all that is wrong with it, one sentence a line.
    """
    if not isinstance(data, Mapping):
        raise PolicyError(f"{where} must be a mapping, not {shown(data)}.")
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]  # T is always a dataclass here
    values, problems, misspelt = {}, Problems(), set()
    for key, value in data.items():
        if key in known:
            name = key if where == "The policy" else f"{where}.{key}"
            values[key] = problems.read(known[key].metadata["reader"], value, name)
        else:
            problems.add(f"{where} has no key {str(key)!r}: {nearest(str(key), known)}")
            misspelt.add(near(str(key), known))
    for name, declared in known.items():
        if name not in values and name not in misspelt and declared.default is MISSING:
            problems.add(f"{where} needs the key {name!r}.")
    problems.stop()
    return cls(**values)


def number(low: float, high: float = math.inf, *, nullable: bool = False, above: bool = False) -> Reader:
    """A finite number from ``low`` (not included with ``above``) to ``high``."""

    def reader(value: t.Any, key: str) -> float | None:
        if value is None and nullable:
            return None
        good = not isinstance(value, bool) and isinstance(value, (int, float)) and abs(value) <= sys.float_info.max
        if not good or value > high or value < low or (above and value == low):
            span = f"above {low:g}" if above else f"of at least {low:g}"
            span += "" if high == math.inf else f" and at most {high:g}"
            raise PolicyError(f"{key} must be a number {span}{' or null' if nullable else ''}, not {shown(value)}.")
        return float(value)

    return reader


def fraction(high: float = 1.0, *, nullable: bool = False, above: bool = False) -> Reader:
    """A number from 0 to ``high``, where 1 is the whole; one that looks like a percentage is told how it is written."""
    read_number = number(0, high, nullable=nullable, above=above)

    def reader(value: t.Any, key: str) -> float | None:
        if isinstance(value, (int, float)) and max(high, 2) <= value <= 100 and value != high:
            raise PolicyError(f"{key} is a fraction: write {value / 100:g} for {value:g} %.")
        return t.cast("float | None", read_number(value, key))

    return reader


def whole(low: int, high: int | None = None, *, nullable: bool = False) -> Reader:
    """A whole number of at least ``low``, and at most ``high`` where that is given."""
    wanted = f"a whole number {f'of at least {low}' if high is None else f'from {low} to {high}'}"
    wanted += " or null" if nullable else ""

    def reader(value: t.Any, key: str) -> int | None:
        if value is None and nullable:
            return None
        known = isinstance(value, int) and not isinstance(value, bool)
        if not known or value < low or (high is not None and value > high):
            raise PolicyError(f"{key} must be {wanted}, not {shown(value)}.")
        return value

    return reader


def flag(value: t.Any, key: str) -> bool:
    """True or false, nothing that merely looks like it."""
    if not isinstance(value, bool):
        raise PolicyError(f"{key} must be true or false, not {shown(value)}.")
    return value


def choice(*words: str) -> Reader:
    """One of ``words``."""

    def reader(value: t.Any, key: str) -> str:
        if not isinstance(value, str) or value not in words:
            raise PolicyError(f"{key} cannot be {shown(value)}: {nearest(str(value), words)}")
        return value

    return reader


def text(value: t.Any, key: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise PolicyError(f"{key} must be a text that is not empty, not {shown(value)}.")
    return value


def mapping(value: t.Any, key: str) -> Mapping[str, t.Any]:
    """A mapping; null is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise PolicyError(f"{key} must be a mapping, not {shown(value)}.")
    return value


def sequence(reader: Reader, *, lone: bool = False, empty: bool = True) -> Reader:
    """A list of what ``reader`` reads, kept as a tuple; with ``lone`` a single value stands for a list of one."""

    def read_all(value: t.Any, key: str) -> tuple[t.Any, ...]:
        if lone and isinstance(value, (str, Mapping)):
            value = [value]
        if not isinstance(value, (list, tuple)):
            raise PolicyError(f"{key} must be a list, not {shown(value)}.")
        if not value and not empty:
            raise PolicyError(f"{key} must not be empty.")
        problems = Problems()
        found = tuple(problems.read(reader, item, f"{key}[{index}]") for index, item in enumerate(value))
        problems.stop()
        return found

    return read_all


def nested(cls: type[t.Any]) -> Reader:
    """A mapping that is read into another dataclass."""

    def reader(value: t.Any, key: str) -> t.Any:
        return read(cls, value, key)

    return reader
