# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""How far from the fewest moves are the plans of small fleets?

    benchmarks/fewest_moves.py [--size 10x100] [--seeds 1,2,3,4] [--kinds spread,clustered] [--seconds 60] [--json]

Random fleets (planner/fleets.py) are planned with ``target: 0.1`` and no ``max_moves``. Beside that stands what CP-SAT
(Python package ortools) finds in so many seconds for the same question: the fewest moves after which CPU and memory in
use differ by the target at most, no host is above its threads or 95 % of its memory by maximum, nor above 4 vCPUs per
thread. Its bound is what no plan can be below. A row is marked where a plan has more than two moves over CP-SAT's.

With --json there is one row a line: kind, seed, moves, spread, cpu_seconds, solver, bound.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import typing as t
from pathlib import Path

# `make setup` puts a link to this checkout there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / ".cache" / "collections"))

from planner import fleets  # the package beside this file
from planner.snapshot import snapshot

from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan

TARGET = 0.1
CLOSE = 2
POLICY = {"target": TARGET, "max_moves": None, "cpu_limit": 1.0, "memory_limit": fleets.MEMORY_FILL}
UNIT = 10_000
"""CP-SAT counts in whole numbers: parts of a host."""
HEAD = f"{'fleet':<10} {'seed':>4} {'moves':>6} {'CPU':>6} {'memory':>6} {'CPU s':>6} {'CP-SAT':>7} {'bound':>6}"


class Solved(t.NamedTuple):
    """What CP-SAT found: the fewest moves, None = none in time, and what no plan can be below."""

    moves: int | None
    bound: int


def main() -> None:
    """Plan and solve each fleet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="10x100", help="hosts x domains")
    parser.add_argument("--seeds", default="1,2,3,4")
    parser.add_argument("--kinds", default="spread,clustered", help=f"of {', '.join(fleets.KINDS)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="for CP-SAT, for each fleet")
    parser.add_argument("--json", action="store_true", help="one row a line")
    wanted = parser.parse_args()
    hosts, domains = (int(part) for part in wanted.size.split("x"))
    if not wanted.json:
        print(HEAD)
    for kind in wanted.kinds.split(","):
        for seed in map(int, wanted.seeds.split(",")):
            try:
                fleet = fleets.generate(hosts, domains, kind, seed)
            except ValueError as error:
                print(f"{kind} {seed}: {error}", file=sys.stderr)
                continue
            data = snapshot(fleet)
            began = time.process_time()
            found = plan(data, POLICY)
            seconds = time.process_time() - began
            _tell(kind, seed, found, seconds, _solve(fleet, wanted.seconds), as_json=wanted.json)


def _tell(kind: str, seed: int, found: dict[str, t.Any], seconds: float, solved: Solved, *, as_json: bool) -> None:
    moves, after = sum(len(wave["moves"]) for wave in found["waves"]), found["spread"]["after"]
    if as_json:
        spread = {name: after[name] for name in ("cpu", "memory")}
        row = {"kind": kind, "seed": seed, "moves": moves, "spread": spread, "cpu_seconds": round(seconds, 2)}
        print(json.dumps({**row, "solver": solved.moves, "bound": solved.bound}), flush=True)
        return
    far = solved.moves is not None and moves > solved.moves + CLOSE
    level = max(after["cpu"], after["memory"]) <= TARGET + 1e-6
    notes = [*(["more than two over CP-SAT"] if far else []), *([] if level else ["target not reached"])]
    row_text = f"{kind:<10} {seed:>4} {moves:>6} {after['cpu']:>6.1%} {after['memory']:>6.1%} {seconds:>6.2f} "
    print(
        f"{row_text}{'-' if solved.moves is None else solved.moves:>7} {solved.bound:>6} {', '.join(notes)}".rstrip(),
        flush=True,
    )


def _solve(fleet: fleets.Fleet, seconds: float) -> Solved:
    """The fewest moves, by CP-SAT."""
    try:
        from ortools.sat.python import cp_model
    except ImportError:
        sys.exit("This needs CP-SAT: pip install ortools")
    model = cp_model.CpModel()
    on = [[model.new_bool_var("") for _host in fleet.hosts] for _domain in fleet.domains]
    for places in on:
        model.add_exactly_one(places)
    least = [model.new_int_var(0, UNIT, "") for _resource in ("cpu", "memory")]
    for index, host in enumerate(fleet.hosts):
        here = list(zip((places[index] for places in on), fleet.domains, strict=True))
        own = round(UNIT * host.own_mib / host.memory_mib)
        cpu = sum(round(UNIT * domain.cores / host.threads) * is_on for is_on, domain in here)
        memory = own + sum(round(UNIT * domain.used_mib / host.memory_mib) * is_on for is_on, domain in here)
        most = own + sum(round(UNIT * domain.maximum_mib / host.memory_mib) * is_on for is_on, domain in here)
        model.add(cpu <= UNIT)
        model.add(most <= int(UNIT * fleets.MEMORY_FILL))
        model.add(sum(domain.vcpus * is_on for is_on, domain in here) <= int(fleets.VCPU_RATIO * host.threads))
        for start, use in zip(least, (cpu, memory), strict=True):
            model.add(use >= start)
            model.add(use <= start + int(TARGET * UNIT))
    model.minimize(sum(1 - places[domain.host] for places, domain in zip(on, fleet.domains, strict=True)))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    status = solver.solve(model)
    solved = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    return Solved(round(solver.objective_value) if solved else None, max(0, round(solver.best_objective_bound)))


if __name__ == "__main__":
    main()
