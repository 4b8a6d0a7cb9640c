# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: check that options make sense; the argument spec lets NaN through."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError


def is_printable(text: str) -> bool:
    """Return whether a text is without control characters and halves of characters, which libvirt refuses."""
    return not any(character < " " or "\ud800" <= character <= "\udfff" for character in text)


def check_printable(name: str, text: str) -> None:
    """Raise BalanceError where the text of an option has control characters."""
    if not is_printable(text):
        raise BalanceError(f"{name} must be a text without control characters, not {text!a:.60}.")


def check_number(name: str, value: float, low: float, high: float) -> None:
    """Raise BalanceError where an option is not from RV(low) to RV(high). NaN is nowhere."""
    if not low <= value <= high:
        raise BalanceError(f"{name} must be a number from {low:,.12g} to {high:,.12g}, but it is {value:,.12g}.")


def check_shared_paths(paths: t.Sequence[str]) -> None:
    """Raise BalanceError where a directory that all hosts see is no absolute path."""
    for path in paths:
        if not path.startswith("/"):
            raise BalanceError(f"shared_paths must be absolute paths, but one is {path!r}.")
