# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

"""Runs the module domain_migrate in the background of its host and shows its progress meanwhile.

A module cannot report anything before it ends. A module in the foreground ends with the connection, but this one has
to live on: it sets the cap again and checks where the domain is.
"""

from __future__ import annotations

import contextlib
import json
import os.path
import secrets
import shlex
import time
import typing as t
import urllib.parse

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.virtops.balance.plugins.plugin_utils._report import progress_line
from ansible_collections.virtops.balance.plugins.plugin_utils._text import clean

MODULE = "virtops.balance.domain_migrate"

# What the module may need beyond the migration itself: to abort it, to wait for a silent host, to put things right.
_MORE_SECONDS = 600
# The module derives its own timeout from the domain's memory, and post-copy has none. This only keeps a lost job from
# staying for ever.
_LONGEST_SECONDS = 7 * 24 * 3600
_FIRST_POLLS = 10
_FIRST_POLL_SECONDS = 1.0
_POLL_SECONDS = 2.0
_SILENCE_SECONDS = 60.0
_MISSING_POLLS = 5
_MARK = "--- virtops.balance progress ---"
# Only in what Ansible's wrapper says itself, where the module did not.
_WRAPPER_KEY = "cmd"
# What Ansible adds to the result of any job that runs in the background.
_JOB_KEYS = ("ansible_job_id", "results_file", "started", "finished", "stdout", "stdout_lines", "stderr_lines")

display = Display()


class ActionModule(ActionBase):
    """Migrates a domain and shows the progress."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        arguments = dict(self._task.args)
        if arguments.get("source") is None and _is_local(arguments.get("uri")):
            arguments["source"] = self._task.delegate_to or task_vars.get("inventory_hostname")
        background = not self._task.check_mode and not self._connection.has_native_async
        if self._task.async_val or not background:
            # The user runs it in the background himself, or it is over at once.
            wrap_async = bool(self._task.async_val) and not self._connection.has_native_async
            result.update(
                self._execute_module(
                    module_name=MODULE, module_args=arguments, task_vars=task_vars, wrap_async=wrap_async
                )
            )
            return result
        result.update(self._run_in_background(arguments, task_vars))
        return result

    def _run_in_background(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        async_dir = self.get_shell_option("async_dir", default="~/.ansible_async")
        progress_name = f"virtops-balance-{secrets.token_hex(8)}.progress"
        progress_path = arguments.setdefault("progress_path", f"{async_dir}/{progress_name}")
        limit = _limit(arguments)
        with _async_limit(self._task, limit):
            job = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars, wrap_async=True)
        results_file = job.get("results_file")
        if job.get("failed") or not results_file:
            return job
        if progress_path.startswith(async_dir):
            # The wrapper tells what the ~ in the name of the directory stands for.
            progress_path = os.path.join(os.path.dirname(results_file), os.path.basename(progress_path))
        host = self._task.delegate_to or task_vars.get("inventory_hostname") or "the host"
        problem, progress = self._watch(results_file, progress_path, limit=limit, host=host)
        names = _names(arguments, progress, host=host)
        if problem is not None:
            return {"failed": True, "msg": _not_known(names, problem, progress)}
        finished = self._execute_module(
            module_name="ansible.legacy.async_status",
            module_args={"jid": job["ansible_job_id"], "_async_dir": os.path.dirname(results_file)},
            task_vars=task_vars,
        )
        self._low_level_execute_command(f"rm -f {shlex.quote(results_file)}")
        if finished.get("failed") and _WRAPPER_KEY in finished:
            return _without_a_result(finished, names, progress, host=host)
        return {key: value for key, value in finished.items() if key not in _JOB_KEYS}

    def _watch(
        self, results_file: str, progress_path: str, *, limit: int, host: str
    ) -> tuple[str | None, dict[str, t.Any] | None]:
        """Show the progress until the job is done.

        Returns why the job can no longer be followed (None = it is done), and the last progress that was seen.
        """
        ticker = progress_line.Ticker()
        progress: dict[str, t.Any] | None = None
        missing = polls = 0
        started = heard_at = time.monotonic()
        while time.monotonic() - started < limit:
            time.sleep(_FIRST_POLL_SECONDS if polls < _FIRST_POLLS else _POLL_SECONDS)
            polls += 1
            try:
                output = self._low_level_execute_command(_look(results_file, progress_path, progress))["stdout"]
            except AnsibleConnectionFailure:
                # The migration does not need this connection, so a short break of it is no reason to give up.
                if time.monotonic() - heard_at > _SILENCE_SECONDS:
                    raise
                continue
            heard_at = time.monotonic()
            status_text, progress_text, alive = [*output.split(_MARK), "", ""][:3]
            status = _json(status_text)
            if status is not None and "started" not in status:
                return None, progress
            # Where the wrapper was ended too, its file says for ever that the job runs.
            missing = missing + 1 if status is None or alive.strip() == "gone" else 0
            if missing >= _MISSING_POLLS:
                return f"its job is gone from {host}, because it was ended or the host was started anew", progress
            progress = _json(progress_text) or progress
            text = ticker.next(progress, now=time.monotonic())
            if text is not None and not self._task.no_log:
                display.display(text)
        return f"its job on {host} has not ended within {limit} seconds", progress


def _names(
    arguments: t.Mapping[str, t.Any], progress: t.Mapping[str, t.Any] | None, *, host: str
) -> tuple[str, str, str]:
    """Return the names of the domain, the source and the destination, as far as they are known."""
    source_uri = arguments.get("uri")
    known = {
        "name": arguments.get("domain"),
        "source": host if _is_local(source_uri) else source_uri,
        "destination": arguments.get("destination_uri"),
    }
    known.update({key: value for key, value in arguments.items() if key in known and value})
    known.update({key: value for key, value in (progress or {}).items() if key in known and value})
    name, source, destination = (clean(str(known[key])) for key in ("name", "source", "destination"))
    return name, source, destination


def _not_known(names: tuple[str, str, str], why: str, progress: t.Mapping[str, t.Any] | None) -> str:
    name, source, destination = names
    seen = f" Last progress: {progress_line.line(progress)}." if progress else ""
    return (
        f"It is not known whether {name} moved from {source} to {destination}: {why}.{seen} A migration under way goes "
        "on by itself. Start, resume and destroy nothing until both hosts are checked: run the task again, and it says "
        f"where {name} is and repairs what was left."
    )


def _without_a_result(
    finished: t.Mapping[str, t.Any],
    names: tuple[str, str, str],
    progress: t.Mapping[str, t.Any] | None,
    *,
    host: str,
) -> dict[str, t.Any]:
    """Return the result for a module that returned none, because it crashed, was killed or ran out of time."""
    output = finished.get("data", finished.get("outdata"))
    errors = str(finished.get("stderr") or "")
    last = next((line.strip() for line in reversed(errors.splitlines()) if line.strip()), None)
    if output is None:
        # The wrapper itself ended it, and says why.
        last = str(finished.get("msg"))
    why = f"its module on {host} ended without a result" + (f" ({clean(last)})" if last else "")
    return {
        "failed": True,
        "msg": _not_known(names, why, progress),
        "module_stdout": str(output or ""),
        "module_stderr": errors,
    }


def _look(results_file: str, progress_path: str, progress: t.Mapping[str, t.Any] | None) -> str:
    """Return the command that reads both files and says whether the module, if its process is known, still runs."""
    parts = [f"cat {shlex.quote(results_file)}", f"cat {shlex.quote(progress_path)}"]
    pid = (progress or {}).get("pid")
    if isinstance(pid, int):
        parts.append(f"test -d /proc/{pid} || echo gone")
    return f"({f'; echo; echo {shlex.quote(_MARK)}; '.join(parts)}) 2>/dev/null"


def _is_local(uri: object) -> bool:
    return not uri or not urllib.parse.urlsplit(str(uri)).netloc


def _limit(arguments: t.Mapping[str, t.Any]) -> int:
    """Return after how many seconds to kill the job. The module itself gives up earlier."""
    if arguments.get("post_copy"):
        return _LONGEST_SECONDS
    try:
        return int(str(arguments.get("timeout_seconds"))) + _MORE_SECONDS
    except ValueError:
        return _LONGEST_SECONDS


@contextlib.contextmanager
def _async_limit(task: t.Any, seconds: int) -> t.Iterator[None]:
    """Let ActionBase start a job in the background. It reads the limit from the task."""
    before = task.async_val
    task.async_val = seconds
    try:
        yield
    finally:
        task.async_val = before


def _json(text: str) -> dict[str, t.Any] | None:
    """Parse one JSON object. None if there is none (the file does not exist yet, or no longer)."""
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
