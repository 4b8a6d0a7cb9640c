# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What the strategies of the filter allocate are worth, beside each other and beside the optimum.

    benchmarks/allocation.py [--seed N] [--fleets 60] [--time-limit 10] [--json]

First the setting of the Xen project that the strategies come from: three hosts of two cores, to which single-vCPU
domains are added one by one up to 21. The table shows the total utility by strategy; the last column says whether
BS <= GM <= GMM <= EMM, as that project found.

Then small random fleets, on which OR-tools proves the optimum. EMM knows nothing of power, so its utility is held
against the highest utility that there is; PEMM's utility less weighted watts against the highest such. The kind `plain`
values a core by the domain's share; in the kind `running` that a domain runs at all has a value as well, so that the
minimum is worth more for each core than the rest. `rounds=0` is without the improvement that is ours.

With --json there is one row a line: setting, kind, fleet, hosts, domains, power_weight, strategy, rounds, utility,
watts (modelled), objective, bound, proved, hosts_in_use, left_out, cpu_seconds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import sys
import time
import typing as t
from pathlib import Path

# `make setup` puts a link to this checkout there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / ".cache" / "collections"))

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.problem import Problem
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.registry import Answer, allocate

Json = dict[str, t.Any]

SHORT = {
    "BS": ("first_fit", {}),
    "GM": ("greedy_max", {}),
    "GMM": ("greedy_min_max", {}),
    "EMM": ("expand_min_max", {}),
    "PEMM": ("power_expand_min_max", {}),
    "EMM rounds=0": ("expand_min_max", {"rounds": 0}),
    "PEMM rounds=0": ("power_expand_min_max", {"rounds": 0}),
}
ORDERED = ("BS", "GM", "GMM", "EMM")
WEIGHTS = (0.0, 0.01, 0.03, 0.06)
TARGET = 0.95
NEAR = 1e-6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fleets", type=int, default=60, help="random fleets of each kind and power weight")
    parser.add_argument("--time-limit", type=float, default=10.0, help="seconds for each optimum")
    parser.add_argument("--json", action="store_true", help="one row a line instead of tables")
    arguments = parser.parse_args()
    rows: list[Json] = []
    for row in measure(arguments.seed, arguments.fleets, arguments.time_limit):
        rows.append(row)
        if arguments.json:
            print(json.dumps(row), flush=True)
    if not arguments.json:
        print_xen([row for row in rows if row["setting"] == "xen"])
        print()
        print_random([row for row in rows if row["setting"] == "random"])


def measure(seed: int, fleets: int, time_limit: float) -> t.Iterator[Json]:
    hosts, pool = xen_setting(random.Random(seed))
    for count in range(1, len(pool) + 1):
        problem = {"hosts": hosts, "domains": dict(list(pool.items())[:count])}
        yield from solve(problem, ("BS", "GM", "GMM", "EMM"), time_limit, setting="xen", kind="plain", fleet=seed)
    for kind in ("plain", "running"):
        for weight in WEIGHTS:
            for fleet in range(fleets):
                # A text, because the seed of Random must not depend on how Python hashes.
                problem = small_fleet(random.Random(f"{seed} {kind} {fleet}"), kind) | {"power_weight": weight}
                names = [name for name in SHORT if weight > 0.0 or not name.startswith("PEMM")]
                yield from solve(problem, names, time_limit, setting="random", kind=kind, fleet=fleet)


def solve(problem: Json, names: t.Iterable[str], time_limit: float, **about: t.Any) -> t.Iterator[Json]:
    read = Problem.from_mapping(problem)
    runs = {name: SHORT[name] for name in names} | {"optimal": ("optimal", {"time_limit_seconds": time_limit})}
    for name, (strategy, parameters) in runs.items():
        start = time.process_time()
        found = allocate(read, strategy, parameters)
        yield about | row_of(problem, name, found, time.process_time() - start)


def row_of(problem: Json, name: str, found: Answer, seconds: float) -> Json:
    short, _space, rounds = name.partition(" rounds=")
    return {
        "hosts": len(problem["hosts"]),
        "domains": len(problem["domains"]),
        "power_weight": problem.get("power_weight", 0.0),
        "strategy": short,
        "rounds": int(rounds) if rounds else None,
        "utility": found.utility,
        "watts": found.watts,
        "objective": found.objective,
        "bound": None if found.proof is None else found.proof.bound,
        "proved": None if found.proof is None else found.proof.optimal,
        "hosts_in_use": sum(host["in_use"] for host in found.hosts.values()),
        "left_out": len(found.left_out),
        "cpu_seconds": round(seconds, 6),
    }


def xen_setting(random_: random.Random) -> tuple[Json, Json]:
    power = {"idle_watts": 60, "max_watts": 120}
    hosts = {f"xen{index}": {"cores": 2, "memory_mib": 16384, "power": power} for index in range(1, 4)}
    domains = {
        f"vm{index:02}": {
            "cpu_min": random_.choice([0.1, 0.2, 0.3]),
            "cpu_max": random_.choice([0.6, 0.8, 1.0]),
            "share": random_.choice([1, 2, 3, 4]),
            "memory_mib": 512,
        }
        for index in range(1, 22)
    }
    return hosts, domains


def small_fleet(random_: random.Random, kind: str) -> Json:
    hosts = {
        f"kvm{index}": {
            "cores": random_.choice([2, 4, 4, 8]),
            "memory_mib": random_.choice([8192, 16384]),
            "power": {"idle_watts": random_.choice([60, 80, 100]), "max_watts": random_.choice([150, 200, 250])},
        }
        for index in range(random_.choice([2, 3, 4]))
    }
    domains: Json = {}
    for index in range(random_.randint(6, 16)):
        cpu_max = random_.choice([0.5, 1, 1, 2, 2, 4])
        domain = {
            "cpu_max": cpu_max,
            "cpu_min": cpu_max * random_.choice([0.1, 0.25, 0.5, 0.75]),
            "share": random_.choice([1, 1, 2, 2, 4, 8]),
            "memory_mib": random_.choice([512, 1024, 2048, 4096]),
        }
        if kind == "running":
            domain["utility_running"] = domain["share"] * cpu_max * random_.choice([0.25, 0.5, 1])
        domains[f"vm{index:02}"] = domain
    return {"hosts": hosts, "domains": domains}


def print_xen(rows: list[Json]) -> None:
    print("Three hosts of two cores, single-vCPU domains added one by one: total utility")
    print(f"{'domains':>7}" + "".join(f"{name:>9}" for name in (*ORDERED, "optimal")) + "   left out by EMM   order")
    broken = 0
    for count in sorted({row["domains"] for row in rows}):
        by = {row["strategy"]: row for row in rows if row["domains"] == count}
        utilities = [by[name]["utility"] for name in ORDERED]
        holds = all(low <= high + NEAR for low, high in itertools.pairwise(utilities))
        broken += not holds
        line = "".join(f"{utility:9.2f}" for utility in (*utilities, by["optimal"]["utility"]))
        print(f"{count:7}{line}{by['EMM']['left_out']:18}   {'holds' if holds else 'BROKEN'}")
    print(f"BS <= GM <= GMM <= EMM {'everywhere' if not broken else f'but for {broken} of the rows'}.")


def print_random(rows: list[Json]) -> None:
    print("Small random fleets: ratio to the proved optimum (of the utility for EMM, of the objective for the others)")
    head = f"{'kind':8}{'weight':>7}  {'strategy':14}{'median':>8}{'tenth':>8}{'worst':>8}{'fleets':>8}"
    print(f"{head}   median within 5 %")
    optima = {
        (row["kind"], row["power_weight"], row["fleet"]): row["objective"]
        for row in rows
        if row["strategy"] == "optimal" and row["proved"] and row["objective"] > NEAR
    }
    for kind in ("plain", "running"):
        for weight in WEIGHTS:
            for name in SHORT:
                short, _space, rounds = name.partition(" rounds=")
                aside = short == "EMM"
                ratios = sorted(
                    row["utility" if aside else "objective"] / optimum
                    for row in rows
                    if (row["kind"], row["power_weight"], row["strategy"]) == (kind, weight, short)
                    and row["rounds"] == (int(rounds) if rounds else None)
                    and (optimum := optima.get((kind, 0.0 if aside else weight, row["fleet"]))) is not None
                )
                if not ratios or (aside and weight > 0.0):
                    continue
                median = statistics.median(ratios)
                verdict = ("yes" if median >= TARGET else "NO") if short in ("EMM", "PEMM") else ""
                print(
                    f"{kind:8}{weight:7g}  {name:14}{median:8.4f}{ratios[len(ratios) // 10]:8.4f}{ratios[0]:8.4f}"
                    f"{len(ratios):8}   {verdict}"
                )
    unproved = sum(row["strategy"] == "optimal" and not row["proved"] for row in rows)
    if unproved:
        print(f"{unproved} optima were not proved in time; those fleets are not counted.")


if __name__ == "__main__":
    main()
