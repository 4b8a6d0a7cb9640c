# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What has to agree between files of the collection, and what no linter looks at."""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
PLUGIN_FILES = sorted(
    str(path.relative_to(ROOT)) for path in (ROOT / "plugins").rglob("*") if path.suffix in (".py", ".yml", ".yaml")
)
ABSENT = object()


def load(path: str) -> t.Any:
    """Return the content of a YAML file of the collection, None where there is none."""
    file = ROOT / path
    return yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else None


def test_action_group_is_all_modules() -> None:
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    group = load("meta/runtime.yml")["action_groups"]["balance"]
    assert sorted(modules) == group


@pytest.mark.parametrize("module", load("meta/runtime.yml")["action_groups"]["balance"])
def test_module_documents_the_action_group(module: str) -> None:
    source = (ROOT / "plugins" / "modules" / f"{module}.py").read_text(encoding="utf-8")
    documentation = yaml.safe_load(source.split('r"""', 1)[1].split('"""', 1)[0])
    assert "virtops.balance._attributes.actiongroup_balance" in documentation["extends_documentation_fragment"]


@pytest.mark.parametrize("module", load("meta/runtime.yml")["action_groups"]["balance"])
def test_module_says_since_when_it_is_there(module: str) -> None:
    source = (ROOT / "plugins" / "modules" / f"{module}.py").read_text(encoding="utf-8")
    assert "version_added" in yaml.safe_load(source.split('r"""', 1)[1].split('"""', 1)[0])


@pytest.mark.parametrize("role", ROLES)
def test_every_documented_variable_of_a_role_is_used(role: str) -> None:
    directory = ROOT / "roles" / role
    files = [path for part in ("tasks", "vars", "templates", "files") for path in (directory / part).rglob("*.*")]
    # What is looked at on all hosts at once is read by action plugins.
    files += (ROOT / "plugins" / "action").glob("*.py")
    text = "\n".join(path.read_text(encoding="utf-8") for path in files if path.suffix in (".yml", ".j2", ".py"))
    specs = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]
    options = {name for spec in specs.values() for name in spec.get("options") or {}}
    entry_points = {path.stem for path in (directory / "tasks").glob("*.yml")}

    assert [name for name in sorted(options) if not re.search(rf"\b{name}\b", text)] == []
    assert set(specs) <= entry_points


@pytest.mark.parametrize("path", PLUGIN_FILES)
def test_licence_is_named(path: str) -> None:
    head = (ROOT / path).read_text(encoding="utf-8").splitlines()[:5]
    assert "# SPDX-License-Identifier: GPL-3.0-or-later" in head
    assert "# Copyright: the virtops.balance authors" in head


def differences(defaults: dict[str, t.Any], argument_specs: dict[str, t.Any]) -> list[str]:
    """Return a sentence for every default that a role and its documentation do not agree on."""
    found = []
    documented = set()
    for entry_point, spec in argument_specs.items():
        for name, option in (spec.get("options") or {}).items():
            documented.add(name)
            real, said = defaults.get(name, ABSENT), option.get("default", ABSENT)
            if said is ABSENT and real is not ABSENT:
                found.append(f"{entry_point}: {name} is {real!r} by default, the documentation names no default")
            elif said is not ABSENT and real is ABSENT:
                found.append(f"{entry_point}: {name} is documented as {said!r} by default, the role sets nothing")
            elif (type(real), real) != (type(said), said):
                found.append(f"{entry_point}: {name} is {real!r} by default, documented as {said!r}")
    found += [f"{name} has a default and is not documented" for name in sorted(set(defaults) - documented)]
    return found


@pytest.mark.parametrize("role", ROLES)
def test_role_defaults_are_documented(role: str) -> None:
    defaults = load(f"roles/{role}/defaults/main.yml") or {}
    specs = load(f"roles/{role}/meta/argument_specs.yml")
    assert specs, f"role {role} has no meta/argument_specs.yml"
    assert differences(defaults, specs["argument_specs"]) == []


@pytest.mark.parametrize(
    ("defaults", "options", "expected"),
    [
        pytest.param({"a": 1}, {"a": {"default": 1}}, [], id="same"),
        pytest.param({}, {"a": {"required": True}}, [], id="required"),
        pytest.param({"a": 1}, {"a": {"default": 2}}, ["main: a is 1 by default, documented as 2"], id="value"),
        pytest.param({"a": 1}, {"a": {"default": True}}, ["main: a is 1 by default, documented as True"], id="type"),
        pytest.param({"a": 1}, {}, ["a has a default and is not documented"], id="undocumented"),
        pytest.param(
            {"a": 1}, {"a": {}}, ["main: a is 1 by default, the documentation names no default"], id="unnamed"
        ),
        pytest.param(
            {}, {"a": {"default": 1}}, ["main: a is documented as 1 by default, the role sets nothing"], id="unset"
        ),
    ],
)
def test_differences(defaults: dict[str, t.Any], options: dict[str, t.Any], expected: list[str]) -> None:
    assert differences(defaults, {"main": {"options": options}}) == expected
