# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Run a playbook as its schedule wants it: scheduled_run.py SETTINGS

One run at a time, each with a directory of its own for its log and files, and an exit code that means something:

    0  nothing had to be done, or all was done
    1  it could not be run: ansible-playbook or the settings are not as they should be
    2  it failed: something may have been done
    3  it was refused: nothing was touched (another run acts, the policy or the fleet is not as it should be)
    4  too few hosts answered: nothing was touched

What happened is read from the files that the run leaves, never from what it prints: refused.json, where a step refused
to go on before anything was touched, and outcome.json, where domains were moved. A run that fails and leaves neither
has failed. Hosts that were known in the run before and are not any more are told first, and however the run ended.
SETTINGS is a JSON file that the role schedule writes.
"""

from __future__ import annotations

import contextlib
import email.message
import errno
import fcntl
import json
import os
import pathlib
import platform
import random
import re
import shutil
import subprocess
import sys
import time
import typing as t
from datetime import datetime, timezone

DONE, NOT_RUN, FAILED, REFUSED, NO_ANSWER = range(5)
WORDS = {DONE: "done", NOT_RUN: "not run", FAILED: "failed", REFUSED: "refused", NO_ANSWER: "no answer"}
RUN_DIRECTORY = re.compile(r"\d{8}T\d{6}Z(-\d+)?")
REPORT_SECONDS = 60
# As much of the log as can be read in a mail: the plan, the outcome and what failed, by the callback brief.
REPORT_LINES = 100
REPORT_BYTES = 20000

Json = dict[str, t.Any]


class Verdict(t.NamedTuple):
    """How a run ended. problem: what a person should know, in sentences; None where all is as it should be.
    lost: hosts that are unknown and were not in the run before."""

    code: int
    problem: str | None
    lost: t.Sequence[str] = ()


def main(arguments: list[str]) -> int:
    """Run once and return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: scheduled_run.py SETTINGS\n")
        return NOT_RUN
    try:
        settings = json.loads(pathlib.Path(arguments[0]).read_text(encoding="utf-8"))
        time.sleep(random.uniform(0, settings["jitter_seconds"]))
        return scheduled_run(settings)
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"{arguments[0]}: {type(error).__name__}: {error}\n")
        return NOT_RUN


def scheduled_run(settings: Json) -> int:
    """Run the playbook unless its last run still goes on; note, tell and return how it ended."""
    logs = pathlib.Path(settings["log_directory"])
    with open(logs / "lock", "a", encoding="ascii") as lock:
        began = datetime.now(timezone.utc)
        directory = new_directory(logs, began)
        alone = locked(lock)
        if alone:
            verdict = run(settings, directory, lock.fileno())
        else:
            verdict = Verdict(REFUSED, f"The run before this one still goes on, see {logs / 'last'}.")
        try:
            note(settings, directory, began, verdict)
            if alone:
                rotate(logs, settings["keep_runs"], settings["keep_mib"])
        except OSError as error:
            # A full disk must not hide how the run ended.
            sys.stderr.write(f"{error}\n")
    sys.stdout.write(f"{summary(settings, verdict, directory)}\n")
    if verdict.code in settings["report_codes"] or (verdict.lost and settings["report_codes"]):
        for problem in report(settings, verdict, directory):
            sys.stderr.write(f"{problem}\n")
    return verdict.code


def locked(lock: t.IO[str]) -> bool:
    """Take the lock, unless somebody has it. The playbook has it too: it is given back when both have ended."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    return True


def new_directory(logs: pathlib.Path, began: datetime) -> pathlib.Path:
    """Make the directory of this run, named after the time."""
    name = began.strftime("%Y%m%dT%H%M%SZ")
    count = 1
    while True:
        directory = logs / (name if count == 1 else f"{name}-{count}")
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            count += 1
        else:
            return directory


def command(settings: Json, directory: pathlib.Path) -> list[str]:
    """What is run."""
    extra = [f"@{settings['extra_vars_file']}"] if settings["extra_vars_file"] else []
    return [
        settings["ansible_playbook"],
        *(f"--inventory={source}" for source in settings["inventory"]),
        *(f"--extra-vars={value}" for value in (*extra, json.dumps({"balance_run_dir": str(directory)}))),
        *settings["arguments"],
        settings["playbook"],
    ]


def run(settings: Json, directory: pathlib.Path, lock: int) -> Verdict:
    """Run the playbook to its end, with all that it prints in the file log."""
    link(directory)
    callback = settings.get("stdout_callback")
    environment = {
        # Ansible refuses to work without UTF-8, which is what cron starts programs with.
        "LC_ALL": "C.UTF-8",
        **os.environ,
        **({"ANSIBLE_STDOUT_CALLBACK": callback} if callback else {}),
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONUNBUFFERED": "1",
        **settings["environment"],
    }
    with open(directory / "log", "w", encoding="utf-8") as log:
        try:
            done = subprocess.run(
                command(settings, directory),
                cwd=os.path.expanduser(settings["directory"]),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
                check=False,
            )
        except OSError as error:
            return Verdict(NOT_RUN, f"{settings['ansible_playbook']} could not be started: {error}.")
    return judge(directory, done.returncode)


def judge(directory: pathlib.Path, code: int) -> Verdict:
    """Describe the end of a run, from its directory and the exit code of ansible-playbook."""
    refused, outcome = saved(directory / "refused.json"), saved(directory / "outcome.json")
    # In check mode there is no outcome.
    unknown = (outcome or refused or saved(directory / "plan.json")).get("unknown_hosts") or {}
    told, lost, problem = unknown.get("told"), unknown.get("lost") or (), outcome.get("problem")
    if code == 0 and not problem:
        return Verdict(DONE, str(told) if lost else None, lost)
    # A playbook of several rounds may be refused after some of them were done.
    if refused and not outcome and refused.get("reason") == "no_answer":
        return Verdict(NO_ANSWER, str(refused.get("problem")), lost)
    ended = f"ended with {code}" if code >= 0 else f"was ended by signal {-code}"
    if refused and not outcome:
        end, problem = REFUSED, refused.get("problem")
    else:
        end, problem = FAILED, problem or f"ansible-playbook {ended}, see {directory / 'log'}."
    return Verdict(end, f"{told} {problem}" if told else str(problem), lost)


def saved(path: pathlib.Path) -> Json:
    """What a run saved in a JSON file; {} where it saved nothing there, or not all of it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def link(directory: pathlib.Path) -> None:
    """Point the link ``last`` beside the directory to it, atomically."""
    new = directory.parent / "last.new"
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    new.symlink_to(directory.name)
    new.replace(directory.parent / "last")


def note(settings: Json, directory: pathlib.Path, began: datetime, verdict: Verdict) -> None:
    """Write down how the run ended."""
    result = {
        "schema": 1,
        "name": settings["name"],
        "playbook": settings["playbook"],
        "began_at": began.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "ended_at": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "code": verdict.code,
        "result": WORDS[verdict.code],
        "problem": verdict.problem,
        "lost": list(verdict.lost),
        "count": saved(directory / "outcome.json").get("count"),
    }
    (directory / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def rotate(logs: pathlib.Path, keep_runs: int, keep_mib: float) -> None:
    """Remove the oldest runs, until no more are left than wanted, in number and size; the newest always stays."""
    runs = [path for path in logs.iterdir() if RUN_DIRECTORY.fullmatch(path.name) and not path.is_symlink()]
    runs.sort(key=lambda path: (path.name[:16], int(path.name[17:] or 0)), reverse=True)
    room = keep_mib * 1024 * 1024
    full = False
    for place, path in enumerate(runs):
        room -= sum(file.lstat().st_size for file in path.rglob("*"))
        full = full or place >= keep_runs or room < 0
        if full and place > 0:
            shutil.rmtree(path, ignore_errors=True)


def summary(settings: Json, verdict: Verdict, directory: pathlib.Path) -> str:
    """One line for whoever looks."""
    text = f"{settings['name']}: {WORDS[verdict.code]} ({verdict.code})"
    return f"{text}. {verdict.problem}" if verdict.problem else f"{text}, see {directory}."


def report(settings: Json, verdict: Verdict, directory: pathlib.Path) -> list[str]:
    """Send the notifications; return a sentence for each that failed."""
    text = (
        f"{summary(settings, verdict, directory)}\n\n"
        f"Playbook:  {settings['playbook']}\n"
        f"Host:      {platform.node()}\n"
        f"Files:     {directory}\n"
        f"{end_of_log(directory)}"
    )
    problems = []
    if settings["mail_to"]:
        mail = email.message.EmailMessage()
        mail["To"] = settings["mail_to"]
        mail["Subject"] = f"{settings['name']} on {platform.node()}: {WORDS[verdict.code]}"
        mail.set_content(text)
        problems.append(tell([sendmail(), "-oi", "-t"], mail.as_bytes(), {}))
    if settings["command"]:
        about = {
            "SCHEDULE_NAME": settings["name"],
            "SCHEDULE_CODE": str(verdict.code),
            "SCHEDULE_RESULT": str(directory / "result.json"),
        }
        problems.append(tell(settings["command"], text.encode(), about))
    return [problem for problem in problems if problem]


def end_of_log(directory: pathlib.Path) -> str:
    """The last lines that the run printed, after an empty one; nothing where it printed none."""
    try:
        with open(directory / "log", "rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - REPORT_BYTES))
            lines = log.read().decode("utf-8", errors="replace").rstrip().splitlines()
    except OSError:
        return ""
    if size > REPORT_BYTES:
        lines = lines[1:]
    shown = lines[-REPORT_LINES:]
    if not shown:
        return ""
    before = "What it printed last:\n" if size > REPORT_BYTES or len(lines) > len(shown) else ""
    return "\n" + before + "\n".join(shown) + "\n"


def sendmail() -> str:
    """The mail program; where distributions put it is often not on the path of a job."""
    return shutil.which("sendmail", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/lib") or "sendmail"


def tell(argv: list[str], text: bytes, about: dict[str, str]) -> str | None:
    """Run a program with the text as its input; a sentence where it did not do its part."""
    try:
        done = subprocess.run(
            argv,
            input=text,
            env={**os.environ, **about},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=REPORT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{argv[0]} could not be told: {error}."
    if done.returncode == 0:
        return None
    said = done.stderr.decode(errors="replace").strip()
    return f"{argv[0]} could not be told: it ended with {done.returncode}. {said}".strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
