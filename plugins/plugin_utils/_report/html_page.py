# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A report as one HTML page that needs no other file: text, figures and tables.

Only the figures need plotly. All texts are plain text; they are escaped here.
"""

from __future__ import annotations

import html
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError

# By Okabe and Ito: everybody can tell these colours apart, and in print the markers.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#F0E442")
_MARKERS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star", "pentagon")
_STYLE = """
body { font-family: sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em; color: #222; }
figure { margin: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1em 0; font-size: 0.8em; }
th, td { border-bottom: 1px solid #ccc; padding: 0.25em 0.4em; text-align: right; vertical-align: top; }
th:first-child, td:first-child, .texts th, .texts td { text-align: left; }
"""
_HEIGHT = 460


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a figure. shape: "linear", or "hv" for values that hold until the next point."""

    name: str
    x: Sequence[float | None]
    y: Sequence[float | None]
    shape: str = "linear"


@dataclass(frozen=True, slots=True)
class Mark:
    """An event at one place of the x axis. label: a short text beside it. text: shown when somebody points at it."""

    x: float
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot. id: of its element in the page. legend: title of the lines. marks_title: title of the marks.

    y_most: the end of the y axis, None = chosen by plotly. y_ticks: the values with a number, none = chosen by plotly.
    """

    id: str
    title: str
    x_title: str
    y_title: str
    legend: str
    lines: Sequence[Line]
    marks: Sequence[Mark] = ()
    marks_title: str = ""
    y_most: float | None = None
    y_ticks: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table with one line of titles. texts: its columns have texts, not numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    id: str = ""
    texts: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """Something that is HTML or SVG already, with all texts in it escaped. It needs no library."""

    markup: str


class Section(t.NamedTuple):
    """A part of the page under a heading of its own."""

    heading: str
    content: Figure | Table | Drawing | str


def page(title: str, summary: str, sections: Sequence[Section], *, style: str = "") -> str:
    """Return the page. ``style``: CSS besides that of all pages. Raises BalanceError if there is a figure and plotly is
    missing."""
    parts = []
    with_library = True
    for heading, content in sections:
        parts.append(f"<h2>{html.escape(heading)}</h2>")
        if isinstance(content, Figure):
            # The library is in the page once, with the first figure.
            parts.append(f"<figure>{_drawn(content, with_library=with_library)}</figure>")
            with_library = False
        elif isinstance(content, Drawing):
            parts.append(content.markup)
        else:
            parts.append(_table(content) if isinstance(content, Table) else f"<p>{html.escape(content)}</p>")
    head = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}{style}</style></head><body>"
    )
    return "\n".join(
        [head, f"<h1>{html.escape(title)}</h1>", f"<p>{html.escape(summary)}</p>", *parts, "</body></html>\n"]
    )


def parameters(values: Mapping[str, t.Any]) -> Table:
    """Return the settings that define a run, as a table."""
    return Table(("parameter", "value"), [(key, _shown(value)) for key, value in values.items()], "parameters", True)


def _drawn(figure: Figure, *, with_library: bool) -> str:
    try:
        from plotly import graph_objects, io
    except ImportError as error:
        raise BalanceError("The report needs the Python package plotly on the control node.") from error
    plot = graph_objects.Figure(
        [
            graph_objects.Scatter(
                name=line.name,
                x=list(line.x),
                y=list(line.y),
                mode="lines+markers",
                line={
                    "shape": line.shape,
                    "color": _COLOURS[place % len(_COLOURS)],
                    # Wider lines below narrower ones, so that lines at the same place are all seen.
                    "width": (width := 1.5 + 0.6 * (len(figure.lines) - 1 - place)),
                },
                marker={"symbol": _MARKERS[place % len(_MARKERS)], "size": width + 5},
            )
            for place, line in enumerate(figure.lines)
        ]
    )
    if figure.marks:
        _add_marks(plot, figure)
    # Ticks keep the numbers of the two axes apart in their corner.
    axis = {"rangemode": "tozero", "automargin": True, "ticks": "outside", "ticklen": 7}
    plot.update_layout(
        template="plotly_white",
        height=_HEIGHT,
        # Below the buttons that plotly shows above the legend.
        legend={"title": {"text": figure.legend}, "y": 0.95},
        showlegend=True,
        margin={"l": 70, "r": 20, "t": 20, "b": 60},
        xaxis={"title": figure.x_title, **axis},
        yaxis={"title": figure.y_title, **axis},
    )
    if figure.y_most is not None:
        plot.update_yaxes(range=[0, figure.y_most])
    if figure.y_ticks:
        plot.update_yaxes(tickvals=list(figure.y_ticks))
    config = {"displaylogo": False, "responsive": True}
    text: str = io.to_html(plot, full_html=False, include_plotlyjs=with_library, div_id=figure.id, config=config)
    return text


def _add_marks(plot: t.Any, figure: Figure) -> None:
    """Add a dashed line for each mark, with its label above the lines. Labels of neighbours have different heights."""
    from plotly import graph_objects

    values = [value for line in figure.lines for value in line.y if value is not None]
    top = figure.y_most or max(values, default=1.0)
    heights = [top * (0.96 - 0.05 * (place % 4)) for place in range(len(figure.marks))]
    for mark, height in zip(figure.marks, heights, strict=True):
        plot.add_shape(
            type="line", x0=mark.x, x1=mark.x, y0=0, y1=height, line={"dash": "dot", "width": 1, "color": "#888"}
        )
    plot.add_trace(
        graph_objects.Scatter(
            name=figure.marks_title,
            x=[mark.x for mark in figure.marks],
            y=heights,
            mode="markers+text",
            text=[mark.label for mark in figure.marks],
            textposition="middle right",
            hovertext=[mark.text for mark in figure.marks],
            hoverinfo="text",
            marker={"symbol": "triangle-right", "size": 8, "color": "#444"},
        )
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(title)}</th>" for title in table.head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>\n" for row in table.rows)
    attributes = (f' id="{html.escape(table.id)}"' if table.id else "") + (' class="texts"' if table.texts else "")
    return f'<div class="wide"><table{attributes}><tr>{head}</tr>\n{body}</table></div>'


def _shown(value: t.Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_shown(item)}" for key, item in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
