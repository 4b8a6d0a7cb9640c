# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The interface of everything that switches a host on or off from outside."""

from __future__ import annotations

import typing as t


class PowerError(Exception):
    """One sentence that the user can act on. It never contains a password."""


class Waker(t.Protocol):
    """Wakes a host. ``again``: the signal may get lost, so it is repeated until the host answers."""

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
