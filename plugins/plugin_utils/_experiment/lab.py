# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""An experiment in the lab: the inputs of the playbooks for each step, and the results from a snapshot.

Domains have their names in the pool of the lab, in the order in which they come.
"""

from __future__ import annotations

import math
import typing as t
from collections.abc import Mapping, Sequence

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError, PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.model import (
    LAB,
    Experiment,
    Row,
    from_csv,
    to_csv,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._power_model import power
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot


def steps(
    experiment: Experiment, results: Mapping[str, str], pool: Sequence[str], directory: str
) -> list[dict[str, t.Any]]:
    """The remaining steps, in order.

    ``results`` are the CSV files so far by strategy, ``pool`` the names of the lab's domains, ``directory`` where the
    hosts find their definitions as NAME.xml. A step has ``strategy``, ``step`` (its number from 1), ``count``
    (domains), ``first`` (nothing of the strategy was done before), and what the role balance takes: ``domains``,
    ``allocation`` and ``policy``. Raises BalanceError.
    """
    figures = _figures(experiment, pool)
    left = []
    for strategy in experiment.strategies:
        done = _rows(experiment, results.get(strategy, ""))
        for step, count in list(enumerate(experiment.counts(), start=1))[len(done) :]:
            left.append(
                {
                    "strategy": strategy,
                    "step": step,
                    "count": count,
                    "first": step == 1,
                    "domains": {
                        name: {**found, "vcpus": 1, "must_run": False, "xml_path": f"{directory}/{name}.xml"}
                        if place < count
                        else {"state": "stop"}
                        for place, (name, found) in enumerate(figures.items())
                    },
                    "allocation": {
                        "strategy": strategy,
                        "parameters": dict((experiment.parameters or {}).get(strategy) or {}),
                        "power_weight": experiment.power_weight,
                        "power": experiment.power(),
                    },
                    # Each step starts from the end of the previous one, however recent that is.
                    "policy": {"cpu_limit": experiment.cpu_limit, "cooldown_seconds": 0, "max_moves": None},
                }
            )
    return left


def measured(
    experiment: Experiment, results: str, plan: t.Any, snapshot: t.Any, *, pool: Sequence[str], seconds: float
) -> str:
    """Add the row of the next step to the results of a strategy.

    ``results`` is its CSV so far, "" at first. ``plan`` is the plan of the allocation, ``snapshot`` was taken with the
    domains at work, ``seconds`` is how long the step took. Raises BalanceError.
    """
    figures = _figures(experiment, pool)
    rows = _rows(experiment, results)
    if len(rows) == len(experiment.counts()):
        raise BalanceError("All steps of this strategy are measured.")
    if not isinstance(plan, Mapping) or not isinstance(plan.get("allocation"), Mapping):
        raise BalanceError("A step can only be measured with the plan of an allocation.")
    facts = Snapshot.from_mapping(snapshot)
    silent = [name for name, host in facts.hosts.items() if host.state == "unknown"]
    if silent:
        raise BalanceError(f"The step cannot be measured: {silent[0]} did not answer.")
    own = [domain for domain in facts.domains.values() if domain.name in figures]
    others = [domain.cpu_cores for domain in facts.domains.values() if domain.name not in figures]
    count, planned = experiment.counts()[len(rows)], plan["allocation"]
    cores = [domain.cpu_cores for domain in own]
    utility = _sum(
        None if domain.cpu_cores is None else figures[domain.name]["share"] * domain.cpu_cores for domain in own
    )
    in_use = {domain.host for domain in own}
    model = power(experiment.power(), "power")
    usage = [facts.hosts[name].usage for name in sorted(in_use)]
    watts = _sum(None if used is None or model is None else model.watts(used) for used in usage)
    row = {
        "strategy": plan.get("strategy"),
        "step": len(rows) + 1,
        "seconds": round((rows[-1]["seconds"] if rows else 0.0) + seconds, 1),
        "domains": count,
        "placed": len(own),
        "left_out": count - len(own),
        "cpu_cores": _rounded(_sum(cores)),
        "hosts_in_use": len(in_use),
        "utility": _rounded(utility),
        "watts": _rounded(watts),
        "objective": _rounded(None if utility is None or watts is None else utility - experiment.power_weight * watts),
        "planned_cores": _rounded(math.fsum(told["cpu_cores"] or 0.0 for told in plan["domains"].values())),
        "planned_utility": _rounded(planned["utility"]),
        "planned_watts": _rounded(planned["watts"]),
        "planned_objective": _rounded(planned["objective"]),
        "moves": sum(len(wave["moves"]) for wave in plan["waves"]),
        "other_cores": _rounded(_sum(others)),
    }
    return to_csv(experiment, [*rows, row])


def _figures(experiment: Experiment, pool: Sequence[str]) -> dict[str, dict[str, float]]:
    """The settings of each domain, by its name in the lab."""
    if experiment.ground != LAB:
        raise PolicyError(f"These steps are for the ground {LAB}, not {experiment.ground}.")
    if len(pool) < experiment.domains:
        raise PolicyError(
            f"experiment_settings.domains is {experiment.domains}, but the lab has {len(pool)} (lab_pool)."
        )
    return dict(zip(pool, experiment.pool().values(), strict=False))


def _rows(experiment: Experiment, text: str) -> list[Row]:
    return from_csv(experiment, text) if text else []


def _sum(values: t.Iterable[float | None]) -> float | None:
    """The sum; None if one value is None."""
    known = list(values)
    return None if None in known else math.fsum(value for value in known if value is not None)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
