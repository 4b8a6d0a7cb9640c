# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""One outcome judged, whoever made it: python -m planner.judge REQUEST.json RESULT.json VERDICT.json"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

from . import checker, hbal_format
from .fleets import Fleet, generate, loads

_HBAL_READS = 5000
"""hbal needs time with the square of the domains to read its utilisation file; beyond this its formula is computed."""
_SAME = 1e-6


def main(request: Path, result: Path, verdict: Path) -> None:
    """Judge an outcome of worker.py, or the fleet as it is where there is no result."""
    wanted = json.loads(request.read_text(encoding="utf-8"))
    outcome: dict[str, t.Any] = {"waves": [], "ordered": True}
    if result.exists():
        outcome = json.loads(result.read_text(encoding="utf-8"))
    fleet = generate(*wanted["fleet"])
    if outcome.get("digest", fleet.digest()) != fleet.digest():
        raise SystemExit("The two interpreters do not make the same random fleet: use the same version of Python.")
    waves = [[checker.Step(*step) for step in wave] for wave in outcome["waves"]]
    verdict.write_text(json.dumps(judged(fleet, waves, outcome["ordered"], request.parent)), encoding="utf-8")


def judged(fleet: Fleet, waves: checker.Waves, ordered: bool, directory: Path) -> dict[str, t.Any]:
    """The columns of the table that do not depend on how the engine was measured."""
    placement = fleet.placement
    for step in (step for wave in waves for step in wave):
        placement[step.domain] = step.destination
    violations = checker.final(fleet, placement)
    if ordered:
        violations += checker.on_the_way(fleet, waves)
    carried = list(zip(fleet.hosts, loads(fleet, placement), strict=True))
    used = [load.used_mib / host.memory_mib for host, load in carried]
    moved_mib = sum(fleet.domains[step.domain].used_mib for wave in waves for step in wave)
    score, judge = _score(fleet, placement, directory)
    return {
        "moves": sum(map(len, waves)),
        "moved_gib": round(moved_mib / 1024, 1),
        "hbal_score": round(score, 6),
        "judge": judge,
        "max_host_load": round(max(load.cores / host.threads for host, load in carried), 4),
        "max_host_memory": round(max(load.maximum_mib / host.memory_mib for host, load in carried), 4),
        "memory_spread": max(used) - min(used),
        "violations": checker.total(violations),
        "broken_rules": dict(violations),
    }


def _score(fleet: Fleet, placement: list[int], directory: Path) -> tuple[float, str]:
    """What hbal says about the placement where it is there and can read the fleet; then our formula must agree.

    Of unequal hosts it says something else, so there the formula counts.
    """
    formula = hbal_format.score(fleet, placement)
    if shutil.which("hbal") is None or len(fleet.domains) > _HBAL_READS or not fleet.equal_hosts:
        return formula, "formula"
    data, loads_file = directory / "judged", directory / "judged-utilisation"
    data.write_text(hbal_format.cluster(fleet, placement), encoding="utf-8")
    loads_file.write_text(hbal_format.utilisation(fleet), encoding="utf-8")
    command = ["hbal", "-t", str(data), "-U", str(loads_file), "--max-length=0"]
    output = subprocess.run(command, capture_output=True, text=True, check=False)
    printed = hbal_format.initial_score(output.stdout + output.stderr)
    if abs(printed - formula) > _SAME:
        raise SystemExit(f"hbal's score is {printed}, but its formula computed here gives {formula}.")
    return printed, "hbal"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
