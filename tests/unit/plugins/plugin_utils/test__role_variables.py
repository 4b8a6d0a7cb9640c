# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Variables that begin with balance_: which there are, and what is said about others."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.virtops.balance.plugins.filter.policy import unknown_variables
from ansible_collections.virtops.balance.plugins.plugin_utils._role_variables import FACTS, OPTIONS

ROOT = pathlib.Path(__file__).resolve().parents[4]
OTHERS = "Names that begin with balance_ are the collection's; give yours others."


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("", []),
        ("ansible_host balances my_balance_snapsot inventory_hostname", []),
        (f"{' '.join(OPTIONS)} {' '.join(FACTS)}", []),
        ("balance_snapsot", ["There is no variable balance_snapsot: did you mean balance_snapshot?", OTHERS]),
        ("balance_Policy", ["There is no variable balance_Policy: did you mean balance_policy?", OTHERS]),
        (
            "balance_tgas balance_run_dir balance_tgas",
            ["There is no variable balance_tgas: did you mean balance_tags?", OTHERS],
        ),
        ("balance_zzzzzzzzzzzz", ["There is no variable balance_zzzzzzzzzzzz.", OTHERS]),
    ],
)
def test_what_is_told(names: str, told: list[str]) -> None:
    assert unknown_variables(names) == told


def test_many_are_cut() -> None:
    told = unknown_variables(" ".join(f"balance_qqqqqqqqqqqqqqqq{number}" for number in range(9)))
    assert len(told) == 7
    assert told[-2:] == ["There are 4 more such variables.", OTHERS]


def test_options_are_those_of_the_role() -> None:
    specs = yaml.safe_load((ROOT / "roles/balance/meta/argument_specs.yml").read_text(encoding="utf-8"))
    named = {name for spec in specs["argument_specs"].values() for name in spec.get("options") or {}}
    assert named == OPTIONS


def test_facts_are_what_roles_and_playbooks_set() -> None:
    files = [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml")]
    found = {name for file in files for name in names_set(yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader))}
    assert {name for name in found if name.startswith("balance_")} - OPTIONS == FACTS


class _Loader(yaml.SafeLoader):
    """Reads playbooks, with tags such as unsafe as the text that has them."""


_Loader.add_multi_constructor("!", lambda loader, _tag, node: loader.construct_scalar(node))


def names_set(node: t.Any) -> t.Iterator[str]:
    """The variables that tasks set: facts, what they register, those of loops, and those given to other tasks."""
    if isinstance(node, list):
        for item in node:
            yield from names_set(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("register", "loop_var", "index_var"):
                yield value
            elif key in ("ansible.builtin.set_fact", "vars", "data") and isinstance(value, dict):
                yield from value
            yield from names_set(value)


@pytest.mark.parametrize("inventory", sorted(ROOT.glob("inventories/*")), ids=lambda path: path.name)
def test_inventories_that_come_with_it_have_no_others(inventory: pathlib.Path) -> None:
    def keys(node: t.Any) -> t.Iterator[str]:
        for key, value in node.items() if isinstance(node, dict) else ():
            yield str(key)
            yield from keys(value)

    files = list(inventory.rglob("*.yml"))
    assert files
    assert unknown_variables(" ".join(key for file in files for key in keys(yaml.safe_load(file.read_text())))) == []
