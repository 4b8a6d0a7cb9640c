# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the agent as a process: its command line, its settings, its log, its start and its end.

    agent.pyz run            sample until SIGTERM; what a service manager calls
    agent.pyz start          the same in the background, unless it runs already; what cron calls every minute
    agent.pyz stop           end it, whoever started it
    agent.pyz check [FILE]   say what is wrong with the settings

A lock that the kernel gives back when the process ends, however it ends, tells whether it runs.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import threading
import time
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._history.agent_status import (
    LOCK,
    SETTINGS,
    holder,
    log,
)

if t.TYPE_CHECKING:
    from ansible_collections.virtops.balance.plugins.module_utils._agent import loops as agent_loops

LOG = "var/lib/virtops.balance/agent.log"

_LOG_BYTES = 256 * 1024
_START_SECONDS = 30.0
# A round that waits for a daemon which does not answer takes this long, at most.
_STOP_SECONDS = 50.0
_PAUSE_SECONDS = 0.1
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# How often the main thread sees whether a loop has ended by itself.
_LOOK_SECONDS = 5.0


class AgentError(Exception):
    """One sentence for the person who started the agent."""


def main(arguments: t.Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agent.pyz", description="Samples a libvirt host and keeps its history.")
    parser.add_argument("command", choices=("run", "start", "stop", "check"))
    parser.add_argument("file", nargs="?", help=f"the settings to check, instead of /{SETTINGS}")
    parser.add_argument("--log", action="store_true", help=f"write the log to /{LOG} instead of to standard error")
    parser.add_argument("--root", default="/", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        if options.command == "run":
            return run(root=options.root, to_file=options.log)
        if options.command == "check":
            check(options.file or os.path.join(options.root, SETTINGS))
            return 0
        done = start(root=options.root) if options.command == "start" else stop(root=options.root)
    except (AgentError, OSError) as error:
        sys.stderr.write(f"agent: {error}\n")
        return 1
    sys.stdout.write("changed\n" if done else "unchanged\n")
    return 0


def run(*, root: str, to_file: bool) -> int:
    """Do the agent's work until a signal ends it. Returns the exit status."""
    # What follows takes a while to load, and cron asks every minute whether the agent still runs.
    from ansible_collections.virtops.balance.plugins.module_utils import _connection
    from ansible_collections.virtops.balance.plugins.module_utils._agent import loops as agent_loops
    from ansible_collections.virtops.balance.plugins.module_utils._observe.host import Clock

    _set_up_log(root=root, to_file=to_file)
    settings = check(os.path.join(root, SETTINGS))
    if _connection.libvirt is None:
        raise AgentError(f"{sys.executable} has no libvirt module. Install the package python3-libvirt.")
    stopping = threading.Event()
    # Blocked before there are threads, and waited for below: a handler that sets the event could find it locked.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    with _locked(root=root):
        loops = agent_loops.make_loops(_connection.libvirt, settings, stopping=stopping, root=root, clock=Clock())
        log.info("started: %s", ", ".join(loop.describe() for loop in loops))
        for loop in loops:
            loop.start()
        while not stopping.is_set():
            if signal.sigtimedwait(_SIGNALS, _LOOK_SECONDS) is not None:
                stopping.set()
        for loop in loops:
            loop.join(_STOP_SECONDS)
        failed = [loop for loop in loops if loop.failure is not None]
        for loop in failed:
            log.critical("%s: ended by an error in the agent", loop.name, exc_info=loop.failure)
        if not failed:
            log.info("stopped")
    status = 1 if failed else 0
    _connection.leave(status)
    return status


def start(*, root: str) -> bool:
    """Start the agent in the background. Returns False where it runs already. Raises AgentError."""
    if holder(root=root) is not None:
        return False
    command = [sys.executable, sys.argv[0], "run", "--log", "--root", root]
    process = subprocess.Popen(
        command,
        cwd="/",
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if not _wait_until(lambda: holder(root=root) is not None or process.poll() is not None, _START_SECONDS):
        raise AgentError(f"The agent did not start within {_START_SECONDS:g} seconds; see {os.path.join(root, LOG)}.")
    if process.returncode and holder(root=root) is not None:
        # Somebody else started it at the same time.
        return False
    if process.returncode:
        raise AgentError(f"The agent ended with status {process.returncode}; see {os.path.join(root, LOG)}.")
    return True


def stop(*, root: str) -> bool:
    """End the agent and wait for its end. Returns False where it does not run. Raises AgentError."""
    # A signal to process 0 would go to this process and all of its group.
    _wait_until(lambda: holder(root=root) != 0, _START_SECONDS)
    pid = holder(root=root)
    if not pid:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    if not _wait_until(lambda: holder(root=root) != pid, _STOP_SECONDS + 5):
        raise AgentError(f"Process {pid} did not end within {_STOP_SECONDS + 5:g} seconds.")
    return True


def check(path: str) -> agent_loops.Settings:
    """Return the settings that the role has written. Raises AgentError."""
    from ansible_collections.virtops.balance.plugins.module_utils._agent import loops as agent_loops
    from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError

    try:
        with open(path, encoding="utf-8") as file:
            settings = json.load(file)
    except (OSError, ValueError) as error:
        raise AgentError(f"{path} cannot be read: {error}.") from error
    if not isinstance(settings, dict):
        raise AgentError(f"{path} must hold a mapping.")
    try:
        return agent_loops.check_settings(settings)
    except BalanceError as error:
        raise AgentError(f"{path}: {error.message}") from error


@contextlib.contextmanager
def _locked(*, root: str) -> t.Iterator[None]:
    path = os.path.join(root, LOCK)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AgentError("The agent is already running.") from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _set_up_log(*, root: str, to_file: bool) -> None:
    # A full disk, or a terminal that is gone, must not show up as an error of its own.
    logging.raiseExceptions = False
    handler: logging.Handler = logging.StreamHandler()
    if to_file:
        path = os.path.join(root, LOG)
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
        formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        handler.setFormatter(formatter)
    logger = logging.getLogger("virtops.balance.agent")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _wait_until(condition: t.Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_SECONDS)
    return True
