# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The command line of ../traces.py: all cases, in as many processes as it is told to use."""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

# `make setup` puts a link to this checkout there.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".cache" / "collections"))

from . import loads, table
from .cases import Row, cases, run
from .targets import exceptions, targets


def main(arguments: list[str] | None = None) -> None:
    """Replay all cases and print the tables, or with --json a line for each case."""
    parser = argparse.ArgumentParser(prog="traces.py", description="A day of load, replayed through the planner.")
    parser.add_argument("--trace", type=Path, action="append", default=[], help="a day of PlanetLab, .csv or .csv.xz")
    parser.add_argument("--scale", type=int, default=8, help="one of so many machines of a trace (default 8)")
    parser.add_argument("--seeds", type=int, default=3, help="so many days of each made load (default 3)")
    parser.add_argument("--loads", default=",".join(loads.KINDS), help="made loads (default: all; empty: none)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each case, and no tables")
    wanted = parser.parse_args(arguments)
    kinds = [kind for kind in wanted.loads.split(",") if kind]
    unknown = sorted(set(kinds) - set(loads.KINDS))
    missing = [str(path) for path in wanted.trace if not path.is_file()]
    if unknown or missing or min(wanted.scale, wanted.seeds, wanted.jobs) < 1:
        parser.error(
            f"there is no load {', '.join(unknown)}; known are {', '.join(loads.KINDS)}"
            if unknown
            else f"there is no file {', '.join(missing)}"
            if missing
            else "scale, seeds and jobs are numbers of at least 1"
        )
    rows: list[Row] = []
    with ProcessPoolExecutor(wanted.jobs) as pool:
        for row in pool.map(run, cases(wanted.trace, wanted.scale, wanted.seeds, kinds)):
            rows.append(row)
            if wanted.json:
                print(json.dumps(row.to_mapping()), flush=True)
            else:
                print(f"{row.load}, {row.who}{f', seed {row.seed}' if row.seed else ''}: done", file=sys.stderr)
    if wanted.json:
        return
    print(*table.lines(rows), "", *table.target_lines(targets(rows, wanted.scale)), sep="\n")
    worse = exceptions(rows)
    if worse:
        print("", "With a history worse than by the moment:", *(f"- {clause}" for clause in worse), sep="\n")
