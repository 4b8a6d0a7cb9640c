# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The command line of ../planner.py: one engine after the other on one fleet after the other, each in its process."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

from . import table
from .engines import Engine, every
from .fleets import KINDS
from .table import Row
from .targets import verdicts

ROOT = Path(__file__).resolve().parents[2]
PEERS = ("hbal", "proxlb", "optimal")
_PATIENCE = 6
"""Seconds of a clock for each CPU second of the limit, on a machine that is busy with other things as well."""
_VERSION = """
import importlib.metadata, importlib.util, sys
print(importlib.metadata.version(sys.argv[1]) if importlib.util.find_spec(sys.argv[1]) else "")
"""


class Ready(t.NamedTuple):
    """An engine that can run: the interpreter for its process, the version of a peer."""

    engine: Engine
    python: str
    version: str


def main() -> None:
    """Measure, print the rows as they come, then the targets."""
    options = _arguments()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="planner-") as name:
        rows = _Run(options, Path(name)).rows()
    for verdict in verdicts(rows):
        print(json.dumps(verdict._asdict()) if options.json else verdict)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="planner.py",
        description="Plan the same random fleets with this collection's engine and with its peers, and compare.",
        epilog="Peers are never installed by this script. hbal is in Debian's ganeti-htools. proxlb and ortools (for "
        "optimal) are on PyPI: install proxlb, which brings ortools, where this Python finds it or into an environment "
        "of its own and name its interpreter: --proxlb-python ENVIRONMENT/bin/python. See benchmarks/README.md.",
    )
    parser.add_argument(
        "--sizes", type=_sizes, default=_sizes("10x100,20x200,40x400"), help="HOSTSxDOMAINS,... (%(default)s)"
    )
    parser.add_argument("--kinds", type=_words(KINDS), default=KINDS, help=f"of {','.join(KINDS)} (all)")
    parser.add_argument("--peers", type=_words(PEERS), default=(), help=f"of {','.join(PEERS)} (none)")
    parser.add_argument("--seed", type=int, default=1, help="other random fleets (1)")
    parser.add_argument("--time-limit", type=int, default=180, help="CPU seconds for one engine on one fleet (180)")
    parser.add_argument("--proxlb-python", default="", help="interpreter that has proxlb and ortools (this one)")
    parser.add_argument("--json", action="store_true", help="one row per line as JSON, then one target per line")
    options = parser.parse_args()
    if options.proxlb_python and not shutil.which(options.proxlb_python):
        parser.error(f"--proxlb-python: {options.proxlb_python} is not a program")
    return options


def _sizes(text: str) -> list[tuple[int, int]]:
    found = []
    for part in text.split(","):
        size = re.fullmatch(r"([0-9]+)x([0-9]+)", part.strip())
        if size is None:
            raise argparse.ArgumentTypeError(f"{part!r} is not a size such as 40x400")
        found.append((int(size[1]), int(size[2])))
    return found


def _words(allowed: t.Sequence[str]) -> t.Callable[[str], list[str]]:
    def split(text: str) -> list[str]:
        found = [word.strip() for word in text.split(",") if word.strip()]
        for word in found:
            if word not in allowed:
                raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(allowed)}")
        return found

    return split


class _Run:
    """All rows of one run of the script."""

    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self.options, self.directory = options, directory
        self.environment = {**os.environ, "PYTHONPATH": f"{_collections(directory)}{os.pathsep}{ROOT / 'benchmarks'}"}
        self.request, self.result = directory / "request.json", directory / "result.json"
        self.done: list[Row] = []
        self.unfinished: dict[tuple[str, str], str] = {}

    def rows(self) -> list[Row]:
        """Measure everything that was asked for."""
        ready = self._ready()
        if not self.options.json:
            self._introduce(ready)
        for hosts, domains in self.options.sizes:
            for kind in self.options.kinds:
                self._fleet((hosts, domains, kind, self.options.seed), ready)
        return self.done

    def _ready(self) -> list[Ready]:
        """The engines to measure; one line for each that cannot be."""
        found, told = [], set()
        for engine in every().values():
            if engine.peer and engine.peer not in self.options.peers:
                continue
            if engine.follows and engine.follows not in self.options.peers:
                continue
            ready = self._find(engine)
            if ready is not None:
                found.append(ready)
            elif engine.peer not in told:
                told.add(engine.peer)
                print(f"{engine.peer} is skipped, it is not there: {engine.install}.", file=sys.stderr)
        return found

    def _find(self, engine: Engine) -> Ready | None:
        if engine.program is not None:
            if shutil.which(engine.program) is None:
                return None
            said = subprocess.run([engine.program, "--version"], capture_output=True, text=True, check=False).stdout
            number = re.search(r"version (\S+)", said)
            return Ready(engine, sys.executable, number[1] if number else "unknown")
        if engine.module is None:
            return Ready(engine, sys.executable, "")
        for python in filter(None, (sys.executable, self.options.proxlb_python)):
            asked = subprocess.run([python, "-c", _VERSION, engine.module], capture_output=True, text=True, check=False)
            if asked.stdout.strip():
                return Ready(engine, python, asked.stdout.strip())
        return None

    def _introduce(self, ready: list[Ready]) -> None:
        versions = {f"{item.engine.peer} {item.version}": None for item in ready if item.engine.peer}
        now = datetime.datetime.now(tz=datetime.UTC)
        versions = {f"this engine {_commit()}": None, **versions}
        print(f"{now:%Y-%m-%d}, {_processor()}, Python {platform.python_version()}", *versions, sep=", ")
        print(f"seed {self.options.seed}, at most {self.options.time_limit} CPU seconds for one engine on one fleet")

    def _fleet(self, fleet: tuple[int, int, str, int], ready: list[Ready]) -> None:
        hosts, domains, kind, _seed = fleet
        if not self.options.json:
            print(f"\n{hosts} hosts, {domains} domains, {kind}\n{table.heading()}", flush=True)
        self._ask({"fleet": fleet})
        self._add({**self._shape(fleet), "engine": "(before)", "version": "", **self._judge()})
        for item in ready:
            if item.engine.follows:
                continue
            row = self._measure(item, fleet, item.engine.name, {})
            for other in ready:
                if item.engine.peer and other.engine.follows == item.engine.peer and row["cpu_seconds"] is not None:
                    self._measure(other, fleet, other.engine.name, {"row": row})

    def _shape(self, fleet: tuple[int, int, str, int]) -> Row:
        empty = dict.fromkeys(column.key for column in table.COLUMNS)
        return {"hosts": fleet[0], "domains": fleet[1], "kind": fleet[2], **empty}

    def _add(self, row: Row) -> None:
        self.done.append(row)
        print(json.dumps(row) if self.options.json else table.line(row), flush=True)

    def _measure(self, item: Ready, fleet: tuple[int, int, str, int], name: str, options: Row) -> Row:
        row = {**self._shape(fleet), "engine": name, "version": item.version}
        smaller = self.unfinished.get((name, fleet[2]))
        found: Row = {"not_finished": f"not tried, not even {smaller} was"} if smaller else {}
        found = found or self._work(item, fleet, options)
        if "not_finished" in found:
            row["note"] = f"not finished: {found['not_finished']}"
            self.unfinished.setdefault((name, fleet[2]), f"{fleet[0]}x{fleet[1]}")
        else:
            peak = found["peak_mib"] if found["peak_mib"] is not None else found["own_peak_mib"]
            row |= {"cpu_seconds": round(found["cpu_seconds"], 4), "peak_mib": round(peak, 1), "note": found["note"]}
            row |= self._judge()
        self._add(row)
        return row

    def _work(self, item: Ready, fleet: tuple[int, int, str, int], options: Row) -> Row:
        """Run an engine in its process; what it reported, and the peak of the process."""
        limit = self.options.time_limit
        log = self.directory / "log"
        self._ask({"engine": item.engine.name, "fleet": fleet, "limit_seconds": limit, "options": options})
        command = [item.python, "-m", "planner.worker", str(self.request), str(self.result)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, env=self.environment, start_new_session=True
            )
            status, peak = _wait(process, limit * _PATIENCE)
        if status == -signal.SIGXCPU:
            return {"not_finished": f"stopped after {limit} CPU seconds"}
        if status == -signal.SIGKILL:
            return {"not_finished": f"killed: out of memory, or after {limit * _PATIENCE} seconds of the clock"}
        if status != 0:
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [f"exit status {status}"]
            sys.exit(f"{item.engine.name} failed: {said[-1]}")
        return {**json.loads(self.result.read_text(encoding="utf-8")), "own_peak_mib": peak}

    def _ask(self, request: Row) -> None:
        self.request.write_text(json.dumps(request), encoding="utf-8")
        self.result.unlink(missing_ok=True)

    def _judge(self) -> Row:
        """What the judge says about the last result, or about the fleet where nothing was run yet."""
        verdict = self.directory / "verdict.json"
        command = [sys.executable, "-m", "planner.judge", str(self.request), str(self.result), str(verdict)]
        subprocess.run(command, env=self.environment, check=True)
        return t.cast(Row, json.loads(verdict.read_text(encoding="utf-8")))


def _wait(process: subprocess.Popen[bytes], seconds: int) -> tuple[int, float]:
    """How a process and what it started ended, at most after so many seconds, and its peak in MiB."""
    signal.signal(signal.SIGALRM, lambda _number, _frame: os.killpg(process.pid, signal.SIGKILL))
    signal.alarm(seconds)
    try:
        _child, status, used = os.wait4(process.pid, 0)
    except BaseException:  # such as Ctrl-C, which a session of its own does not get
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        signal.alarm(0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used.ru_maxrss / 1024


def _collections(directory: Path) -> Path:
    """A place from which this checkout, and no other copy of the collection, is imported."""
    inner = directory / "collections" / "ansible_collections" / "virtops"
    inner.mkdir(parents=True)
    for package in (inner, inner.parent):
        (package / "__init__.py").touch()
    (inner / "balance").symlink_to(ROOT)
    return directory / "collections"


def _commit() -> str:
    """The commit of this checkout, with a plus where the engine differs from it."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
        differs = subprocess.run(
            [*git, "diff", "--quiet", "HEAD", "--", "plugins/plugin_utils"], check=False
        ).returncode
    except (OSError, subprocess.CalledProcessError):
        return "of no known commit"
    return head.strip() + "+" * bool(differs)


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.machine()
