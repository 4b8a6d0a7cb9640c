# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The results of an experiment as one HTML page that needs nothing else: parameters, figures, tables.

The figures are the four of the Xen project XenGreenCom. They are made by plotly, which is needed for this alone.
"""

from __future__ import annotations

import html
import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment import COLUMNS, SHORT, Experiment

Rows = t.Sequence[t.Mapping[str, t.Any]]


class Figure(t.NamedTuple):
    """A plot: its id in the page, its title, the columns on its axes, their titles, and the shape of its lines."""

    id: str
    title: str
    x: str
    y: str
    x_title: str
    y_title: str
    shape: str


_TIME, _COUNT = "Time (s)", "Domains"
_UTILITY, _WITH_POWER = "Utility (cores x share)", "Utility less power (cores x share)"
FIGURES = (
    Figure("utility-time", "Utility while domains are added", "seconds", "utility", _TIME, _UTILITY, "hv"),
    Figure("utility-domains", "Utility by number of domains", "domains", "utility", _COUNT, _UTILITY, "linear"),
    Figure("power-time", "The same with power, over time", "seconds", "objective", _TIME, _WITH_POWER, "hv"),
    Figure("power-domains", "The same with power, by number", "domains", "objective", _COUNT, _WITH_POWER, "linear"),
)
# By Okabe and Ito: told apart by everybody, also in print with the markers.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#F0E442")
_MARKERS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star", "pentagon")
_STYLE = """
body { font-family: sans-serif; margin: 2em auto; max-width: 62em; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 1em 0; font-size: 0.9em; }
th, td { border-bottom: 1px solid #ccc; padding: 0.25em 0.7em; text-align: right; }
th:first-child, td:first-child { text-align: left; }
"""


def page(experiment: Experiment, rows: Rows) -> str:
    """Return the page. Raises BalanceError where plotly is missing or there are no results."""
    if not rows:
        raise BalanceError("There are no results to show.")
    figures = _figures(experiment, rows)
    parameters = "".join(
        f"<tr><td>{html.escape(key)}</td><td>{html.escape(_shown(value))}</td></tr>"
        for key, value in experiment.to_mapping().items()
    )
    last = [_of(rows, strategy)[-1] for strategy in experiment.strategies if _of(rows, strategy)]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8"><title>Allocation experiment</title>',
            f"<style>{_STYLE}</style></head><body>",
            "<h1>Allocation experiment on the model</h1>",
            f"<p>{_summary(experiment)}</p>",
            *(f"<h2>{html.escape(figure.title)}</h2>\n{plot}" for figure, plot in zip(FIGURES, figures, strict=True)),
            "<h2>With all domains</h2>",
            _table(last),
            "<h2>Parameters</h2>",
            f'<table id="parameters"><tr><th>parameter</th><th>value</th></tr>{parameters}</table>',
            "<h2>All steps</h2>",
            _table(rows),
            "</body></html>\n",
        ]
    )


def _summary(experiment: Experiment) -> str:
    return (
        f"{experiment.hosts} hosts with {experiment.host_cores:g} cores each, up to {experiment.domains} domains,"
        f" {experiment.step} more every {experiment.step_seconds:g} s. A domain is worth its share for each core"
        f" that it gets, and nothing below its minimum. One watt costs {experiment.power_weight:g}."
        " Watts are modelled, not measured."
    )


def _figures(experiment: Experiment, rows: Rows) -> list[str]:
    try:
        from plotly import graph_objects, io
    except ImportError as error:
        raise BalanceError("The report needs the Python package plotly on the control node.") from error
    plots = []
    for number, figure in enumerate(FIGURES):
        lines = [
            graph_objects.Scatter(
                name=SHORT[strategy],
                x=[row[figure.x] for row in _of(rows, strategy)],
                y=[row[figure.y] for row in _of(rows, strategy)],
                mode="lines+markers",
                line={"shape": figure.shape, "color": _COLOURS[place]},
                marker={"symbol": _MARKERS[place], "size": 6},
            )
            for place, strategy in enumerate(experiment.strategies)
        ]
        plot = graph_objects.Figure(lines)
        plot.update_layout(
            template="plotly_white",
            height=460,
            legend_title_text="Strategy",
            margin={"l": 70, "r": 20, "t": 20, "b": 60},
            xaxis={"title": figure.x_title, "rangemode": "tozero", "automargin": True},
            yaxis={"title": figure.y_title, "rangemode": "tozero", "automargin": True},
        )
        # The library is in the page once, with the first figure.
        plots.append(io.to_html(plot, full_html=False, include_plotlyjs=number == 0, div_id=figure.id))
    return plots


def _of(rows: Rows, strategy: str) -> Rows:
    return [row for row in rows if row["strategy"] == strategy]


def _table(rows: Rows) -> str:
    head = "".join(f"<th>{column.replace('_', ' ')}</th>" for column in COLUMNS)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cell(column, row[column]))}</td>" for column in COLUMNS) + "</tr>\n"
        for row in rows
    )
    return f"<table><tr>{head}</tr>\n{body}</table>"


def _cell(column: str, value: t.Any) -> str:
    if column == "strategy":
        return f"{SHORT.get(value, value)} ({value})"
    return "unknown" if value is None else f"{value:.2f}" if column in ("utility", "objective") else f"{value:g}"


def _shown(value: t.Any) -> str:
    if value is None:
        return "none"
    return (
        ", ".join(map(_shown, value))
        if isinstance(value, list)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
