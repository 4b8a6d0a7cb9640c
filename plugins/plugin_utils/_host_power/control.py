# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""How one host is put to sleep and woken, from the settings of the inventory."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.command import Command
from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.ipmi import Ipmi
from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.redfish import Redfish
from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.switch import PowerError, Switch, Waker
from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.wake_on_lan import WakeOnLan

# These the host carries out itself, in the process that has just looked for domains.
BY_THE_HOST = ("poweroff", "suspend")


@dataclass(frozen=True, slots=True)
class Control:
    """The switches of one host.

    ``sleeper``: None if the host puts itself to sleep. ``watcher``: tells whether the host is on; None = nothing does,
    and then only silence indicates sleep.
    """

    sleep: str
    wake: str
    sleeper: Switch | None
    waker: Waker
    watcher: Switch | None
    hard: bool


def build(options: Mapping[str, t.Any]) -> Control:
    """Make it of the module's option ``control``, whose types have been checked. PowerError says what is missing."""
    switches: dict[str, t.Any] = {
        name: make(**options[name])
        for name, make in (("ipmi", Ipmi), ("redfish", Redfish), ("command", Command), ("wake_on_lan", WakeOnLan))
        if options.get(name) is not None
    }
    sleep, wake = options["sleep"], options["wake"]
    for key, method in (("sleep", sleep), ("wake", wake)):
        if method not in BY_THE_HOST and method not in switches:
            raise PowerError(f"control.{key} is {method}, so control.{method} has to say how.")
        if method == "command" and not options["command"].get(key):
            raise PowerError(f"control.{key} is command, so control.command.{key} has to be one.")
    tellers = [switches[name] for name in ("redfish", "ipmi") if name in switches]
    if "command" in switches and switches["command"].can_tell:
        tellers.append(switches["command"])
    # Whether the power of a suspended host is on, every BMC sees in its own way.
    watcher = tellers[0] if tellers and sleep != "suspend" else None
    return Control(
        sleep=sleep,
        wake=wake,
        sleeper=switches.get(sleep),
        waker=switches[wake],
        watcher=watcher,
        hard=options["hard"],
    )
