# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""CPU seconds and memory, measured for every engine the same way.

CPU seconds are user plus system time between the moment when an engine has its input in the form that it wants and the
moment when it has its plan: neither the start of an interpreter, nor imports, nor making the fleet. A program of its
own cannot be stopped at these moments; it is run a second time such that it reads its input and plans nothing, and that
is subtracted. Peak memory is the resident set of the whole process (ru_maxrss), interpreter and fleet included.

Linux counts as the peak of a process also what the process that started it had at that moment, so only small processes
may start one that is measured: the parent holds no fleet, and ``run`` goes through a helper (see spawn.py).
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import typing as t
from pathlib import Path

SPAWN = Path(__file__).with_name("spawn.py")


class Meter:
    """Adds up the CPU seconds of what runs inside ``with meter:``, threads and finished children included."""

    def __init__(self) -> None:
        self.cpu_seconds = 0.0

    def __enter__(self) -> None:
        self.cpu_seconds -= _cpu_seconds()

    def __exit__(self, *_exception: object) -> None:
        self.cpu_seconds += _cpu_seconds()


class Ran(t.NamedTuple):
    """A program that has ended; ``status`` is negative for the signal that ended it."""

    status: int
    output: str
    cpu_seconds: float
    peak_mib: float


def run(command: t.Sequence[str], directory: Path) -> Ran:
    """Run a program and measure it; its output goes through files in ``directory``."""
    output, report = directory / "output", directory / "report.json"
    helper = [sys.executable, "-I", "-S", str(SPAWN), str(report), str(output), *command]
    subprocess.run(helper, check=True)
    found = json.loads(report.read_text(encoding="utf-8"))
    return Ran(found["status"], output.read_text(encoding="utf-8"), found["cpu_seconds"], found["peak_mib"])


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
