# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import json
import pathlib
import typing as t
from dataclasses import fields

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.filter.detection import detect, select
from ansible_collections.virtops.balance.plugins.plugin_utils._detection.registry import detectors
from ansible_collections.virtops.balance.plugins.plugin_utils._selection.registry import selections

FILTERS = pathlib.Path(__file__).resolve().parents[4] / "plugins" / "filter"


def documented(name: str) -> dict[str, t.Any]:
    found: dict[str, t.Any] = yaml.safe_load((FILTERS / f"{name}.yml").read_text(encoding="utf-8"))["DOCUMENTATION"]
    return found["options"]


@pytest.mark.parametrize(
    "history", [[0.2, 0.9], {"cpu": [0.2, 0.9]}, {"step_seconds": 300, "ends_at": "2026-01-31T12:00:00Z", "cpu": [0.9]}]
)
def test_detect_returns_plain_data(history: t.Any) -> None:
    found = detect(history)
    assert found == {"decision": True, "state": {}, "numbers": {"usage": 0.9, "threshold": 0.8}}
    assert json.loads(json.dumps(found)) == found


def test_the_step_is_that_of_the_history_unless_given() -> None:
    rising = {"step_seconds": 300, "cpu": [place / 100 for place in range(30)]}
    predictions = [
        detect(rising, "local_regression", migration_seconds=600, **more)["numbers"]["prediction"]
        for more in ({}, {"step_seconds": 600}, {"step_seconds": 60})
    ]
    assert predictions == pytest.approx([0.31, 0.30, 0.39])


def test_the_state_goes_round() -> None:
    first = detect([0.5] * 19 + [1.0], "otf")
    assert detect([1.0] * 20, "otf", state=first["state"], new=2)["state"] == {"steps": 22, "overloaded_steps": 3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"history": None}, "The history needs the list 'cpu', "),
        ({"history": {"cpu_cores": [1]}}, "The history needs the list 'cpu', "),
        ({"history": [0.1, "0.2"]}, "The history has '0.2' in 'cpu'; "),
        ({"history": [float("nan")]}, "The history has nan in 'cpu'; "),
        ({"history": [0.1], "detector": "mean"}, "overload detector cannot be 'mean': "),
        ({"history": [0.1], "detector": ["mad"]}, "overload detector cannot be ['mad']: "),
        ({"history": [0.1], "parameters": {"limit": 1}}, "parameters has no key 'limit': "),
        ({"history": [0.1], "parameters": [1]}, "parameters must be a mapping, not [1]."),
        ({"history": [0.1], "kind": "idle"}, "kind cannot be 'idle': "),
        ({"history": [0.1], "step_seconds": "60"}, "step_seconds must be a number above 0, not '60'."),
        (
            {"history": {"cpu": [0.1], "step_seconds": 0}},
            "The history has the step_seconds 0; it must be a number above 0.",
        ),
        ({"history": [0.1], "migration_seconds": -1}, "migration_seconds must be a number of at least 0, not -1."),
        ({"history": [0.1], "new": 1.5}, "new must be a whole number of at least 0 or null, not 1.5."),
        ({"history": [0.1], "state": [1]}, "state must be a mapping, not [1]."),
    ],
)
def test_mistakes_in_detect(arguments: dict[str, t.Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        detect(**arguments)
    assert str(caught.value).startswith(message)


def test_select_returns_plain_data() -> None:
    found = select({"a": {"memory_mib": 10}, "b": {"memory_mib": 5, "cpu_cores": [1, None]}})
    assert found == {"decision": "b", "state": {}, "numbers": {"memory_mib": 5.0}}
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"candidates": ["a"]}, "The candidates must be a mapping of names"),
        ({"candidates": {"a": None}}, "candidates.a must be a mapping, not null."),
        ({"candidates": {}, "selection": "mmt"}, "selection cannot be 'mmt': "),
        ({"candidates": {}, "parameters": {"seed": 1}}, "parameters has no key 'seed': "),
        ({"candidates": {}, "state": "x"}, "state must be a mapping, not 'x'."),
    ],
)
def test_mistakes_in_select(arguments: dict[str, t.Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        select(**arguments)
    assert str(caught.value).startswith(message)


def test_documentation_names_everything() -> None:
    overload, underload = detectors("overload"), detectors("underload")
    _named(
        "detect", "detector", {*overload, *underload}, [cls for _f, cls in (*overload.values(), *underload.values())]
    )
    _named("select", "selection", set(selections()), [cls for _function, cls in selections().values()])


def _named(name: str, option: str, names: set[str], parameters: list[type[t.Any]]) -> None:
    options = documented(name)
    assert set(options[option]["choices"]) == names
    said = "\n".join(options["parameters"]["description"])
    assert all(f"C({field.name})" in said for cls in parameters for field in fields(cls))
