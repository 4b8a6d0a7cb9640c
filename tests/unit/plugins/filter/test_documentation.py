# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Filters are found by scanning files, their documentation by its file's name: both have to name the same."""

from __future__ import annotations

import importlib
import inspect
import pathlib
import re
import typing as t

import pytest
import yaml

DIRECTORY = pathlib.Path(__file__).resolve().parents[4] / "plugins" / "filter"
PACKAGE = "ansible_collections.virtops.balance.plugins.filter"
FILES = sorted(path.stem for path in DIRECTORY.glob("*.py"))
DOCUMENTED = sorted(path.stem for path in DIRECTORY.glob("*.yml"))


def filters_of(file: str) -> dict[str, t.Callable[..., t.Any]]:
    found: dict[str, t.Callable[..., t.Any]] = importlib.import_module(f"{PACKAGE}.{file}").FilterModule().filters()
    return found


FILTERS = {name: function for file in FILES for name, function in filters_of(file).items()}


def documentation(name: str) -> dict[str, t.Any]:
    found: dict[str, t.Any] = yaml.safe_load((DIRECTORY / f"{name}.yml").read_text(encoding="utf-8"))["DOCUMENTATION"]
    return found


def test_each_filter_is_in_one_file() -> None:
    assert sorted(name for file in FILES for name in filters_of(file)) == sorted(FILTERS)


def test_each_filter_has_documentation() -> None:
    assert sorted(FILTERS) == DOCUMENTED


@pytest.mark.parametrize("name", DOCUMENTED)
def test_arguments_are_the_documented_ones(name: str) -> None:
    said = documentation(name)
    parameters = list(inspect.signature(FILTERS[name]).parameters.values())[1:]
    options = {key: option for key, option in said["options"].items() if key != "_input"}
    positional = said.get("positional", "_input").split(", ")[1:]

    assert said["name"] == name
    assert positional == [parameter.name for parameter in parameters][: len(positional)]
    assert sorted(options) == sorted(parameter.name for parameter in parameters)
    for parameter in parameters:
        required = parameter.default is inspect.Parameter.empty
        assert (parameter.name, options[parameter.name].get("required", False)) == (parameter.name, required)


def test_filters_that_name_a_role_are_used_by_it() -> None:
    named = {name: re.match(r"Used by the role (\w+)\.$", documentation(name)["description"][0]) for name in DOCUMENTED}
    roles = {name: found[1] for name, found in named.items() if found}
    assert "drain_left" in roles
    assert "plan" not in roles
    for name, role in roles.items():
        files = (DIRECTORY.parents[1] / "roles" / role / "tasks").glob("*.yml")
        assert (name, any(f"virtops.balance.{name}" in file.read_text(encoding="utf-8") for file in files)) == (
            name,
            True,
        )
