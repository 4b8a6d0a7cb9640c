# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Replays policies in processes of their own, side by side, and writes down what each run decided.

A process that is killed leaves its journal, and the next backtest of the same recording, policy, settings and code goes
on where it ended: what was decided is done again without planning. The processes are started anew rather than forked,
because Ansible's own may have threads, and they end when the process that started them does.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.recording import Recording
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.replay import Replay
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.settings import Settings
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._text import percent, several

Json = dict[str, t.Any]

_POLL_SECONDS = 0.2
_FIRST_SECONDS, _EVERY_SECONDS = 5.0, 10.0
"""When progress is told for the first time, and how often from then on."""
_MOST_NAMED = 3
_PART = 1 << 20


@dataclass(frozen=True, slots=True)
class Job:
    """A policy to be replayed. ``journal``: the file with a line for each run that was decided. ``result``: the file
    with what came of it."""

    name: str
    policy: Json
    journal: pathlib.Path
    result: pathlib.Path


def replay_all(
    recording: Recording,
    policies: Mapping[str, Json],
    settings: Settings,
    directory: pathlib.Path,
    *,
    processes: int | None = None,
    tell: Callable[[str], None] = lambda _line: None,
) -> dict[str, Json]:
    """The results of the policies by name. ``directory``: where journals and results are, and stay for the next time.

    ``processes``: how many work at once, None = one for each CPU. ``tell`` is called with lines about the progress.
    Raises BalanceError where a replay fails, OSError where the directory cannot be written.
    """
    same = _digest(recording, settings)
    jobs = [_job(name, policy, directory, same) for name, policy in policies.items()]
    left = [job for job in jobs if not job.result.exists()]
    if len(left) < len(jobs):
        tell(f"backtest: the results of {len(jobs) - len(left)} of {len(jobs)} policies are known from an earlier one")
    runs = math.ceil((recording.steps - 1) / settings.every)
    most = min(processes or os.cpu_count() or 1, len(left))
    progress = Progress(left, runs)
    going_on = progress.going_on()
    if going_on:
        tell(f"backtest: goes on where an earlier one ended: {several(going_on, _MOST_NAMED)}")
    waiting = list(reversed(left))
    working: dict[str, tuple[Job, _Worker]] = {}
    data = pickle.dumps((recording, settings))
    parent = os.getppid()
    try:
        while waiting or working:
            while waiting and len(working) < most:
                job = waiting.pop()
                working[job.name] = (job, _Worker(job, data))
            for name, (job, worker) in list(working.items()):
                if worker.ended():
                    del working[name]
                    worker.check(job)
                    progress.end(job)
            # Ansible's process for a task outlives the one that a person has killed.
            if os.getppid() != parent:
                raise BalanceError("The backtest was ended. Start it again, and it goes on where it was.")
            line = progress.line(time.monotonic())
            if line is not None:
                tell(line)
            if working:
                time.sleep(_POLL_SECONDS)
    finally:
        for _its_job, worker in working.values():
            worker.kill()
    return {job.name: json.loads(job.result.read_text(encoding="utf-8")) for job in jobs}


def _digest(recording: Recording, settings: Settings) -> str:
    """What makes this recording, these settings and this code different from any other."""
    digest = hashlib.sha256(f"{recording!r}\n{settings!r}\n".encode())
    for path in sorted(pathlib.Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _job(name: str, policy: Json, directory: pathlib.Path, same: str) -> Job:
    key = hashlib.sha256(f"{same}\n{json.dumps(policy, sort_keys=True)}".encode()).hexdigest()[:24]
    return Job(name, policy, directory / f"{key}.journal", directory / f"{key}.json")


class Progress:
    """How far the replays are, by the lines of their journals."""

    def __init__(self, jobs: list[Job], runs: int) -> None:
        """Begin with what earlier backtests have left."""
        self._jobs, self._runs = jobs, runs
        self._read = {job.name: 0 for job in jobs}
        self._done = {job.name: 0 for job in jobs}
        self._ended: set[str] = set()
        self._count()
        self._before = sum(self._done.values())
        self._began: float | None = None
        self._told = 0.0

    def end(self, job: Job) -> None:
        """A job is done: its journal is no more, and all its runs count."""
        self._ended.add(job.name)
        self._done[job.name] = self._runs

    def going_on(self) -> list[str]:
        """The policies that an earlier backtest has begun, with how far it came."""
        return [self._part(job) for job in self._jobs if self._done[job.name]]

    def _part(self, job: Job) -> str:
        return f"{job.name} ({percent(min(1.0, self._done[job.name] / self._runs))})"

    def _count(self) -> None:
        for job in self._jobs:
            if job.name in self._ended:
                continue
            with contextlib.suppress(FileNotFoundError), job.journal.open("rb") as file:
                file.seek(self._read[job.name])
                while part := file.read(_PART):
                    self._read[job.name] += len(part)
                    self._done[job.name] += part.count(b"\n")

    def line(self, now: float) -> str | None:
        """The line to show at ``now`` (seconds of a monotonic clock), None = none."""
        if self._began is None:
            self._began, self._told = now, now - _EVERY_SECONDS + _FIRST_SECONDS
        if now - self._told < _EVERY_SECONDS:
            return None
        self._told = now
        self._count()
        done, total = sum(self._done.values()), self._runs * len(self._jobs)
        parts = [self._part(job) for job in self._jobs if self._done[job.name] and job.name not in self._ended]
        pace = (done - self._before) / (now - self._began)
        left = f", about {_time((total - done) / pace)} left" if pace > 0 and done < total else ""
        if len(self._jobs) == 1:
            return f"backtest: {done} of {total} runs{left}"
        working = f", at work on {several(parts, _MOST_NAMED)}" if parts else ""
        return f"backtest: {len(self._ended)} of {len(self._jobs)} policies are done{working}{left}"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


class _Worker:
    """A process that replays one policy."""

    def __init__(self, job: Job, data: bytes) -> None:
        root = next(parent.parent for parent in pathlib.Path(__file__).parents if parent.name == "ansible_collections")
        paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
        # It is closed when the process has ended.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # the process outlives this function
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        # One that ended at once says why.
        with contextlib.suppress(BrokenPipeError):
            pipe = t.cast("t.IO[bytes]", self._process.stdin)
            # It stays open: its end tells the process that nobody waits for it any more.
            pipe.write(pickle.dumps(job) + data)
            pipe.flush()

    def ended(self) -> bool:
        return self._process.poll() is not None

    def check(self, job: Job) -> None:
        """Raise BalanceError unless the replay was made."""
        with self._said as file:
            file.seek(0)
            said = file.read().decode(errors="replace").strip()
        self._close()
        if self._process.returncode == 0 and job.result.exists():
            return
        last = said.splitlines()[-1] if said else f"it ended with {self._process.returncode}"
        raise BalanceError(f"Policy {job.name!r} cannot be replayed: {last}")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._said.close()
        self._close()

    def _close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            t.cast("t.IO[bytes]", self._process.stdin).close()


def work(job: Job, recording: Recording, settings: Settings) -> None:
    """Replay one policy, from where its journal ends. Raises BalanceError."""
    with job.journal.open("a+b") as journal:
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BalanceError("another backtest is at it. Wait for it, or name another directory.") from None
        known = list(_known(journal))
        before = known[-1]["cpu_seconds"] if known else 0.0
        began = time.process_time()
        replay = Replay(recording, job.policy, settings, decided=[entry["decision"] for entry in known])
        while replay.done < replay.steps:
            decision = replay.step()
            spent = before + time.process_time() - began
            journal.write(json.dumps({"cpu_seconds": round(spent, 3), "decision": decision}).encode() + b"\n")
            journal.flush()
        spent = before + time.process_time() - began
        result = {**replay.result(job.name), "cpu_seconds": round(spent, 2)}
        handle, temporary = tempfile.mkstemp(dir=job.result.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(result, file)
        os.replace(temporary, job.result)
        job.journal.unlink()


def _known(journal: t.IO[bytes]) -> Iterator[Json]:
    """The whole lines of a journal; what comes after them is cut off."""
    journal.seek(0)
    whole = 0
    for line in journal:
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n"):
            break
        whole += len(line)
        yield entry
    journal.truncate(whole)


def _end_with_parent(handle: int) -> None:
    # Not by the buffered stream, whose lock would be waited for when the process ends.
    while os.read(handle, _PART):
        pass
    os._exit(1)


def main() -> int:
    """Replay what standard input says; sentences about what is wrong go to standard output."""
    job = pickle.load(sys.stdin.buffer)
    recording, settings = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, args=[sys.stdin.fileno()], daemon=True).start()
    try:
        work(job, recording, settings)
    except (BalanceError, OSError) as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
