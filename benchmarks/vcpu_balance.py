# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What one round of vCPU balancing is worth, by algorithm, on random loads. Pure arithmetic: no host is touched.

    benchmarks/vcpu_balance.py [--seed N] [--hosts 10] [--rounds 60] [--sizes 8x24,32x96] [--json]

Part 1: each vCPU is pinned to a random CPU and wants a random amount of CPU; some want all they can get. The table
shows how uneven the host is after one round, and after as many rounds as change something (at most --rounds).

Part 2: the same hosts over --rounds rounds in which what vCPUs want goes up and down (a bounded random walk, and now
and then a new value). The table shows averages over all rounds: an algorithm pays that moves too much or too little.

Loads are in cores. `spread` is the fullest less the emptiest CPU; `waiting` what is wanted and not to be had, beyond
what the host as a whole is too small for; `repinned` vCPUs; `s` the seconds of the longest round.

`lpt` pins every vCPU anew, largest first, to the emptiest CPU: how even a host can be made when moves cost nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import statistics
import sys
import time
import typing as t
from pathlib import Path

# `make setup` puts a link to this checkout there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / ".cache" / "collections"))

from ansible_collections.virtops.balance.plugins.module_utils._tuning.vcpu_decision import Cpu, Options, Vcpu, decide

Pins = dict[int, int]
Wants = list[float]
Rule = t.Callable[[list[Cpu], Wants, Pins], Pins]


@dataclasses.dataclass
class Host:
    """CPUs with what the host itself does on them, what each vCPU wants, and where each is pinned."""

    cpus: list[Cpu]
    wants: Wants
    pins: Pins


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hosts", type=int, default=10, help="random hosts of each size")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--sizes", default="8x24,32x96", help="CPUs x vCPUs, separated by commas")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    rows = list(measure(arguments.sizes.split(","), arguments.hosts, arguments.rounds, arguments.seed))
    if arguments.json:
        for row in rows:
            print(json.dumps(row))
    else:
        show(rows)


def measure(sizes: t.Sequence[str], hosts: int, rounds: int, seed: int) -> t.Iterator[dict[str, t.Any]]:
    for size in sizes:
        count, vcpus = (int(number) for number in size.split("x"))
        for name, rule in {"(as it was)": keep, **RULES}.items():
            shots = [
                one_shot(random_host(random.Random(f"{seed} {size} {n}"), count, vcpus), rule, rounds)
                for n in range(hosts)
            ]
            yield {"part": 1, "size": size, "rule": name, **averages(shots)}
    for size in sizes:
        count, vcpus = (int(number) for number in size.split("x"))
        for name, rule in {"(as it was)": keep, **RULES}.items():
            runs = []
            for number in range(hosts):
                rng = random.Random(f"{seed} {size} {number}")
                runs.append(over_time(random_host(rng, count, vcpus), rule, rounds, rng))
            yield {"part": 2, "size": size, "rule": name, **averages(runs)}


def random_host(rng: random.Random, count: int, vcpus: int) -> Host:
    cpus = [Cpu(number, own=rng.uniform(0, 0.15)) for number in range(count)]
    # As many CPUs as are wanted: about three quarters of what there is.
    mean = 0.75 * count / vcpus
    wants = [
        1.0 if rng.random() < mean / 4 else min(1.0, rng.expovariate(1 / (0.8 * mean))) for _number in range(vcpus)
    ]
    return Host(cpus, wants, {number: rng.randrange(count) for number in range(vcpus)})


def drift(rng: random.Random, wants: Wants) -> Wants:
    return [
        rng.random() ** 2 if rng.random() < 0.01 else min(1.0, max(0.0, want + rng.gauss(0, 0.03))) for want in wants
    ]


def one_shot(host: Host, rule: Rule, rounds: int) -> dict[str, float]:
    first: dict[str, float] | None = None
    moves, taken, seconds = 0, 0, 0.0
    for _round in range(rounds):
        begin = time.process_time()
        after = rule(host.cpus, host.wants, host.pins)
        seconds = max(seconds, time.process_time() - begin)
        changed = sum(after[number] != cpu for number, cpu in host.pins.items())
        host.pins = after
        if first is None:
            first = {**state(host), "repinned": changed}
        moves, taken = moves + changed, taken + (changed > 0)
        if not changed:
            break
    last = state(host)
    return {
        **{f"{key}_1": value for key, value in (first or {}).items()},
        **last,
        "repinned": moves,
        "rounds": taken,
        "seconds": seconds,
    }


def over_time(host: Host, rule: Rule, rounds: int, rng: random.Random) -> dict[str, float]:
    seen = []
    for _round in range(rounds):
        after = rule(host.cpus, host.wants, host.pins)
        repinned = sum(after[number] != cpu for number, cpu in host.pins.items())
        # What was measured is past when it is acted on.
        host.pins, host.wants = after, drift(rng, host.wants)
        seen.append({**state(host), "repinned": repinned})
    return averages(seen)


def state(host: Host) -> dict[str, float]:
    """The spread of the loads, and the cores that are wanted and cannot be had while others are idle."""
    loads = {cpu.number: cpu.own for cpu in host.cpus}
    for number, cpu in host.pins.items():
        loads[cpu] += host.wants[number]
    waiting = sum(max(0.0, load - 1) for load in loads.values())
    unavoidable = max(0.0, sum(loads.values()) - len(loads))
    return {"spread": max(loads.values()) - min(loads.values()), "waiting": waiting - unavoidable}


def got(host: Host) -> list[float]:
    """What each vCPU runs: a CPU is shared evenly among those that want it."""
    shares = [0.0] * len(host.wants)
    for cpu in host.cpus:
        todo = sorted((host.wants[number], number) for number, at in host.pins.items() if at == cpu.number)
        left = 1 - cpu.own
        for index, (want, number) in enumerate(todo):
            shares[number] = min(want, left / (len(todo) - index))
            left -= shares[number]
    return shares


def keep(_cpus: list[Cpu], _wants: Wants, pins: Pins) -> Pins:
    return dict(pins)


def lpt(cpus: list[Cpu], wants: Wants, pins: Pins) -> Pins:
    loads = {cpu.number: cpu.own for cpu in cpus}
    after = dict(pins)
    for number in sorted(pins, key=lambda number: (-wants[number], number)):
        after[number] = min(loads, key=lambda cpu: (loads[cpu], cpu))
        loads[after[number]] += wants[number]
    return after


def round_of(algorithm: str) -> Rule:
    def rule(cpus: list[Cpu], wants: Wants, pins: Pins) -> Pins:
        allowed = frozenset(cpu.number for cpu in cpus)
        ran = got(Host(cpus, wants, pins))
        vcpus = [
            Vcpu(str(number), f"{number:05}", 0, ran[number], wants[number], cpu, cpu, allowed)
            for number, cpu in pins.items()
        ]
        decision = decide(cpus, vcpus, Options(algorithm=algorithm))
        return {**pins, **{int(repin.vcpu.uuid): repin.cpu for repin in decision.repins}}

    return rule


RULES: dict[str, Rule] = {
    "busiest_freest": round_of("busiest_freest"),
    "spread": round_of("spread"),
    "lpt": lpt,
}


def averages(rows: t.Sequence[t.Mapping[str, float]]) -> dict[str, float]:
    return {key: round(statistics.mean(row[key] for row in rows), 3) for key in rows[0]}


def show(rows: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    print("After one round, and at rest\n")
    print("| size | algorithm | spread | waiting | repinned | spread, at rest | waiting | repinned | rounds | s |")
    print("| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |")
    for row in rows:
        if row["part"] == 1:
            print(
                f"| {row['size']} | {row['rule']} | {row['spread_1']:.2f} | {row['waiting_1']:.2f} | "
                f"{row['repinned_1']:.1f} | {row['spread']:.2f} | {row['waiting']:.2f} | {row['repinned']:.1f} | "
                f"{row['rounds']:.1f} | {row['seconds']:.3f} |"
            )
    print("\nOver time, while the loads change: averages of a round\n")
    print("| size | algorithm | spread | waiting | repinned |")
    print("| --- | --- | --: | --: | --: |")
    for row in rows:
        if row["part"] == 2:
            figures = f"{row['spread']:.2f} | {row['waiting']:.2f} | {row['repinned']:.2f}"
            print(f"| {row['size']} | {row['rule']} | {figures} |")


if __name__ == "__main__":
    main()
