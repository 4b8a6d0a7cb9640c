# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A small experiment in the lab, ended in the middle and begun again; the whole one is `make experiment`."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.page import FIGURES
from ansible_collections.virtops.balance.tests.browser import Expected, assert_good, read_back
from ansible_collections.virtops.balance.tests.lab.lab import Lab, wait_for

pytestmark = pytest.mark.long
STRATEGIES = ["first_fit", "power_expand_min_max"]


def rows(directory: Path, strategy: str) -> list[dict[str, str]]:
    with open(directory / f"{strategy}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_experiment_goes_on_where_it_was_killed(lab: Lab, tmp_path: Path) -> None:
    before = lab.placement()
    results = tmp_path / "results"
    how: dict[str, t.Any] = {
        "balance_run_dir": None,
        "balance_interval": None,
        "balance_lease_seconds": 15,
        "balance_lease_wait_seconds": 300,
        "experiment_dir": str(results),
        "experiment_settings": {
            "ground": "lab",
            "strategies": STRATEGIES,
            "domains": 3,
            "step": 3,
            "step_seconds": 5,
            "power_weight": 0.002,
        },
    }
    run = lab.start_playbook("experiment", **how)
    second_plan = results / "steps/power_expand_min_max-001/plan.json"
    try:
        wait_for("the plan of the second strategy", lambda: second_plan.exists() or run.poll() is not None, seconds=300)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        output, _none = run.communicate()
    assert second_plan.exists(), output
    assert not (results / "power_expand_min_max.csv").exists()
    kept = (results / "first_fit.csv").stat().st_mtime_ns

    lab.playbook("experiment", **how)

    assert (results / "first_fit.csv").stat().st_mtime_ns == kept
    for strategy in STRATEGIES:
        (row,) = rows(results, strategy)
        assert row["domains"] == "3"
        assert int(row["placed"]) + int(row["left_out"]) == 3
        plan = json.loads((results / f"steps/{strategy}-001/plan.json").read_text())
        assert int(row["placed"]) == sum(told["cpu_cores"] is not None for told in plan["domains"].values()) > 0
        # All are as busy as their caps let them, as far as the machine of the lab has the CPU.
        planned, got = float(row["planned_cores"]), float(row["cpu_cores"])
        assert 0.4 * planned < got < 1.1 * planned
        assert float(row["utility"]) > 0
        assert float(row["watts"]) >= 60 * int(row["hosts_in_use"]) > 0
    # What was there before is as it was, and of the pool nothing is left.
    assert lab.placement() == before
    for host in lab.hosts:
        assert "vm" not in lab.virsh(host, "list", "--all", "--name")
    found = read_back(results / "report.html", tmp_path)
    assert_good(
        found, {shape.id: Expected(shape.x_title, shape.y_title, "Strategy", ["BS", "PEMM"]) for shape in FIGURES}
    )
    assert found["heading"] == "Allocation experiment in the lab"
