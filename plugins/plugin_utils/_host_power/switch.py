# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What can switch a host on or off from outside, and what goes wrong with it."""

from __future__ import annotations

import typing as t


class PowerError(Exception):
    """One sentence that a person can act on. It never has a password in it."""


class Waker(t.Protocol):
    """Wakes a host. ``again`` says that it may get lost on the way and is said once more while nothing answers."""

    again: bool

    def on(self) -> None:
        """Switch the host on. PowerError where that cannot be asked for."""


class Switch(Waker, t.Protocol):
    """Switches a host on and off and may be able to tell which it is; ``name`` is who tells, ``bmc`` or ``command``."""

    name: str

    def power(self) -> bool:
        """Tell whether the host is on. PowerError where that is not known."""

    def off(self, *, hard: bool) -> None:
        """Ask the host to shut down, or with ``hard`` cut its power. PowerError where that cannot be asked for."""
