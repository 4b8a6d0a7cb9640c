# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What the answers of hosts cost the planner: CPU seconds of each plan until all hosts agree.

    benchmarks/agreement.py [--size 1000x20000] [--refusing 0.05] [--drained 5] [--seed N] [--json]

A random fleet (planner/fleets.py) is planned, and its hosts are asked about the moves by the very functions that the
role uses. The answers are recorded ones: so many of the hosts refuse the CPU, have no such bridge or have less memory
than was observed, and here and there a name is taken. The first rows are the default policy, the others empty so many
hosts, which moves a hundred domains and asks as much. The row "first" is the plan without answers, "again" the same
plan with a thousand answers about moves that are not in it, each other one a round of questions.

With --json there is one row a line: plan, round, cpu_seconds, moves, asked, refused, answers.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import typing as t
from pathlib import Path

# `make setup` puts a link to this checkout there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / ".cache" / "collections"))

from planner import fleets  # the package beside this file
from planner.snapshot import snapshot

from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._run import agreement

Json = dict[str, t.Any]

MOST_ROUNDS = 12
UNRELATED = 1000
# What a host has that has less memory than was observed.
MIB = 16384
# How likely the name of a domain is taken on a host.
TAKEN = 0.002
ROW = "{plan:<8} {round:<6} {cpu_seconds:>8.2f} {moves:>6} {asked:>6} {refused:>8} {answers:>8}"
HEAD = f"{'plan':<8} {'round':<6} {'CPU s':>8} {'moves':>6} {'asked':>6} {'refused':>8} {'answers':>8}"


class Hosts:
    """Hosts that answer; whether one refuses, and why, is drawn once."""

    def __init__(self, data: Json, refusing: float, seed: int) -> None:
        generator = random.Random(f"answers {seed}")
        kinds = (("cpu", None), ("bridge", "br0"), ("memory", MIB))
        self.refuses = {name: generator.choice(kinds) for name in data["hosts"] if generator.random() < refusing}
        self.domains, self.seed = data["domains"], seed

    def answer(self, question: Json) -> Json:
        """The answer to one question."""
        domain, destination = question["domain"], question["destination"]
        kind, about = self.refuses.get(destination, ("cpu", None))
        ok = destination not in self.refuses
        if kind == "memory":
            ok = self.domains[domain]["memory"]["maximum_mib"] <= MIB + question["room_mib"]
        if random.Random(f"{domain} {destination} {self.seed}").random() < TAKEN:
            kind, about, ok = None, None, False
        check = {"check": kind, "ok": ok, "message": f"{destination} says so", "kind": kind, "about": about}
        return {"domain": domain, "destination": destination, "ok": ok, "checks": [check]}


def timed(data: Json, policy: Json, answers: list[Json] | None) -> tuple[float, Json]:
    """CPU seconds, and the plan."""
    begin = time.process_time()
    result = plan(data, policy, answers=answers)
    return time.process_time() - begin, result


def rows(name: str, data: Json, policy: Json, hosts: Hosts) -> t.Iterator[Json]:
    """A row for each plan until nothing is refused."""
    answers: list[Json] = []
    cost, found = timed(data, policy, None)
    yield _row(name, "first", cost, found, [], answers)
    pairs = list(zip(data["domains"], data["hosts"], strict=False))[:UNRELATED]
    unrelated = [hosts.answer({"domain": uuid, "destination": host, "room_mib": 0}) for uuid, host in pairs]
    cost, again = timed(data, policy, unrelated)
    yield _row(name, "again", cost, again, [], unrelated)
    for number in range(1, MOST_ROUNDS + 1):
        asked = agreement.questions(found, data["domains"], answers)
        new = [hosts.answer(one) for many in asked.values() for one in many]
        answers = answers + new
        if not agreement.refused(found, answers):
            yield _row(name, "agreed", 0.0, found, new, answers)
            return
        cost, found = timed(data, policy, answers)
        yield _row(name, str(number), cost, found, new, answers)


def _row(name: str, number: str, cost: float, found: Json, new: list[Json], answers: list[Json]) -> Json:
    return {
        "plan": name,
        "round": number,
        "cpu_seconds": round(cost, 3),
        "moves": sum(len(wave["moves"]) for wave in found["waves"]),
        "asked": len(new),
        "refused": sum(answer["ok"] is False for answer in new),
        "answers": len(answers),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1000x20000", help="hosts x domains")
    parser.add_argument("--refusing", type=float, default=0.05, help="the share of hosts that refuse")
    parser.add_argument("--drained", type=int, default=5, help="hosts to empty")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    hosts, domains = map(int, options.size.split("x"))
    data = snapshot(fleets.generate(hosts, domains, "spread", options.seed))
    answering = Hosts(data, options.refusing, options.seed)
    drained = {"strategy": "drain", "drained_hosts": list(data["hosts"])[: options.drained]}
    if not options.json:
        print(HEAD)
    for name, policy in (("default", {}), ("drain", drained)):
        for row in rows(name, data, policy, answering):
            print(json.dumps(row) if options.json else ROW.format(**row), flush=True)


if __name__ == "__main__":
    main()
