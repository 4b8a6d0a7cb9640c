# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The pages of reports in a browser: what the playbooks make is opened, and its figures are read back."""

from __future__ import annotations

import csv
import json
import typing as t
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.model import SHORT
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.page import FIGURES
from ansible_collections.virtops.balance.plugins.plugin_utils._report.timeline_page import timeline_page
from ansible_collections.virtops.balance.tests.browser import Expected, assert_good, read_back
from ansible_collections.virtops.balance.tests.run_ansible import run_ansible

ROOT = Path(__file__).resolve().parents[2]
SETTINGS: dict[str, t.Any] = {"domains": 21, "step": 3, "hosts": 3}
WINDOWS = [(1280, 900), (800, 600)]


def experiment(directory: Path, settings: dict[str, t.Any], *, fails: bool = False) -> str:
    variables = {"experiment_dir": str(directory), "experiment_settings": settings}
    playbook = ROOT / "playbooks" / "experiment.yml"
    return run_ansible("ansible-playbook", playbook, "--extra-vars", json.dumps(variables), fails=fails)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a small experiment on the model."""
    directory = tmp_path_factory.mktemp("experiment")
    experiment(directory, SETTINGS)
    return directory


@pytest.mark.parametrize(("width", "height"), WINDOWS)
def test_experiment(results: Path, tmp_path: Path, width: int, height: int) -> None:
    found = read_back(results / "report.html", tmp_path, width=width, height=height)
    settings = json.loads((results / "experiment.json").read_text())
    names = [SHORT[strategy] for strategy in settings["strategies"]]
    assert_good(found, {shape.id: Expected(shape.x_title, shape.y_title, "Strategy", names) for shape in FIGURES})
    for shape in FIGURES:
        for line, strategy in zip(found["figures"][shape.id]["lines"], settings["strategies"], strict=True):
            with open(results / f"{strategy}.csv", newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            assert line["x"] == [float(row[shape.x]) for row in rows]
            assert line["y"] == [float(row[shape.y]) for row in rows]
    assert {table["id"] for table in found["tables"]} == {"", "parameters"}
    shown = next(dict(table["rows"]) for table in found["tables"] if table["id"] == "parameters")
    assert set(shown) == {"parameter", *settings}
    assert (shown["ground"], shown["domains"], shown["hosts"]) == ("model", "21", "3")


def test_experiment_goes_on_where_it_was_and_keeps_apart_from_others(results: Path) -> None:
    before = {path.name: path.read_text() for path in results.glob("*.csv")}
    assert len(before) == 5
    (results / "greedy_max.csv").unlink()
    kept = (results / "first_fit.csv").stat().st_mtime_ns
    experiment(results, SETTINGS)
    assert {path.name: path.read_text() for path in results.glob("*.csv")} == before
    assert (results / "first_fit.csv").stat().st_mtime_ns == kept
    output = experiment(results, {**SETTINGS, "seed": 2}, fails=True)
    assert "holds the results of another experiment" in output
    assert "did you mean 'domains'?" in experiment(results, {"domans": 3}, fails=True)


@pytest.mark.parametrize(("width", "height"), WINDOWS)
def test_timeline(tmp_path: Path, width: int, height: int) -> None:
    begin = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def stamp(seconds: int) -> str:
        return (begin + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

    history = {"step_seconds": 2, "ends_at": stamp(60)}
    hosts = {
        "kvm1": {"state": "active", "history": {**history, "cpu": [1.0] * 15 + [0.4] * 15}},
        "kvm2": {"state": "active", "history": {**history, "cpu": [0.1] * 15 + [None] * 3 + [0.7] * 12}},
        "kvm3": {"state": "active", "history": {**history, "cpu": [0.05] * 30}},
    }
    moves = [
        {"domain": f"u{n}", "name": f"web-{n}", "source": "kvm1", "destination": "kvm2", "why": "kvm1 98 -> 78 % CPU"}
        for n in range(6)
    ]
    run = {
        "plan": {"waves": [{"moves": moves}]},
        "outcome": {"moves": [{**move, "outcome": "moved"} for move in moves]},
        "after": {
            "schema": 1,
            "hosts": {"kvm2": {"state": "active"}},
            "domains": {
                f"u{n}": {"name": f"web-{n}", "host": "kvm2", "last_moved_at": stamp(30 + n)} for n in range(6)
            },
        },
    }
    events = [{"at": stamp(10), "text": "Load <begins>."}]
    path = tmp_path / "timeline.html"
    path.write_text(
        timeline_page({"schema": 1, "hosts": hosts, "domains": {}}, [run], begin=stamp(0), events=events), "utf-8"
    )
    found = read_back(path, tmp_path, width=width, height=height)
    lines = ["kvm1", "kvm2", "kvm3", "event, see below"]
    assert_good(found, {"cpu-time": Expected("Time (s)", "CPU of the host (%)", "Host", lines)})
    shown = found["figures"]["cpu-time"]
    assert [label["text"] for label in shown["labels"]] == ["A", "1", "2", "3", "4", "5", "6"]
    assert shown["lines"][3]["x"] == [10, 30, 31, 32, 33, 34, 35]
    assert [table["id"] for table in found["tables"]] == ["events"]
    assert found["tables"][0]["rows"][1:3] == [
        ["A", "10", "Load <begins>.", ""],
        ["1", "30", "web-0 from kvm1 to kvm2", "kvm1 98 -> 78 % CPU"],
    ]
