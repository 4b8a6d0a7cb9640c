# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Experiments in the lab: what is left to do, and what a snapshot comes to."""

from __future__ import annotations

import json
import re
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.plan import allocation_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError, PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.lab import measured, steps
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.model import (
    LAB_COLUMNS,
    Experiment,
    from_csv,
    run,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.page import experiment_page

POOL = ["vm1", "vm2", "vm3", "vm4"]
SMALL = Experiment.from_mapping(
    {"ground": "lab", "domains": 3, "step": 2, "strategies": ["greedy_max", "first_fit"], "share": [2], "seed": 3}
)


def host(**changes: t.Any) -> dict[str, t.Any]:
    return {
        "state": "active",
        "cpu": {"threads": 1, "usage": 0.5},
        "memory": {"total_mib": 3072, "available_mib": 2000},
        **changes,
    }


def snapshot(domains: dict[str, tuple[str, float | None]], **changes: t.Any) -> dict[str, t.Any]:
    return {
        "schema": 1,
        "hosts": {"kvm1": host(), "kvm2": host(cpu={"threads": 1, "usage": 0.1}), **changes},
        "domains": {
            f"uuid-{name}": {
                "name": name,
                "host": where,
                "state": "running",
                "vcpus": 1,
                "cpu_cores": cores,
                "memory": {"maximum_mib": 96},
            }
            for name, (where, cores) in domains.items()
        },
    }


def plan(step: dict[str, t.Any]) -> dict[str, t.Any]:
    return allocation_plan(snapshot({}), step["domains"], step["allocation"], step["policy"])


def test_the_lab_has_defaults_of_its_own() -> None:
    default = Experiment.from_mapping({"ground": "lab"})
    assert (default.domains, default.hosts, default.cpu_limit, default.memory_mib) == (9, 3, 0.5, 96)
    assert default.counts() == list(range(1, 10))
    assert Experiment.from_mapping(json.loads(json.dumps(default.to_mapping()))) == default


def test_steps() -> None:
    found = steps(SMALL, {}, POOL, "/images")
    assert [(step["strategy"], step["step"], step["count"], step["first"]) for step in found] == [
        ("greedy_max", 1, 2, True),
        ("greedy_max", 2, 3, False),
        ("first_fit", 1, 2, True),
        ("first_fit", 2, 3, False),
    ]
    first = found[0]
    assert list(first["domains"]) == POOL[:3]
    assert first["domains"]["vm3"] == {"state": "stop"}
    assert first["domains"]["vm1"]["xml_path"] == "/images/vm1.xml"
    assert first["domains"] == found[2]["domains"], "all strategies see the same domains"
    assert first["allocation"]["power"] == {"idle_watts": 60.0, "max_watts": 120.0}
    # What it asks for is understood by what carries it out.
    made = plan(found[1])
    assert {step["state"] for step in made["steps"]} == {"create"}
    assert made["strategy"] == "greedy_max"


def test_rows_are_measured_and_steps_that_have_one_are_done() -> None:
    first, second = steps(SMALL, {}, POOL, "/images")[:2]
    fleet = snapshot({"vm1": ("kvm1", 0.3), "vm2": ("kvm1", 0.1), "web-1": ("kvm2", 0.05)})
    text = measured(SMALL, "", plan(first), fleet, pool=POOL, seconds=40.04)
    (row,) = from_csv(SMALL, text)
    assert tuple(row) == LAB_COLUMNS
    assert row["strategy"] == "greedy_max"
    assert (row["step"], row["seconds"], row["domains"], row["placed"], row["left_out"]) == (1, 40.0, 2, 2, 0)
    assert (row["cpu_cores"], row["utility"], row["hosts_in_use"]) == (0.4, 0.8, 1)
    # kvm2 has no domain of the experiment, so it is taken to be off.
    assert row["watts"] == 90.0
    assert row["objective"] == pytest.approx(0.8 - 0.005 * 90.0)
    assert row["other_cores"] == 0.05
    assert row["planned_utility"] == pytest.approx(2 * row["planned_cores"])

    left = steps(SMALL, {"greedy_max": text}, POOL, "/images")
    assert [(step["strategy"], step["step"], step["first"]) for step in left] == [
        ("greedy_max", 2, False),
        ("first_fit", 1, True),
        ("first_fit", 2, False),
    ]
    text = measured(SMALL, text, plan(second), snapshot({"vm1": ("kvm1", None)}), pool=POOL, seconds=10)
    row = from_csv(SMALL, text)[1]
    assert (row["step"], row["seconds"], row["domains"], row["placed"], row["left_out"]) == (2, 50.0, 3, 1, 2)
    # What is not known is not zero.
    assert (row["cpu_cores"], row["utility"], row["objective"]) == (None, None, None)
    with pytest.raises(BalanceError, match="All steps"):
        measured(SMALL, text, plan(second), snapshot({}), pool=POOL, seconds=10)


def test_what_cannot_be_measured() -> None:
    made = plan(steps(SMALL, {}, POOL, "/images")[0])
    silent = snapshot({}, kvm2={"state": "unknown", "problem": "no answer"})
    with pytest.raises(BalanceError, match="cannot be measured: kvm2 did not answer"):
        measured(SMALL, "", made, silent, pool=POOL, seconds=1)
    with pytest.raises(BalanceError, match="with the plan of an allocation"):
        measured(SMALL, "", {"waves": []}, snapshot({}), pool=POOL, seconds=1)


def test_what_the_lab_does_not_have() -> None:
    with pytest.raises(PolicyError, match=re.escape("domains is 3, but the lab has 2 (lab_pool).")):
        steps(SMALL, {}, POOL[:2], "/images")
    model = Experiment.from_mapping({"domains": 2})
    with pytest.raises(PolicyError, match="for the ground lab, not model"):
        steps(model, {}, POOL, "/images")
    with pytest.raises(PolicyError, match="for the ground model, not lab"):
        run(SMALL, "greedy_max")


def test_page_tells_that_it_was_measured() -> None:
    first = steps(SMALL, {}, POOL, "/images")[0]
    text = measured(SMALL, "", plan(first), snapshot({"vm1": ("kvm1", 0.3)}), pool=POOL, seconds=40)
    shown = experiment_page(SMALL, from_csv(SMALL, text))
    assert "in the lab</h1>" in shown
    assert "is measured over 20 s" in shown
    assert "<th>planned utility</th>" in shown
