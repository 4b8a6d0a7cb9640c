# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: whether the agent of a host runs, with which settings, and the state of its loops."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import threading
import typing as t

PATH = "run/virtops.balance/agent.json"
LOCK = "run/virtops.balance/agent.lock"
SETTINGS = "var/lib/virtops.balance/agent.json"

_DEFAULTS = {"interval": 30.0, "keep_hours": 168.0, "max_mib": 256.0}
# After a longer pause than this, a mean over the pause would look like many samples. A gap is honest. A restart of
# libvirt's daemon is shorter, however often samples are taken.
_LONGEST_PAUSE_INTERVALS = 3
_LONGEST_PAUSE_SECONDS = 60

log = logging.getLogger("virtops.balance.agent")


class Status:
    """The state of each loop of the agent: changes go to the log, the present state to a file.

    The file is in memory (/run), so that it tells of a full disk too.
    """

    def __init__(self, *, root: str = "/", now: t.Callable[[], float]) -> None:
        self._path = os.path.join(root, PATH)
        self._now = now
        self._lock = threading.Lock()
        self._loops: dict[str, dict[str, t.Any]] = {}

    def worked(self, loop: str) -> None:
        if self._set(loop, None):
            log.info("%s: works again", loop)

    def failed(self, loop: str, problem: str) -> None:
        if self._set(loop, problem):
            log.warning("%s: %s", loop, problem)

    def _set(self, loop: str, problem: str | None) -> bool:
        """End a round and return whether anything has changed since the last one."""
        with self._lock:
            before = self._loops.get(loop, {}).get("problem")
            self._loops[loop] = {"at": round(self._now()), "problem": problem}
            # Whoever reads it would rather have an old one than none: the work goes on without it.
            with contextlib.suppress(OSError):
                self._write()
        return before != problem

    def _write(self) -> None:
        directory = os.path.dirname(self._path)
        os.makedirs(directory, mode=0o755, exist_ok=True)
        temporary = f"{self._path}.new"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump({"pid": os.getpid(), "loops": self._loops}, file)
        os.replace(temporary, self._path)


def read(*, root: str = "/") -> dict[str, t.Any]:
    """Return {pid, loops: {name: {at, problem}}} as the agent left it, {} where there is none."""
    try:
        with open(os.path.join(root, PATH), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("loops"), dict) else {}


def holder(*, root: str) -> int | None:
    """Return the process id of the agent that runs, 0 where it has not said it yet, None where none runs."""
    try:
        with open(os.path.join(root, LOCK), encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().strip()
                return int(text) if text.isdigit() else 0
    except FileNotFoundError:
        pass
    return None


def longest_pause(period: float) -> float:
    """Return how many seconds two samples may be apart to be compared."""
    return max(_LONGEST_PAUSE_INTERVALS * period, _LONGEST_PAUSE_SECONDS)


def settings(*, root: str = "/") -> dict[str, float]:
    """Return {interval, keep_hours, max_mib} of the agent, those of the role by default where there is none."""
    try:
        with open(os.path.join(root, SETTINGS), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        found = {}
    found = found if isinstance(found, dict) else {}
    return {
        name: float(found[name]) if isinstance(found.get(name), (int, float)) and found[name] > 0 else default
        for name, default in _DEFAULTS.items()
    }


def installed(*, root: str = "/") -> bool:
    return os.path.exists(os.path.join(root, SETTINGS))


def records(*, now: float, root: str = "/") -> bool:
    """Return whether the agent is at work: it runs, and its round of sampling has come to an end lately."""
    pid = holder(root=root)
    if pid is None:
        return False
    said = read(root=root)
    last = said.get("loops", {}).get("history")
    if said.get("pid") != pid or not isinstance(last, dict) or not isinstance(last.get("at"), (int, float)):
        # It has just been started.
        return True
    return bool(now - last["at"] <= longest_pause(settings(root=root)["interval"]))


def problem_of(loop: str, *, root: str = "/") -> str | None:
    """Return what the agent says is wrong with one of its loops, None where it says nothing."""
    said = read(root=root).get("loops", {}).get(loop)
    problem = said.get("problem") if isinstance(said, dict) else None
    return None if problem is None else str(problem)
