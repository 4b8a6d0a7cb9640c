# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What detection and selection cost: CPU seconds of every detector and selection over a fleet with a history.

    benchmarks/detection.py [--hosts 1000] [--samples 500] [--domains 20] [--seed N] [--json]

Each host has its own random history: a level, noise, and bursts into overload, one sample in fifty missing. Of the
domains of a host each has a history as long. The last rows are whole plans of the strategy consolidate, reading the
snapshot included, with 100 samples for each of the hosts and domains: with the shipped policy, and with the dearest
detector and selection (markov and maximum_correlation).

With --json there is one row a line: kind, name, hosts, samples, domains, cpu_seconds, positive, unanswered, moves.
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

from ansible_collections.virtops.balance.plugins.plugin_utils._detection import registry as _detectors
from ansible_collections.virtops.balance.plugins.plugin_utils._detection.registry import History
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._selection import registry as _selections
from ansible_collections.virtops.balance.plugins.plugin_utils._selection.registry import MigratableDomain

Json = dict[str, t.Any]

STEP_SECONDS = 60.0
MIGRATION_SECONDS = 30.0
PLANNED_SAMPLES = 100
TAKEN_AT = "2026-01-31T12:00:00Z"
ROW = "{kind:<10} {name:<36} {cpu_seconds:>8.3f} {positive:>9} {unanswered:>11} {moves:>6}"
HEAD = f"{'kind':<10} {'name':<36} {'CPU s':>8} {'positive':>9} {'no answer':>11} {'moves':>6}"


def history(generator: random.Random, samples: int, *, most: float = 1.0, gaps: float = 0.02) -> list[float | None]:
    """A level, noise, bursts, gaps."""
    level, left = generator.uniform(0.1, 0.8) * most, 0
    found: list[float | None] = []
    for _sample in range(samples):
        left = left - 1 if left else generator.randrange(3, 20) * (generator.random() < 0.01)
        value = most if left else min(most, max(0.0, generator.gauss(level, 0.1 * most)))
        found.append(None if generator.random() < gaps else round(value, 4))
    found[-1] = found[-1] or level
    return found


def timed(work: t.Callable[[], t.Any]) -> tuple[float, t.Any]:
    """CPU seconds, and what came out."""
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


def detectors(options: argparse.Namespace) -> t.Iterator[Json]:
    """A row for each detector."""
    generator = random.Random(options.seed)
    fleet = [History.of(history(generator, options.samples)) for _host in range(options.hosts)]
    for kind in _detectors.KINDS:
        for name in _detectors.detectors(kind):

            def look(kind: str = kind, name: str = name) -> list[bool | None]:
                return [
                    _detectors.detect(
                        one, name, kind=kind, step=STEP_SECONDS, migration_time=MIGRATION_SECONDS
                    ).decision
                    for one in fleet
                ]

            seconds, found = timed(look)
            yield {
                "kind": kind,
                "name": name,
                "cpu_seconds": seconds,
                "positive": found.count(True),
                "unanswered": found.count(None),
            }


def selections(options: argparse.Namespace) -> t.Iterator[Json]:
    """A row for each selection: one domain of every host."""
    generator = random.Random(options.seed)
    fleet = [
        {
            f"d{number}": MigratableDomain(
                generator.randrange(512, 16384), tuple(history(generator, options.samples, most=4.0, gaps=0.001))
            )
            for number in range(options.domains)
        }
        for _host in range(options.hosts)
    ]
    for name in _selections.selections():
        seconds, found = timed(lambda name=name: [_selections.select(one, name) for one in fleet])  # type: ignore[misc]
        yield {
            "kind": "selection",
            "name": name,
            "cpu_seconds": seconds,
            "positive": sum(one.decision is not None for one in found),
            "unanswered": sum("instead" in one.numbers for one in found),
        }


def snapshot(options: argparse.Namespace) -> Json:
    """A fleet of which a tenth is overloaded and half is underloaded."""
    generator = random.Random(options.seed)
    hosts: Json = {}
    domains: Json = {}

    def column(name: str, values: list[float | None]) -> Json:
        return {"step_seconds": STEP_SECONDS, "ends_at": TAKEN_AT, name: values}

    for number in range(options.hosts):
        name = f"kvm{number}"
        usage = generator.choice([0.95, *[0.6] * 4, *[0.15] * 5])
        share = 32 * usage / options.domains
        cpu = [min(1.0, max(0.0, generator.gauss(usage, 0.05))) for _step in range(PLANNED_SAMPLES)]
        hosts[name] = {
            "state": "active",
            "problem": None,
            "may_sleep": True,
            "power_model": {"idle_watts": 100, "max_watts": 300},
            "cpu": {
                "arch": "x86_64",
                "model": "Haswell",
                "usable_models": ["Haswell"],
                "features": [],
                "threads": 32,
                "usage": usage,
            },
            "memory": {"total_mib": 262144, "available_mib": 262144 - 4096 * options.domains, "hugepages": []},
            "networks": [],
            "bridges": [],
            "storage_pools": [],
            "machine_types": {"x86_64": ["q35"]},
            "domain_types": ["kvm"],
            "history": column("cpu", list(cpu)),
        }
        for guest in range(options.domains):
            uuid = f"{number:06d}-{guest:04d}"
            own: list[float | None] = [share * generator.uniform(0.5, 1.5) for _step in range(PLANNED_SAMPLES)]
            domains[uuid] = {
                "name": uuid,
                "host": name,
                "state": "running",
                "type": "kvm",
                "arch": "x86_64",
                "machine": "q35",
                "vcpus": 2,
                "cpu_cores": share,
                "cpu_ready": 0.0,
                "memory": {"maximum_mib": 4096, "current_mib": 4096, "rss_mib": 4096},
                "disks": [],
                "interfaces": [],
                "cpu": {"mode": "custom", "model": "Haswell", "features": []},
                "cap": 0,
                "blockers": [],
                "history": column("cpu_cores", own),
            }
    return {"schema": 1, "taken_at": TAKEN_AT, "hosts": hosts, "domains": domains, "doubts": []}


def plans(options: argparse.Namespace) -> t.Iterator[Json]:
    """A row for each whole plan."""
    fleet = snapshot(options)
    dearest = {"overload": {"name": "markov", "parameters": {"fraction": 0.0}}, "selection": "maximum_correlation"}
    for name, wanted in (("shipped", {}), ("dearest", dearest)):
        for most in (20, 200):
            policy = {"strategy": "consolidate", "consolidation": wanted, "max_moves": most}
            seconds, found = timed(lambda policy=policy: plan(fleet, policy))  # type: ignore[misc]
            yield {
                "kind": "plan",
                "name": f"{name}, max_moves {most}",
                "samples": PLANNED_SAMPLES,
                "cpu_seconds": seconds,
                "positive": sum(one["overloaded"] or one["underloaded"] for one in found["detection"].values()),
                "unanswered": sum(not one["history"] for one in found["detection"].values()),
                "moves": sum(len(wave["moves"]) for wave in found["waves"]),
            }


def main() -> None:
    """Print the table, or the rows."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=500, help="of each history, for the rows of single algorithms")
    parser.add_argument("--domains", type=int, default=20, help="of each host")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.json:
        print(
            f"{options.hosts} hosts with {options.domains} domains each, {options.samples} samples, seed {options.seed}"
        )
        print(HEAD)
    for rows in (detectors, selections, plans):
        for row in rows(options):
            whole = {
                "hosts": options.hosts,
                "samples": options.samples,
                "domains": options.domains,
                "moves": None,
                **row,
            }
            shown = {**whole, "moves": "-" if whole["moves"] is None else whole["moves"]}
            print(json.dumps(whole) if options.json else ROW.format(**shown), flush=True)


if __name__ == "__main__":
    main()
