# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: a small file in each shared directory, so that other hosts can look whether they see it.

Its name is new in each run, because a file system may remember for a while that a file is not there. It is removed by
the same run; by a process that watches over it, where the run was ended; or by the next run, where the host was.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import posixpath
import subprocess
import sys
import time
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._doctor.deadline import NoAnswerError, within
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError

PREFIX = ".virtops-balance-doctor"
_CONTENT = "The playbook virtops.balance.doctor looks whether other hosts see this file. It may be removed.\n"
# A file server that is gone never answers.
_SECONDS = 10.0
_PAUSE_SECONDS = 5

# Watches over the files: removes them when their time is over, and ends when they are gone.
_WATCH = """
import os, sys, time
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end and any(os.path.lexists(path) for path in sys.argv[3:]):
    time.sleep(float(sys.argv[2]))
for path in sys.argv[3:]:
    try:
        os.unlink(path)
    except OSError:
        pass
"""


def file_name(run: str, host: str) -> str:
    """Return the name of the file that a host writes in a run. Names of hosts and runs need not be fit for files."""
    return f"{_of_host(host)}.{hashlib.sha256(run.encode()).hexdigest()[:12]}"


def check_paths(paths: t.Sequence[str]) -> list[str]:
    """Return the paths without repetition. Raises BalanceError where one is not absolute."""
    for path in paths:
        if not path.startswith("/"):
            raise BalanceError(f"paths must be absolute paths, but one is {path!r}.")
    return sorted({posixpath.normpath(path) for path in paths})


def kind_of(path: str) -> str | None:
    """Return ``directory``, ``other`` (a block device for instance) or ``missing``; None where nobody answers."""

    def look() -> str:
        if os.path.isdir(path):
            return "directory"
        return "other" if os.path.exists(path) else "missing"

    try:
        return within(_SECONDS, look)
    except NoAnswerError:
        return None


def write(
    paths: t.Sequence[str], *, host: str, run: str, lifetime_seconds: float, dry: bool = False
) -> dict[str, dict[str, t.Any]]:
    """Write the file into each directory and have it watched over. Return {path: {kind, written, problem}}.

    Files of this host that an earlier run left are removed. If RV(dry), only the paths are looked at.
    """
    found: dict[str, dict[str, t.Any]] = {}
    for path in paths:
        kind = kind_of(path)
        found[path] = {"kind": kind, "written": False, "problem": None}
        if kind == "directory" and not dry:
            try:
                within(_SECONDS, functools.partial(_write_one, path, host, run, lifetime_seconds))
                found[path]["written"] = True
            except NoAnswerError:
                found[path]["problem"] = f"no answer within {_SECONDS:g} seconds"
            except OSError as error:
                found[path]["problem"] = error.strerror or str(error)
    files = [os.path.join(path, file_name(run, host)) for path, entry in found.items() if entry["written"]]
    if files:
        _watch(files, lifetime_seconds)
    return found


def remove(paths: t.Sequence[str], *, host: str, run: str, dry: bool = False) -> list[str]:
    """Remove the files of this run, unless RV(dry). Return the directories in which there was one."""
    removed = []
    for path in paths:
        name = os.path.join(path, file_name(run, host))
        with contextlib.suppress(NoAnswerError):
            if within(_SECONDS, functools.partial(os.path.lexists if dry else _unlink, name)):
                removed.append(path)
    return removed


def seen(paths: t.Sequence[str], *, hosts: t.Sequence[str], run: str) -> dict[str, dict[str, t.Any]]:
    """Return {path: {kind, sees: [hosts whose file is there]}}; RV(sees) None where nobody answers."""
    found: dict[str, dict[str, t.Any]] = {}
    for path in paths:
        found[path] = {"kind": kind_of(path), "sees": None}
        if found[path]["kind"] is not None:
            with contextlib.suppress(NoAnswerError):
                found[path]["sees"] = within(_SECONDS, functools.partial(_writers, path, hosts, run))
    return found


def _writers(path: str, hosts: t.Sequence[str], run: str) -> list[str]:
    return [host for host in hosts if os.path.lexists(os.path.join(path, file_name(run, host)))]


def _of_host(host: str) -> str:
    return f"{PREFIX}.{hashlib.sha256(host.encode()).hexdigest()[:12]}"


def _write_one(path: str, host: str, run: str, lifetime_seconds: float) -> None:
    _remove_leftovers(path, host, lifetime_seconds)
    name = os.path.join(path, file_name(run, host))
    _unlink(name)
    # Created and never opened: others may write to the directory too, and might have put a link there.
    with open(name, "x", encoding="utf-8") as file:
        file.write(_CONTENT)


def _remove_leftovers(path: str, host: str, lifetime_seconds: float) -> None:
    """Remove what the watching process would have removed if the host had not been switched off."""
    oldest = time.time() - 2 * lifetime_seconds
    with os.scandir(path) as entries:
        left = [entry for entry in entries if entry.name.startswith(f"{_of_host(host)}.")]
    for entry in left:
        with contextlib.suppress(OSError):
            if entry.stat(follow_symlinks=False).st_mtime < oldest:
                os.unlink(entry.path)


def _unlink(path: str) -> bool:
    try:
        os.unlink(path)
    except OSError:
        return False
    return True


def _watch(files: t.Sequence[str], lifetime_seconds: float) -> None:
    # It has no part in the task, which would otherwise wait for it.
    with contextlib.suppress(OSError):
        subprocess.Popen(
            [sys.executable or "/usr/bin/python3", "-c", _WATCH, str(lifetime_seconds), str(_PAUSE_SECONDS), *files],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            close_fds=True,
        )
