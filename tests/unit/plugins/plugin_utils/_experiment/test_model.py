# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Experiments on the model, and the page that shows them."""

from __future__ import annotations

import json
import re
import sys
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError, PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.model import (
    COLUMNS,
    SHORT,
    Experiment,
    from_csv,
    run,
    to_csv,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.page import FIGURES, experiment_page

SMALL = Experiment.from_mapping({"domains": 21, "step": 4, "hosts": 3})


def results(experiment: Experiment) -> list[dict[str, t.Any]]:
    return [row for strategy in experiment.strategies for row in run(experiment, strategy)]


@pytest.mark.parametrize(
    ("domains", "step", "expected"),
    [(10, 4, [4, 8, 10]), (8, 4, [4, 8]), (3, 4, [3]), (1, 1, [1])],
)
def test_steps(domains: int, step: int, expected: list[int]) -> None:
    assert Experiment.from_mapping({"domains": domains, "step": step}).counts() == expected


def test_every_strategy_sees_the_same_domains() -> None:
    assert SMALL.pool() == Experiment.from_mapping({"domains": 21, "strategies": ["greedy_max"]}).pool()
    assert SMALL.pool() != Experiment.from_mapping({"domains": 21, "seed": 2}).pool()


def test_what_defines_a_run_defines_it_again() -> None:
    saved = json.loads(json.dumps(SMALL.to_mapping()))
    assert Experiment.from_mapping(saved) == SMALL
    assert results(Experiment.from_mapping(saved)) == results(SMALL)


def test_rows() -> None:
    rows = run(SMALL, "greedy_min_max")
    assert [row["domains"] for row in rows] == [4, 8, 12, 16, 20, 21]
    assert [row["seconds"] for row in rows[:2]] == [60.0, 120.0]
    for row in rows:
        assert tuple(row) == COLUMNS
        assert row["placed"] + row["left_out"] == row["domains"]
        assert row["cpu_cores"] <= 6.0 + 1e-6
        assert row["objective"] == pytest.approx(row["utility"] - 0.03 * row["watts"], abs=1e-3)


def test_order_of_the_publication() -> None:
    """BS <= GM <= GMM <= EMM in utility, as the Xen project found."""
    by_strategy = {strategy: [row["utility"] for row in run(SMALL, strategy)] for strategy in SMALL.strategies[:4]}
    for worse, better in zip(SMALL.strategies[:3], SMALL.strategies[1:4], strict=True):
        for low, high in zip(by_strategy[worse], by_strategy[better], strict=True):
            assert low <= high + 1e-6


def test_csv_and_back() -> None:
    rows = run(SMALL, "first_fit")
    assert from_csv(SMALL, to_csv(SMALL, rows)) == rows
    unknown = [{**rows[0], "watts": None}]
    assert from_csv(SMALL, to_csv(SMALL, unknown)) == unknown


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", to_csv(SMALL, [])[:-3], ",".join(COLUMNS) + "\nfirst_fit,x\n"])
def test_what_is_no_result(text: str) -> None:
    with pytest.raises(BalanceError):
        from_csv(SMALL, text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"strategies": []}, "experiment_settings.strategies must not be empty."),
        ({"strategies": ["greedy"]}, "did you mean"),
        ({"strategies": ["greedy_max", "greedy_max"]}, "experiment_settings.strategies names a strategy twice."),
        ({"domains": 0}, "experiment_settings.domains must be a whole number of at least 1"),
        ({"hots": 3}, "experiment_settings has no key 'hots': did you mean 'hosts'?"),
        ({"ground": "moon"}, "experiment_settings.ground cannot be 'moon'"),
        ({"cpu_limit": 0}, "experiment_settings.cpu_limit must be a number above 0 and at most 1"),
        ({"max_watts": 10}, "experiment_settings.max_watts must be at least experiment_settings.idle_watts."),
        ({"cpu_min": [0.7]}, "All of experiment_settings.cpu_min must be at most all of experiment_settings.cpu_max."),
        ({"parameters": {"optimal": {}}}, "'optimal', which is not among experiment_settings.strategies."),
    ],
)
def test_what_is_wrong(data: dict[str, t.Any], message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Experiment.from_mapping(data)
    assert message in str(caught.value)


def test_strategy_that_is_not_part_of_it() -> None:
    with pytest.raises(PolicyError, match="not among experiment_settings"):
        run(SMALL, "optimal")


def plots(text: str) -> dict[str, tuple[list[t.Any], dict[str, t.Any]]]:
    """Return what each figure of a page is drawn from: its lines and its layout."""
    decoder = json.JSONDecoder()
    found = {}
    for match in re.finditer(r'Plotly\.newPlot\(\s*"([a-z-]+)",\s*', text):
        lines, end = decoder.raw_decode(text, match.end())
        layout, _end = decoder.raw_decode(text, text.index("{", end))
        found[match.group(1)] = (lines, layout)
    return found


def test_page() -> None:
    rows = results(SMALL)
    text = experiment_page(SMALL, rows)
    # Nothing is loaded from anywhere, and the library is there once.
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", text)
    assert text.count("plotly.js v") == 1
    drawn = plots(text)
    assert list(drawn) == [figure.id for figure in FIGURES]
    for figure in FIGURES:
        lines, layout = drawn[figure.id]
        assert [line["name"] for line in lines] == [SHORT[strategy] for strategy in SMALL.strategies]
        assert (layout["xaxis"]["title"]["text"], layout["yaxis"]["title"]["text"]) == (figure.x_title, figure.y_title)
        for line, strategy in zip(lines, SMALL.strategies, strict=True):
            own = [row for row in rows if row["strategy"] == strategy]
            assert line["x"] == [row[figure.x] for row in own]
            assert line["y"] == [row[figure.y] for row in own]


def test_page_without_results() -> None:
    with pytest.raises(BalanceError, match="no results"):
        experiment_page(SMALL, [])


def test_page_without_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(BalanceError, match="needs the Python package plotly"):
        experiment_page(SMALL, run(SMALL, "first_fit"))
