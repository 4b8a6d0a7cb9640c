# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""An experiment: the number of domains grows step by step, and a strategy allocates them each time.

What the Xen project XenGreenCom did on its hosts. The pool of domains is drawn from a seed, and each step takes the
first so many of it, so all strategies see the same domains. On the model that is all computed here; what is different
in the lab is in lab.py.
"""

from __future__ import annotations

import csv
import io
import random
import typing as t
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.problem import Problem
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.registry import allocate
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError, PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import (
    choice,
    mapping,
    number,
    option,
    read,
    sequence,
    whole,
)

# The names that the algorithms have in the publications.
SHORT = {
    "first_fit": "BS",
    "greedy_max": "GM",
    "greedy_min_max": "GMM",
    "expand_min_max": "EMM",
    "power_expand_min_max": "PEMM",
    "best_fit_decreasing": "BFD",
    "power_aware_best_fit_decreasing": "PABFD",
    "optimal": "optimum",
}
MODEL, LAB = "model", "lab"
# What is different in the lab, whose hosts are small and share a machine. They have a core each and offer half of it,
# so that the machine has what all of them offer together.
_LAB_DEFAULTS: t.Mapping[str, t.Any] = {
    "domains": 9,
    "step": 1,
    "step_seconds": 20,
    "hosts": 3,
    "host_cores": 1,
    "host_memory_mib": 3072,
    "cpu_limit": 0.5,
    "power_weight": 0.005,
    "cpu_min": [0.1, 0.15],
    "cpu_max": [0.2, 0.3, 0.4],
    "memory_mib": 96,
}
COLUMNS = (
    "strategy",
    "step",
    "seconds",
    "domains",
    "placed",
    "left_out",
    "cpu_cores",
    "hosts_in_use",
    "utility",
    "watts",
    "objective",
)
# In the lab the columns above are measured, and these are beside them.
LAB_COLUMNS = (
    *COLUMNS,
    "planned_cores",
    "planned_utility",
    "planned_watts",
    "planned_objective",
    "moves",
    "other_cores",
)
Row = dict[str, t.Any]


_WHERE = "experiment_settings"


def _by_strategy(value: t.Any, key: str) -> t.Mapping[str, t.Any] | None:
    # None or parameters: an empty mapping says the same as none.
    return mapping(value, key) or None


@dataclass(frozen=True, slots=True)
class Experiment:
    """The settings of an experiment. Units are in the names; ``power_weight`` is the cost of one watt in utility.

    step_seconds: how long a step stands for on the model, and is measured in the lab. cpu_limit: share of its cores
    that a host offers.
    """

    ground: str = option(MODEL, choice(MODEL, LAB))
    strategies: tuple[str, ...] = option(
        ("first_fit", "greedy_max", "greedy_min_max", "expand_min_max", "power_expand_min_max"),
        sequence(choice(*SHORT), empty=False),
    )
    parameters: t.Mapping[str, t.Any] | None = option(None, _by_strategy)
    domains: int = option(210, whole(1))
    step: int = option(10, whole(1))
    step_seconds: float = option(60.0, number(0, above=True))
    hosts: int = option(30, whole(1))
    host_cores: float = option(2.0, number(0, above=True))
    host_memory_mib: float = option(16384.0, number(0, above=True))
    cpu_limit: float = option(1.0, number(0, 1, above=True))
    idle_watts: float = option(60.0, number(0))
    max_watts: float = option(120.0, number(0))
    power_weight: float = option(0.03, number(0))
    cpu_min: tuple[float, ...] = option((0.1, 0.2, 0.3), sequence(number(0), empty=False))
    cpu_max: tuple[float, ...] = option((0.6, 0.8, 1.0), sequence(number(0, above=True), empty=False))
    share: tuple[float, ...] = option((1.0, 2.0, 3.0, 4.0), sequence(number(0), empty=False))
    memory_mib: float = option(512.0, number(0, above=True))
    seed: int = option(1, whole(0))

    @classmethod
    def from_mapping(cls, data: t.Any) -> Experiment:
        """Read the settings of the user. Raises PolicyError with one sentence."""
        if isinstance(data, Mapping) and data.get("ground") == LAB:
            data = {**_LAB_DEFAULTS, **data}
        found = read(cls, data, _WHERE)
        if len(set(found.strategies)) != len(found.strategies):
            raise PolicyError("experiment_settings.strategies names a strategy twice.")
        unused = sorted(set(found.parameters or {}) - set(found.strategies))
        if unused:
            raise PolicyError(
                f"experiment_settings.parameters has {unused[0]!r}, which is not among experiment_settings.strategies."
            )
        if found.max_watts < found.idle_watts:
            raise PolicyError("experiment_settings.max_watts must be at least experiment_settings.idle_watts.")
        if max(found.cpu_min) > min(found.cpu_max):
            raise PolicyError("All of experiment_settings.cpu_min must be at most all of experiment_settings.cpu_max.")
        return found

    def to_mapping(self) -> dict[str, t.Any]:
        """As plain JSON, defaults included."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys of its rows."""
        return LAB_COLUMNS if self.ground == LAB else COLUMNS

    def counts(self) -> list[int]:
        """The number of domains in each step; the last step has all."""
        return [*range(self.step, self.domains, self.step), self.domains]

    def pool(self) -> dict[str, dict[str, float]]:
        """All domains in the order in which they come."""
        drawn = random.Random(self.seed)
        return {
            f"vm{number_:0{len(str(self.domains))}}": {
                "cpu_min": drawn.choice(self.cpu_min),
                "cpu_max": drawn.choice(self.cpu_max),
                "share": drawn.choice(self.share),
                "memory_mib": self.memory_mib,
            }
            for number_ in range(1, self.domains + 1)
        }

    def power(self) -> dict[str, float]:
        """The power model of a host."""
        return {"idle_watts": self.idle_watts, "max_watts": self.max_watts}

    def fleet(self) -> dict[str, dict[str, t.Any]]:
        """The hosts, which are all alike."""
        return {
            f"host{number_:0{len(str(self.hosts))}}": {
                "cores": self.host_cores * self.cpu_limit,
                "memory_mib": self.host_memory_mib,
                "power": self.power(),
            }
            for number_ in range(1, self.hosts + 1)
        }


def run(experiment: Experiment, strategy: str) -> list[Row]:
    """Return a row for each step on the model, with the keys of COLUMNS. Raises BalanceError."""
    if experiment.ground != MODEL:
        raise PolicyError(f"The filter experiment is for the ground {MODEL}, not {experiment.ground}.")
    if strategy not in experiment.strategies:
        raise PolicyError(f"The strategy {strategy!r} is not among experiment_settings.strategies.")
    fleet, pool = experiment.fleet(), list(experiment.pool().items())
    rows: list[Row] = []
    for step, count in enumerate(experiment.counts(), start=1):
        problem = {"hosts": fleet, "domains": dict(pool[:count]), "power_weight": experiment.power_weight}
        answer = allocate(Problem.from_mapping(problem), strategy, (experiment.parameters or {}).get(strategy))
        rows.append(
            {
                "strategy": strategy,
                "step": step,
                "seconds": step * experiment.step_seconds,
                "domains": count,
                "placed": len(answer.placed),
                "left_out": len(answer.left_out),
                "cpu_cores": round(sum(cpu for _host, cpu in answer.placed.values()), 6),
                "hosts_in_use": sum(1 for host in answer.hosts.values() if host["in_use"]),
                "utility": round(answer.utility, 6),
                "watts": None if answer.watts is None else round(answer.watts, 3),
                "objective": round(answer.objective, 6),
            }
        )
    return rows


def to_csv(experiment: Experiment, rows: t.Iterable[t.Mapping[str, t.Any]]) -> str:
    """Rows as CSV with a first line of titles; what is not known is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, experiment.columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def from_csv(experiment: Experiment, text: str) -> list[Row]:
    """The rows again. Raises BalanceError where it is no file of such an experiment."""
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != experiment.columns:
        raise BalanceError("These are not the results of an experiment: the first line has other columns.")
    try:
        return [
            {
                key: value if key == "strategy" else _number(value, whole_=key in _WHOLE) if value else None
                for key, value in row.items()
            }
            for row in reader
        ]
    except (TypeError, ValueError) as error:
        raise BalanceError(f"The results of an experiment have a broken row: {error}.") from error


_WHOLE = frozenset({"step", "domains", "placed", "left_out", "hosts_in_use", "moves"})


def _number(text: str, *, whole_: bool) -> float:
    return int(text) if whole_ else float(text)
