# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the state of the loops of a host's agent."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import typing as t

PATH = "run/virtops.balance/agent.json"

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


def problem_of(loop: str, *, root: str = "/") -> str | None:
    """Return what the agent says is wrong with one of its loops, None where it says nothing."""
    said = read(root=root).get("loops", {}).get(loop)
    problem = said.get("problem") if isinstance(said, dict) else None
    return None if problem is None else str(problem)
