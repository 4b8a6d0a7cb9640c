# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Puts a host to sleep, wakes it or queries its state, and verifies the result."""

from __future__ import annotations

import time
import typing as t
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.control import Control
from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.switch import PowerError

_POLL_SECONDS = 2.0
# One lost connection is no silence yet.
_SILENT_POLLS = 3
_WHO = {"bmc": "its BMC", "command": "command.status"}


@dataclass(frozen=True)
class Clock:
    """Time, so that tests can bring their own."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class ConnectedHost(t.Protocol):
    """The host, over Ansible's connection to it."""

    name: str

    def reachable(self) -> bool:
        """Tell whether a connection to it can be made now."""

    def answer(self) -> str | None:
        """Ask its libvirt. None = it answered; else a sentence that says why not."""

    def wake_up(self) -> str | None:
        """Like answer(), for a host that slept: also removes the notes about its sleep from it."""

    def go_to_sleep(self) -> None:
        """Check for domains and leases; if there are none, and the host puts itself to sleep, go to sleep.

        PowerError says what prevents it. A connection that breaks meanwhile is no error.
        """


@dataclass(frozen=True, slots=True)
class Outcome:
    """``state``: awake, asleep or unknown (None = not checked). ``seen_by``: libvirt, bmc, command or silence, None =
    nothing. ``changed`` in check mode: what would change."""

    changed: bool
    before: str
    state: str
    seen_by: str | None
    problem: str | None = None


def query(control: Control, host: ConnectedHost) -> Outcome:
    """Find out whether the host is asleep. Silence alone proves nothing: a crashed host is silent too."""
    told, who = "Only its silence indicates whether it is asleep.", None
    if control.watcher is not None:
        try:
            if not control.watcher.power():
                return Outcome(False, "asleep", "asleep", control.watcher.name)
            told, who = f"It is not asleep: {_WHO[control.watcher.name]} says that it is on.", control.watcher.name
        except PowerError as error:
            told = str(error)
    why = host.answer()
    if why is None:
        return Outcome(False, "awake", "awake", "libvirt")
    return Outcome(False, "unknown", "unknown", who, f"{why} {told}")


def put_to_sleep(
    control: Control, host: ConnectedHost, *, timeout_seconds: float, check_mode: bool, clock: Clock = Clock()
) -> Outcome:
    """Put the host to sleep unless something prevents it, and wait until it sleeps. Raises PowerError."""
    watcher = control.watcher
    # Stop if the BMC does not answer: it could not wake the host again.
    if watcher is not None and not watcher.power():
        return Outcome(False, "asleep", "asleep", watcher.name)
    if not host.reachable():
        said = "nothing tells" if watcher is None else f"{_WHO[watcher.name]} says that it is on, and nothing tells"
        raise PowerError(f"{host.name} cannot be reached: {said} what runs on it, so it is left alone.")
    host.go_to_sleep()
    if check_mode:
        return Outcome(True, "awake", "asleep", None)
    if control.sleeper is not None:
        control.sleeper.off(hard=control.hard)
    deadline = clock.monotonic() + timeout_seconds
    silent = 0
    last: PowerError | None = None
    while True:
        if watcher is None:
            silent = 0 if host.reachable() else silent + 1
            if silent >= _SILENT_POLLS:
                return Outcome(True, "awake", "asleep", "silence")
        else:
            try:
                if not watcher.power():
                    return Outcome(True, "awake", "asleep", watcher.name)
                last = None
            except PowerError as error:
                last = error
        if clock.monotonic() >= deadline:
            break
        clock.sleep(_POLL_SECONDS)
    if last is not None:
        raise PowerError(f"{host.name} was told to go to sleep, and it is not known whether it did: {last}")
    still = "it still answers" if watcher is None else f"{_WHO[watcher.name]} still says that it is on"
    raise PowerError(f"{host.name} was told to go to sleep ({control.sleep}), but {still} after {timeout_seconds:g} s.")


def wake(
    control: Control, host: ConnectedHost, *, timeout_seconds: float, check_mode: bool, clock: Clock = Clock()
) -> Outcome:
    """Wake the host if it does not answer, and wait until its libvirt does. Raises PowerError."""
    on: bool | None = None
    if control.watcher is not None:
        try:
            on = control.watcher.power()
        except PowerError:
            if control.watcher is control.waker:
                raise
    why = None if on is False else host.answer()
    if on is not False and why is None:
        return Outcome(False, "awake", "awake", "libvirt")
    before = "asleep" if on is False else "unknown"
    if check_mode:
        return Outcome(True, before, "awake", None)
    # A host that is on may be starting; pressing its power button again could stop that.
    press = on is not True
    if press:
        control.waker.on()
    deadline = clock.monotonic() + timeout_seconds
    while True:
        clock.sleep(_POLL_SECONDS)
        why = host.wake_up() if press else host.answer()
        if why is None:
            return Outcome(True, before, "awake", "libvirt")
        if clock.monotonic() >= deadline:
            done = f"was woken ({control.wake})" if press else "is on"
            raise PowerError(f"{host.name} {done}, but does not count as awake after {timeout_seconds:g} s: {why}")
        if press and control.waker.again:
            control.waker.on()
