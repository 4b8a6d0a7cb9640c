# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The results of an experiment as one HTML page: the four figures of the Xen project, tables, parameters."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.model import LAB, SHORT, Experiment
from ansible_collections.virtops.balance.plugins.plugin_utils._report.html_page import (
    Figure,
    Line,
    Section,
    Table,
    page,
    parameters,
)

Rows = t.Sequence[t.Mapping[str, t.Any]]


class Shape(t.NamedTuple):
    """A figure: its id in the page, its title, the columns on its axes, their titles, and the shape of its lines."""

    id: str
    title: str
    x: str
    y: str
    x_title: str
    y_title: str
    shape: str


_TIME, _COUNT = "Time (s)", "Domains (number)"
_UTILITY, _WITH_POWER = "Utility (cores x share)", "Utility less power (cores x share)"
FIGURES = (
    Shape("utility-time", "Utility while domains are added", "seconds", "utility", _TIME, _UTILITY, "hv"),
    Shape("utility-domains", "Utility by number of domains", "domains", "utility", _COUNT, _UTILITY, "linear"),
    Shape("power-time", "The same with power, over time", "seconds", "objective", _TIME, _WITH_POWER, "hv"),
    Shape("power-domains", "The same with power, by number", "domains", "objective", _COUNT, _WITH_POWER, "linear"),
)


def experiment_page(experiment: Experiment, rows: Rows) -> str:
    """Return the page. Raises BalanceError where plotly is missing or there are no results."""
    if not rows:
        raise BalanceError("There are no results to show.")
    by_strategy = {name: [row for row in rows if row["strategy"] == name] for name in experiment.strategies}
    last = [own[-1] for own in by_strategy.values() if own]
    return page(
        f"Allocation experiment {'in the lab' if experiment.ground == LAB else 'on the model'}",
        _summary(experiment),
        [
            *(Section(shape.title, _figure(shape, by_strategy)) for shape in FIGURES),
            Section("With all domains", _table(experiment, last)),
            Section("Parameters", parameters(experiment.to_mapping())),
            Section("All steps", _table(experiment, rows)),
        ],
    )


def _summary(experiment: Experiment) -> str:
    told = (
        f"{experiment.hosts} hosts that offer {experiment.host_cores * experiment.cpu_limit:g} cores each, up to"
        f" {experiment.domains} domains, {experiment.step} more in each step. A domain is worth its share for each"
        f" core that it gets. One watt costs {experiment.power_weight:g}. Watts are modelled, not measured."
    )
    if experiment.ground == LAB:
        return (
            f"{told} The CPU of domains and hosts is measured over {experiment.step_seconds:g} s, with all domains"
            " as busy as their caps let them; what the strategy planned is beside it in the tables. The time of a step"
            " includes what it took to create and move domains. A power of 0 is taken for hosts without domains."
        )
    return f"{told} A step stands for {experiment.step_seconds:g} s."


def _figure(shape: Shape, by_strategy: t.Mapping[str, Rows]) -> Figure:
    return Figure(
        id=shape.id,
        title=shape.title,
        x_title=shape.x_title,
        y_title=shape.y_title,
        legend="Strategy",
        lines=[
            Line(SHORT[name], [row[shape.x] for row in own], [row[shape.y] for row in own], shape.shape)
            for name, own in by_strategy.items()
        ],
    )


def _table(experiment: Experiment, rows: Rows) -> Table:
    return Table(
        [column.replace("_", " ") for column in experiment.columns],
        [[_cell(column, row[column]) for column in experiment.columns] for row in rows],
    )


def _cell(column: str, value: t.Any) -> str:
    if column == "strategy":
        return f"{SHORT.get(value, value)} ({value})"
    if value is None:
        return "unknown"
    return f"{value:.2f}" if column.endswith(("utility", "objective", "cores")) else f"{value:g}"
