# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Print what `make test` has found: the slowest tests, every step with its time, then the number of tests.

1 when anything failed.
"""

from __future__ import annotations

import pathlib
import sys
import xml.etree.ElementTree as ET

CACHE = pathlib.Path(__file__).resolve().parents[1] / ".cache"
RESULTS = CACHE / "results"
# ansible-test writes its results into the copy of the collection that it runs in.
UNITS = CACHE / "copy/ansible_collections/virtops/balance/tests/output/junit"
SLOWEST = 25


def suites() -> list[ET.Element]:
    """Return the suites of pytest's JUnit files."""
    files = (*RESULTS.glob("*.xml"), *UNITS.glob("*.xml"))
    return [suite for file in files for suite in ET.parse(file).getroot().iter("testsuite")]


def tests() -> tuple[int, int, int]:
    """Return how many tests passed, failed and were skipped."""
    passed = failed = skipped = 0
    for suite in suites():
        total, skips = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
        bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        passed, failed, skipped = passed + total - bad - skips, failed + bad, skipped + skips
    return passed, failed, skipped


def slowest() -> list[str]:
    """Return a line for each of the slowest tests, the slowest first; setting up what it needs is counted in."""
    cases = [case for suite in suites() for case in suite.iter("testcase")]
    cases.sort(key=lambda case: float(case.get("time", 0)), reverse=True)
    return [
        f"{float(case.get('time', 0)):7.1f} s  {case.get('classname', '').rpartition('tests.')[2]}: {case.get('name')}"
        for case in cases[:SLOWEST]
    ]


def main() -> int:
    """Print the summary and return the exit code."""
    failed_steps = []
    print(f"\nThe {SLOWEST} slowest tests:", *slowest(), "", sep="\n")
    for file in sorted(RESULTS.glob("*.step"), key=lambda path: path.stat().st_mtime_ns):
        code, seconds = file.read_text(encoding="utf-8").split()
        print(f"{'ok    ' if code == '0' else 'FAILED'}  {file.stem:16} {seconds:>4} s")
        if code != "0":
            failed_steps.append(file.stem)
    passed, failed, skipped = tests()
    if failed_steps:
        print(f"Failed: {' '.join(failed_steps)} (what each one printed is in .cache/results)")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed_steps or failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
