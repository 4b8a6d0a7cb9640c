# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Commands on the control node, for hosts without IPMI and Redfish: a power strip, the API of a hypervisor."""

from __future__ import annotations

import subprocess
import typing as t
from collections.abc import Sequence

from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.switch import PowerError


class Command:
    """Switches by running programs, without a shell. Their arguments may be secrets, so no message contains them."""

    name: t.Final = "command"
    again: t.Final = False

    def __init__(
        self,
        *,
        sleep: Sequence[str] | None,
        wake: Sequence[str] | None,
        status: Sequence[str] | None,
        timeout_seconds: float,
    ) -> None:
        self._sleep, self._wake, self._status = sleep, wake, status
        self._seconds = timeout_seconds

    @property
    def can_tell(self) -> bool:
        """Whether there is a command for the status."""
        return bool(self._status)

    def power(self) -> bool:
        said = self._run("status", self._status)
        words = said.split()
        word = words[-1].lower() if words else ""
        if word not in ("on", "off"):
            raise PowerError("The last word that command.status prints must be on or off, but it is neither.")
        return word == "on"

    def on(self) -> None:
        self._run("wake", self._wake)

    def off(self, *, hard: bool) -> None:
        # Whether it asks or cuts is up to the command.
        self._run("sleep", self._sleep)

    def _run(self, key: str, command: Sequence[str] | None) -> str:
        if not command:
            raise PowerError(f"command.{key} is needed: a list, the program and its arguments.")
        try:
            done = subprocess.run(
                list(command),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self._seconds,
                check=False,
            )
        except OSError as error:
            raise PowerError(f"command.{key} cannot be run: {command[0]}: {error.strerror}.") from error
        except subprocess.TimeoutExpired as error:
            raise PowerError(f"command.{key} did not end within {self._seconds:g} seconds.") from error
        if done.returncode != 0:
            lines = done.stderr.split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "it says nothing")
            raise PowerError(f"command.{key} ended with {done.returncode}: {last.rstrip('.')}.")
        return done.stdout
