# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The README's table of the policy is the policy."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import yaml

from ansible_collections.virtops.balance.plugins.plugin_utils._policy import Policy

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(?P<key>\w+)` \| `(?P<default>[^`]*)` \| \S.* \|$", re.MULTILINE)


def policy_table() -> dict[str, t.Any]:
    section = README[README.index("## The policy") : README.index("Selectors are")]
    return {row["key"]: yaml.safe_load(row["default"]) for row in ROW.finditer(section)}


def test_every_key_has_its_default() -> None:
    # Keys of "migration" that are null are left to the module; the table says {} for that, and for "consolidation",
    # which has a page of its own.
    expected = {**Policy.from_mapping({}).to_mapping(), "migration": {}, "consolidation": {}}

    assert policy_table() == expected


def test_every_option_of_a_migration_is_named() -> None:
    row = next(line for line in README.splitlines() if line.startswith("| `migration`"))

    assert set(re.findall(r"`(\w+)`", row.split("|")[3])) - {"domain_migrate"} == set(
        Policy.from_mapping({}).to_mapping()["migration"]
    )
