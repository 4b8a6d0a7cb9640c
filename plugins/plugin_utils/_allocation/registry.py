# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Allocation: which domain runs on which host, and how much CPU it gets. The strategies by name, and their answer.

Unlike balancing (see _placement/registry.py), a domain need not run yet, a domain may be left out, and each domain gets
an amount of CPU between its minimum and its maximum instead of what it demands.

A strategy is a function ``(packing, parameters) -> Proof | None`` that puts the items of the packing (bins.py) into its
bins. Its parameters are a frozen dataclass whose fields _options reads. It registers by name, in a file of its own in
strategies/: ``@allocation("first_fit", Parameters)``.
"""

from __future__ import annotations

import math
import typing as t
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.bins import AllocationPacking, Bin
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.problem import Problem
from ansible_collections.virtops.balance.plugins.plugin_utils._discovery import load
from ansible_collections.virtops.balance.plugins.plugin_utils._options import choice, read
from ansible_collections.virtops.balance.plugins.plugin_utils._power_model import SOURCE
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason


@dataclass(frozen=True, slots=True)
class Proof:
    """The proof of an exact strategy. bound: no answer has a higher objective. optimal: this answer reaches it."""

    bound: float
    optimal: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """The host of every domain.

    placed: host and cores by name of the domain. left_out: reason by name of the domain.
    utility: the sum over the placed domains. watts: modelled, of all hosts in use; None if one is not known.
    objective: utility less power_weight x watts. hosts: what is taken of each host.
    proof: from exact strategies.
    """

    strategy: str
    placed: dict[str, tuple[str, float]]
    left_out: dict[str, Reason]
    utility: float
    watts: float | None
    objective: float
    hosts: dict[str, dict[str, t.Any]]
    proof: Proof | None = None

    def to_mapping(self) -> dict[str, t.Any]:
        """As plain JSON."""
        return {
            "strategy": self.strategy,
            "utility": self.utility,
            "watts": self.watts,
            "watts_source": SOURCE,
            "objective": self.objective,
            "bound": None if self.proof is None else self.proof.bound,
            "optimal": None if self.proof is None else self.proof.optimal,
            "domains": {
                name: {"host": host, "cpu_cores": cpu, "reason": None} for name, (host, cpu) in self.placed.items()
            }
            | {
                name: {"host": None, "cpu_cores": 0.0, "reason": reason.to_mapping()}
                for name, reason in self.left_out.items()
            },
            "hosts": self.hosts,
        }


Strategy = Callable[[AllocationPacking, t.Any], "Proof | None"]

_strategies: dict[str, tuple[Strategy, type[t.Any]]] = {}


@dataclass(frozen=True, slots=True)
class NoParameters:
    """For strategies without parameters."""


def allocation(name: str, parameters: type[t.Any] = NoParameters) -> Callable[[Strategy], Strategy]:
    """Register a strategy and the dataclass of its parameters."""

    def register(function: Strategy) -> Strategy:
        _strategies[name] = (function, parameters)
        return function

    return register


def strategies() -> dict[str, tuple[Strategy, type[t.Any]]]:
    """All strategies with their parameters, by name."""
    load("_allocation.strategies")
    return dict(sorted(_strategies.items()))


def allocate(problem: Problem, strategy: str, parameters: Mapping[str, t.Any] | None = None) -> Answer:
    """Solve the problem. The same problem, in whatever order it is written, has the same answer.

    ``parameters`` are those of the strategy, as plain data. Raises PolicyError with one sentence that says what to
    change.
    """
    problem.check()
    known = strategies()
    function, cls = known[choice(*known)(strategy, "strategy")]
    wanted = read(cls, {} if parameters is None else parameters, "parameters")
    packing = AllocationPacking(problem)
    proof = function(packing, wanted)
    placed, left_out = {}, {}
    for item in packing.items:
        if item.bin is None:
            left_out[item.name] = item.reason or packing.reason(item, item.cpu_min)
        else:
            placed[item.name] = (item.bin.name, item.cpu)
    worth = math.fsum(problem.worth(name, cpu) for name, (_host, cpu) in placed.items())
    hosts = {bin.name: _host_after(bin) for bin in sorted(packing.bins, key=lambda bin: bin.name)}
    drawn = [host["watts"] for host in hosts.values()]
    watts = None if None in drawn else math.fsum(drawn)
    return Answer(
        strategy=strategy,
        placed=placed,
        left_out=left_out,
        utility=worth,
        watts=watts,
        objective=worth - problem.power_weight * (watts or 0.0),
        hosts=hosts,
        proof=proof,
    )


def _host_after(bin: Bin) -> dict[str, t.Any]:
    offer = bin.offer
    watts = None if offer.power is None else offer.power.watts(bin.cpu_used / offer.cores)
    return {
        "in_use": bin.in_use,
        "asleep": offer.asleep,
        "domains": sorted(bin.items),
        "cpu_used": bin.cpu_used,
        "memory_used_mib": bin.memory_used,
        "watts": watts if bin.in_use else 0.0,
    }
