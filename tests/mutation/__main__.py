# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Changes the code that acts in small ways, one at a time, and says which changes no unit test notices.

Usage: python -m ansible_collections.virtops.balance.tests.mutation [--list] [MODULE[:LINE]...]

MODULE is a path such as plugins/module_utils/_move/restart.py; without one it is everything that ``TARGETS`` names.
A change is tried with the tests that have come through its line, in a process forked from this one, and its text is
never written to a file. Ends with 1 where a change has survived that ``survivors.txt`` does not know.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import importlib.abc
import importlib.util
import inspect
import itertools
import os
import signal
import sys
import threading
import time
import types
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.tests.mutation.mutants import mutants

ROOT = Path(__file__).resolve().parents[2]
# What the tests print that are run without any change.
SAID = ROOT / ".cache" / "mutation.log"
KNOWN = Path(__file__).with_name("survivors.txt")
# What changes something on a host or decides whether it may be, and the tests that know it.
TARGETS = {
    "plugins/module_utils/_move/*.py": ["module_utils/_move", "modules", "action"],
    "plugins/module_utils/_domain/*.py": ["module_utils/_domain", "module_utils/_move", "module_utils/_tuning"],
    "plugins/module_utils/_host/*.py": ["module_utils/_host", "modules"],
    "plugins/module_utils/_tuning/balloon.py": ["module_utils/_tuning"],
    "plugins/module_utils/_tuning/domain_*.py": ["module_utils/_tuning", "modules"],
    "plugins/plugin_utils/_host_power/*.py": ["plugin_utils/_host_power", "action"],
    "plugins/plugin_utils/_rules/**/*.py": [
        "plugin_utils/_rules",
        "plugin_utils/_plan/test_best_host.py",
        "plugin_utils/_plan/test_plan_groups.py",
        "plugin_utils/_plan/test_traps.py",
    ],
}
# Races of processes and properties of plans: they take long and try nothing that is not tried elsewhere.
LEFT_OUT = ("fifty_times_over", "test_what_was_placed_stays", "test_no_move_of_the_new_domain_is_better")
SECONDS = 60
# So many tests at most for one line.
MOST_TESTS = 150
NAME = "ansible_collections.virtops.balance."


class Lines:
    """A plugin of pytest that notes which tests come through which lines of some files, and how long they take."""

    def __init__(self, files: t.Iterable[Path]) -> None:
        self.files = {str(file): file for file in files}
        self.tests: dict[tuple[Path, int], set[str]] = collections.defaultdict(set)
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if not any(word in item.nodeid for word in LEFT_OUT)]

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> t.Iterator[None]:
        def line(frame: types.FrameType, _event: str, _value: t.Any) -> t.Any:
            self.tests[self.files[os.path.realpath(frame.f_code.co_filename)], frame.f_lineno].add(item.nodeid)
            return line

        def call(frame: types.FrameType, event: str, value: t.Any) -> t.Any:
            # What runs while a module is imported is no more of the test that happens to import it than of any other.
            if "/plugins/" not in frame.f_code.co_filename or not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
                return None
            return line(frame, event, value) if os.path.realpath(frame.f_code.co_filename) in self.files else None

        started = time.monotonic()
        threading.settrace(call)
        sys.settrace(call)
        yield
        sys.settrace(None)
        threading.settrace(t.cast("t.Any", None))
        self.seconds[item.nodeid] = time.monotonic() - started

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from another text."""

    def __init__(self, file: Path, text: str) -> None:
        self.name = NAME + ".".join(file.relative_to(ROOT).with_suffix("").parts)
        self.file, self.text = file, text

    def find_spec(self, fullname: str, _path: t.Any, _target: t.Any = None) -> t.Any:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.file, loader=self)

    def exec_module(self, module: types.ModuleType) -> None:
        exec(compile(self.text, self.file, "exec"), module.__dict__)


def in_a_child(do: t.Callable[[], int], seconds: float) -> int:
    """The code that a forked process ends with, which has to be done in some seconds."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            # What it leaves running in the background ends with it, and it may not wait for ever.
            os.setsid()
            signal.alarm(int(seconds))
            print_into(os.devnull)
            code = do()
        finally:
            os._exit(code)
    _child, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status)


def print_into(path: str | Path) -> None:
    """Have this process read nothing and print into a file."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    for stream in (0, 1, 2):
        os.dup2(file, stream)


def options(*arguments: str) -> list[str]:
    quick = ["--quiet", "--exitfirst", "-p", "no:xdist", f"--rootdir={ROOT}"]
    # This process has imported plugins of pytest for its children.
    return [*arguments, *quick, "-W", "ignore::pytest.PytestAssertRewriteWarning"]


def is_noticed(file: Path, text: str, tests: t.Sequence[str]) -> bool:
    """Whether one of these tests fails, or never ends, with this text."""

    def run() -> int:
        sys.meta_path.insert(0, Changed(file, text))
        return int(pytest.main(options(*tests)))

    return in_a_child(run, SECONDS) != 0


def tests_of(lines: Lines, file: Path, line: int) -> list[str]:
    """The tests that came through a line, else all that came through its file: of each function its quickest case, then
    of each function its second one, and so on."""
    found = lines.tests.get((file, line)) or {
        test for (other, _line), tests in lines.tests.items() if other == file for test in tests
    }
    functions: dict[str, list[str]] = collections.defaultdict(list)
    for test in sorted(found, key=lambda test: lines.seconds[test]):
        functions[test.partition("[")[0]].append(test)
    turns = itertools.zip_longest(*functions.values())
    return [test for turn in turns for test in turn if test is not None][:MOST_TESTS]


def survivors(lines: Lines, file: Path, only: int | None) -> t.Iterator[str]:
    text = file.read_text(encoding="utf-8")
    name = str(file.relative_to(ROOT))
    for mutant in mutants(text):
        if only in (None, mutant.line) and not is_noticed(file, mutant.apply(text), tests_of(lines, file, mutant.line)):
            yield f"{name}:{mutant.describe(text)}"


def count(file: Path) -> int:
    return len(mutants(file.read_text(encoding="utf-8")))


def chosen(asked: t.Sequence[str]) -> dict[Path, tuple[int | None, list[str]]]:
    """Each file with the one line that is asked for, and its directories of tests."""
    found = {}
    for pattern, tests in TARGETS.items():
        for file in sorted(ROOT.glob(pattern)):
            places = [place.partition(":")[2] for place in asked if (ROOT / place.partition(":")[0]) == file]
            if not asked or places:
                line = int(places[0]) if places and places[0] else None
                found[file] = (line, [f"{ROOT}/tests/unit/plugins/{name}" for name in tests])
    return found


def without_line(survivor: str) -> str:
    """What stays the same while lines are added above it."""
    file, _line, change = survivor.split(":", 2)
    return f"{file}:{change}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="only say how many changes there are")
    parser.add_argument("module", nargs="*")
    asked = parser.parse_args()
    files = chosen(asked.module)
    total = {file: count(file) for file in files}
    if asked.list:
        print(*(f"{number:5} {file.relative_to(ROOT)}" for file, number in total.items()), sep="\n")
        return 0
    # This process must not import what is to be changed, so the lines are noted in another one too.
    lines = noted(files)
    # Each line of it stands for one change, also where another one reads the same.
    known = collections.Counter(
        without_line(line) for line in KNOWN.read_text(encoding="utf-8").splitlines() if line[:1] not in ("", "#")
    )
    new = 0
    for file, (line, _tests) in files.items():
        print(f"{file.relative_to(ROOT)}: {total[file]} changes", flush=True)
        for survivor in survivors(lines, file, line):
            is_known = known[without_line(survivor)] > 0
            known[without_line(survivor)] -= 1
            new += not is_known
            print(f"  {'known ' if is_known else 'NEW   '}{survivor}", flush=True)
    print(f"{sum(total.values())} changes, {new} new ones not noticed")
    return 1 if new else 0


def noted(files: t.Mapping[Path, tuple[int | None, list[str]]]) -> Lines:
    """Which tests come through which lines, found out by a child that writes it down."""
    lines = Lines(files)
    directories = sorted({test for _line, tests in files.values() for test in tests})
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        try:
            print_into(SAID)
            code = int(pytest.main(options(*directories), plugins=[lines]))
            with os.fdopen(writing, "w", encoding="utf-8") as pipe:
                for (file, line), tests in lines.tests.items():
                    pipe.writelines(f"{file}\t{line}\t{test}\t{lines.seconds[test]}\n" for test in tests)
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        for told in pipe:
            path, number, test, seconds = told.rstrip("\n").split("\t")
            lines.tests[Path(path), int(number)].add(test)
            lines.seconds[test] = float(seconds)
    _child, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"Tests fail without any change, see {SAID}.")
    return lines


if __name__ == "__main__":
    # What tests import anyhow, once for all children.
    for module in ("ansible.module_utils.basic", "hypothesis", "jmespath", "yaml"):
        importlib.import_module(module)

    sys.exit(main())
