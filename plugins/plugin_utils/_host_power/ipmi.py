# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A BMC that speaks IPMI, through ipmitool. Source: ipmitool(1), "chassis power"."""

from __future__ import annotations

import os
import subprocess
import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.switch import PowerError

_SECONDS = 60


class Ipmi:
    """Switches by ``ipmitool chassis power``."""

    name: t.Final = "bmc"
    again: t.Final = False

    def __init__(
        self,
        *,
        address: str,
        port: int,
        user: str | None,
        password: str | None,
        interface: str,
        cipher_suite: int | None,
    ) -> None:
        self._address = address
        self._command = ["ipmitool", "-I", interface, "-H", address, "-p", str(port)]
        if user is not None:
            self._command += ["-U", user]
        if cipher_suite is not None:
            self._command += ["-C", str(cipher_suite)]
        self._environment = {**os.environ, "LC_ALL": "C"}
        if password is not None:
            # -E: from the environment, because everybody on the machine can read the arguments of a process.
            self._command.append("-E")
            self._environment["IPMI_PASSWORD"] = password

    def power(self) -> bool:
        said = self._run("status")
        word = said.rstrip().rpartition(" ")[2].lower()
        if word not in ("on", "off"):
            raise PowerError(f"The BMC at {self._address} did not say whether the power is on, but: {said.strip()!r}.")
        return word == "on"

    def on(self) -> None:
        self._run("on")

    def off(self, *, hard: bool) -> None:
        self._run("off" if hard else "soft")

    def _run(self, what: str) -> str:
        try:
            done = subprocess.run(
                [*self._command, "chassis", "power", what],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
                check=False,
            )
        except FileNotFoundError as error:
            raise PowerError("There is no ipmitool on the control node: install the package ipmitool.") from error
        except subprocess.TimeoutExpired as error:
            raise PowerError(f"The BMC at {self._address} did not answer within {_SECONDS} seconds.") from error
        if done.returncode != 0:
            reason = " ".join(done.stderr.split()) or f"ipmitool ended with {done.returncode}"
            raise PowerError(f"The BMC at {self._address} cannot be used: {reason.rstrip('.')}.")
        return done.stdout
