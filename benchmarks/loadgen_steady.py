# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""How steady the load generator of the role loadgen holds this machine, while another process disturbs it.

For each range it starts the generator, gives it time to settle, and then samples /proc/stat once a second by itself. A
process that disturbs takes its share of the machine for ten seconds, then none for ten seconds. What everybody else
on the machine took is in the table too: a generator can only answer to that, one second late.

On a machine that is never quiet, --apart shows the generator a machine on which only itself and the process that
disturbs it run: a file in place of /proc/stat, made from the time that these two spent on a CPU. Both run at a
real-time priority then (which needs root), because what they want must be there for them.

--sh measures the reduced version for machines without Python, run by busybox.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import typing as t

FILES = pathlib.Path(__file__).resolve().parents[1] / "roles" / "loadgen" / "files"
CYCLE = 0.1
SPELL = 10.0
TICKS = os.sysconf("SC_CLK_TCK")
COLUMNS = (
    "range",
    "settled after s",
    "mean",
    "mean error",
    "seconds inside",
    "means of 5 s inside",
    "hopeless s",
    "others",
    "generator",
)


class Sample(t.NamedTuple):
    """One second: the machine's utilisation, and what the generator and the disturbing process took, in percent."""

    machine: float
    generator: float
    disturber: float

    @property
    def others(self) -> float:
        return self.machine - self.generator - self.disturber


class Machine:
    """Samples the machine and the CPU time of processes between two calls."""

    def __init__(self, stat: pathlib.Path, generator: int | None, disturber: int | None) -> None:
        self.stat = stat
        self.pids = (generator, disturber)
        self.before = self._read()

    def _read(self) -> tuple[list[int], list[float]]:
        with self.stat.open(encoding="ascii") as file:
            ticks = [int(word) for word in file.readline().split()[1:8]]
        return ticks, [seconds_of_tree(pid) * TICKS if pid else 0 for pid in self.pids]

    def sample(self) -> Sample:
        before, self.before = self.before, self._read()
        ticks = [new - old for old, new in zip(before[0], self.before[0], strict=True)]
        total = max(1, sum(ticks))
        taken = [100 * (new - old) / total for old, new in zip(before[1], self.before[1], strict=True)]
        return Sample(100 * (total - ticks[3] - ticks[4]) / total, *taken)


def seconds_of_tree(pid: int) -> float:
    """Return how long a process and its children were on a CPU, 0 for one that is gone.

    Source: Documentation/scheduler/sched-stats.rst, /proc/PID/schedstat, first field, in nanoseconds.
    """
    try:
        own = int(pathlib.Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0])
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return own / 1e9 + sum(seconds_of_tree(int(child)) for child in children)


class MachineApart(threading.Thread):
    """Writes a file like /proc/stat of a machine on which only some processes run."""

    def __init__(self, stat: pathlib.Path) -> None:
        super().__init__(daemon=True)
        self.stat = stat
        self.pids: list[int] = []
        self.over = threading.Event()
        self._began = time.monotonic()
        self._busy = 0
        self._write()

    def run(self) -> None:
        while not self.over.wait(0.02):
            self._write()

    def _write(self) -> None:
        cpus = multiprocessing.cpu_count()
        # A child that has ended takes its time along.
        self._busy = max(self._busy, round(TICKS * sum(seconds_of_tree(pid) for pid in self.pids)))
        idle = max(0, round(TICKS * cpus * (time.monotonic() - self._began)) - self._busy)
        each = "".join(f"cpu{number} 0 0 0 0 0 0 0\n" for number in range(cpus))
        new = self.stat.with_suffix(".new")
        new.write_text(f"cpu  {self._busy} 0 0 {idle} 0 0 0\n{each}", encoding="ascii")
        new.replace(self.stat)


def disturb(cores: float, priority: int) -> None:
    """Take so many CPUs (at most one) for a spell, then none for a spell, for ever."""
    if priority:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))
    while True:
        spell_ends = time.monotonic() + SPELL
        while time.monotonic() < spell_ends:
            busy_until = time.monotonic() + cores * CYCLE
            while time.monotonic() < busy_until:
                pass
            time.sleep((1 - cores) * CYCLE)
        time.sleep(SPELL)


def observe(machine: Machine, seconds: int) -> list[Sample]:
    samples = []
    tick = time.monotonic()
    for _second in range(seconds):
        tick += 1
        time.sleep(max(0.0, tick - time.monotonic()))
        samples.append(machine.sample())
    return samples


def command_line(minimum: float, maximum: float, directory: pathlib.Path, stat: pathlib.Path, *, sh: bool) -> list[str]:
    """Return how to start a generator that keeps its files in this directory."""
    if sh:
        (directory / "settings").write_text(f"minimum={minimum:.0f}\nmaximum={maximum:.0f}\n", encoding="utf-8")
        return ["busybox", "sh", str(FILES / "loadgen.sh"), "run", str(directory)]
    settings = directory / "settings.json"
    settings.write_text(json.dumps({"minimum": minimum, "maximum": maximum, "address": ""}), encoding="utf-8")
    program = [sys.executable, str(FILES / "loadgen.py"), "run"]
    return [*program, "--settings", str(settings), "--runtime", str(directory), "--stat", str(stat)]


def measure(
    minimum: float, maximum: float, *, settle: int, seconds: int, percent: float, apart: bool, sh: bool
) -> list[Sample]:
    """Return a sample for each second, those of settling first."""
    # A fork would hold on to what this process has open.
    context = multiprocessing.get_context("spawn")
    cpus = context.cpu_count()
    priority = 1 if apart else 0
    disturber = context.Process(target=disturb, args=(min(1.0, percent / 100 * cpus), priority), daemon=True)
    with tempfile.TemporaryDirectory() as directory:
        world = MachineApart(pathlib.Path(directory, "stat")) if apart else None
        stat = world.stat if world else pathlib.Path("/proc/stat")
        disturber.start()
        command = command_line(minimum, maximum, pathlib.Path(directory), stat, sh=sh)
        generator = subprocess.Popen(["chrt", "--rr", str(priority), *command] if priority else command)
        try:
            if world:
                world.pids = [pid for pid in (generator.pid, disturber.pid) if pid]
                world.start()
            return observe(Machine(stat, generator.pid, disturber.pid), settle + seconds)
        finally:
            if world:
                world.over.set()
                world.join()
            generator.terminate()
            generator.wait()
            disturber.terminate()
            disturber.join()


def settled_after(samples: t.Sequence[Sample], minimum: float, maximum: float) -> int | None:
    """Return the second from which the mean of five stays within 3 points of the range's middle for these five."""
    middle = (minimum + maximum) / 2
    for start in range(len(samples) - 4):
        if abs(statistics.fmean(sample.machine for sample in samples[start : start + 5]) - middle) <= 3:
            return start + 1
    return None


def row(samples: t.Sequence[Sample], minimum: float, maximum: float, *, settle: int) -> list[str]:
    held = samples[settle:]
    middle = (minimum + maximum) / 2
    machine = [sample.machine for sample in held]
    others = [sample.others for sample in held]
    inside = sum(minimum <= value <= maximum for value in machine)
    fives = [statistics.fmean(machine[start : start + 5]) for start in range(len(machine) - 4)]
    # Seconds in which nobody could have done it: all but the generator were above the range, then or just before.
    hopeless = sum(
        max(now.others + now.disturber, before.others + before.disturber) > maximum
        for before, now in zip(samples[settle - 1 :], held, strict=False)
    )
    settled = settled_after(samples, minimum, maximum)
    return [
        f"{minimum:g}-{maximum:g}",
        "never" if settled is None else f"{settled}",
        f"{statistics.fmean(machine):.1f}",
        f"{statistics.fmean(abs(value - middle) for value in machine):.1f}",
        f"{100 * inside / len(held):.0f} %",
        f"{100 * sum(minimum <= value <= maximum for value in fives) / len(fives):.0f} %",
        f"{hopeless}",
        f"{statistics.fmean(others):.1f} +- {statistics.pstdev(others):.1f}",
        f"{statistics.fmean(sample.generator for sample in held):.1f}",
    ]


def parse_range(text: str) -> tuple[float, float]:
    low, _dash, high = text.partition("-")
    return float(low), float(high)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranges", default="20-30,45-55,70-80", help="percent (default: %(default)s)")
    parser.add_argument("--settle", type=int, default=15, help="seconds before it counts (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=60, help="seconds that count (default: %(default)s)")
    parser.add_argument("--disturb", type=float, default=8, help="percent of the machine (default: %(default)s)")
    parser.add_argument("--apart", action="store_true", help="on a machine of their own, see above")
    parser.add_argument("--sh", action="store_true", help="the reduced version for machines without Python")
    options = parser.parse_args()
    if options.apart and options.sh:
        parser.error("--sh looks at /proc/stat, which --apart replaces")
    if options.settle < 5 or options.seconds < 5:
        parser.error("--settle and --seconds must be at least 5")
    if options.apart:
        # Above those that are measured, or the file that they look at would be late.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(2))
    alone = observe(Machine(pathlib.Path("/proc/stat"), None, None), 10)
    machine = [sample.machine for sample in alone]
    mean, deviation = statistics.fmean(machine), statistics.pstdev(machine)
    print(f"{multiprocessing.cpu_count()} CPUs; busy for {mean:.1f} +- {deviation:.1f} % before anything was started.")
    print(f"Disturbed by a process that takes {options.disturb:g} % for 10 s, nothing for 10 s, and so on.\n")
    print("| " + " | ".join(COLUMNS) + " |")
    print("| " + " | ".join("---" for _column in COLUMNS) + " |")
    for minimum, maximum in map(parse_range, options.ranges.split(",")):
        samples = measure(
            minimum,
            maximum,
            settle=options.settle,
            seconds=options.seconds,
            percent=options.disturb,
            apart=options.apart,
            sh=options.sh,
        )
        print("| " + " | ".join(row(samples, minimum, maximum, settle=options.settle)) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
