# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The yardstick for small fleets: a CP-SAT model (ortools) of what virtops-as-hbal minimises, made linear.

Minimised is the sum over CPU, memory by maximum and vCPUs of the mean absolute deviation of the hosts from their mean
(hbal's score has standard deviations), plus the same price for each move as the collection's default policy has. It is
the optimum of that, not of hbal's score, and only where the solver says that it has proved it.
"""

from __future__ import annotations

import importlib
import threading
import time
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager

from ..checker import Step
from ..fleets import MEMORY_FILL, VCPU_RATIO, Fleet
from ..meter import Meter
from . import Engine, NotFinishedError, Outcome, Request, register

_MOST_PAIRS = 20_000
_UNIT = 100_000
_CORE = 100
_MOVE_COST, _MOVE_COST_PER_GIB = 0.005, 0.0005
_OVERLOAD = 10
_SHARE = 0.9
"""Of the CPU seconds that it may use; what is left is for reading the answer."""
_LOOK_SECONDS = 0.1
_SEARCHES = 8
"""Kinds of search side by side, on however many cores there are."""


def run(fleet: Fleet, request: Request) -> Outcome:
    """The best placement found within the limit."""
    if not fleet.equal_hosts:
        raise NotFinishedError("not tried: its model is of equal hosts")
    if len(fleet.hosts) * len(fleet.domains) > _MOST_PAIRS:
        raise NotFinishedError(f"not tried: more than {_MOST_PAIRS} pairs of domain and host")
    cp_model = importlib.import_module("ortools.sat.python.cp_model")
    solver, meter = cp_model.CpSolver(), Meter()
    solver.parameters.num_workers = _SEARCHES
    with meter, _stopped_after(request.limit_seconds * _SHARE, solver.stop_search):
        model, on = _model(cp_model.CpModel(), fleet)
        status = solver.solve(model)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            raise NotFinishedError("no placement found within the limit")
        found = [next(host for host, variable in enumerate(row) if solver.value(variable)) for row in on]
    steps = [Step(d, domain.host, host) for d, (domain, host) in enumerate(zip(fleet.domains, found, strict=True))]
    gap = (solver.objective_value - solver.best_objective_bound) / max(1.0, solver.objective_value)
    return Outcome(
        [[step for step in steps if step.source != step.destination]],
        ordered=False,
        cpu_seconds=meter.cpu_seconds,
        note="proved" if status == cp_model.OPTIMAL else f"not proved, gap {gap:.0%}",
    )


@contextmanager
def _stopped_after(cpu_seconds: float, stop: t.Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` when the process has used so much more CPU time: the solver's own limits are of another clock."""
    end, over = time.process_time() + cpu_seconds, threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_SECONDS):
            if time.process_time() >= end:
                stop()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _model(model: t.Any, fleet: Fleet) -> tuple[t.Any, list[list[t.Any]]]:
    hosts, count = fleet.hosts, len(fleet.hosts)
    on = [[model.new_bool_var(f"{domain.name}-{h}") for h in range(count)] for domain in fleet.domains]
    for domain, row in zip(fleet.domains, on, strict=True):
        model.add_exactly_one(row)
        for h, variable in enumerate(row):
            model.add_hint(variable, h == domain.host)
    # The hosts of a fleet are equal, so one scale does for all; a load is in units of 1/_UNIT of a host.
    host = hosts[0]
    threads = host.threads * _CORE
    kinds = (
        ([round(domain.cores * _CORE) for domain in fleet.domains], threads, None),
        ([domain.vcpus for domain in fleet.domains], host.threads, int(host.threads * VCPU_RATIO)),
        (
            [domain.maximum_mib // 1024 for domain in fleet.domains],
            host.memory_mib // 1024,
            int((host.memory_mib * MEMORY_FILL - host.own_mib) // 1024),
        ),
    )
    terms = []
    for demand, size, most in kinds:
        mean = sum(demand)
        for h in range(count):
            load = sum(amount * row[h] for amount, row in zip(demand, on, strict=True))
            if most is not None:
                model.add(load <= most)
            else:
                over = model.new_int_var(0, mean, "")
                model.add(over >= load - size)
                terms.append(_OVERLOAD * count * _UNIT // size * over)
            deviation = model.new_int_var(0, mean * count, "")  # of count times the load from the sum
            model.add(deviation >= count * load - mean)
            model.add(deviation >= mean - count * load)
            terms.append(max(1, _UNIT // size) * deviation)
    for domain, row in zip(fleet.domains, on, strict=True):
        price = _MOVE_COST + _MOVE_COST_PER_GIB * domain.used_mib / 1024
        terms.append(round(price * _UNIT * count) * (1 - row[domain.host]))
    model.minimize(sum(terms))
    return model, on


register(
    Engine(
        "optimal",
        run,
        peer="optimal",
        module="ortools",
        install="pip install ortools (it comes with proxlb: --proxlb-python serves for both)",
    )
)
