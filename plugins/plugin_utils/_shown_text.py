# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Who prints what the module show is given: its action, or a callback that puts it in its place among its own lines.

Tasks run in forks of the process that has the callback, so they know what it has said here before they began.
"""

from __future__ import annotations

_callbacks: set[str] = set()


def leave_to(callback: str) -> None:
    """From now on this callback prints the texts of all tasks, when they end."""
    _callbacks.add(callback)


def is_left_to_a_callback() -> bool:
    """Does somebody else print them?"""
    return bool(_callbacks)
