# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The documentation's tables are true, and what the README links to is there."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ROOT / "docs" / "docsite" / "rst"
ROW = re.compile(
    r"^ {3}\* - ``(?P<key>\w+)``\n {5}-(?: ``(?P<default>.*)``| (?P<words>\S.*))?\n {5}- (?P<meaning>\S.*)$",
    re.MULTILINE,
)
SHORT_ROW = re.compile(r"^\| `(?P<key>\w+)` \| `(?P<default>[^`]*)` \| \S.* \|$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://|#)([^)]+)\)")


def rows(page: str) -> dict[str, re.Match[str]]:
    """The rows of all tables of a page of the docsite, by key."""
    return {row["key"]: row for row in ROW.finditer((PAGES / page).read_text(encoding="utf-8"))}


def test_every_key_of_the_policy_has_its_default() -> None:
    # Keys of "migration" that are null are left to the module; the table says {} for that, and for "consolidation",
    # which has a page of its own.
    expected = {**Policy.from_mapping({}).to_mapping(), "migration": {}, "consolidation": {}}

    assert {key: yaml.safe_load(row["default"]) for key, row in rows("policy.rst").items()} == expected


def test_every_option_of_a_migration_is_named() -> None:
    row = (PAGES / "policy.rst").read_text(encoding="utf-8").split("* - ``migration``")[1].split("* - ")[0]

    assert set(re.findall(r"``(\w+)``", row)) == set(Policy.from_mapping({}).to_mapping()["migration"])


def test_the_short_table_is_true() -> None:
    policy: dict[str, t.Any] = Policy.from_mapping({}).to_mapping()
    section = README[README.index("## The policy") : README.index("## From cron")]
    short = {row["key"]: yaml.safe_load(row["default"]) for row in SHORT_ROW.finditer(section)}

    assert short == {key: policy[key] for key in short}
    assert len(short) == 10


def test_examples_of_policies_are_policies() -> None:
    blocks = re.findall(r"```yaml\n(balance_policy:.*?)```", README, re.DOTALL)
    page = (PAGES / "policy.rst").read_text(encoding="utf-8")
    blocks += re.findall(r"code-block:: yaml\n\n((?: {4}.*\n|\n)+)", page)

    assert len(blocks) == 2
    for block in blocks:
        Policy.from_mapping(yaml.safe_load(block)["balance_policy"])


def test_every_variable_has_its_default() -> None:
    defaults = yaml.safe_load((ROOT / "roles/balance/defaults/main.yml").read_text(encoding="utf-8"))
    said = rows("variables.rst")
    # Defaults that are told in words are evaluated at run time, or are no variables of the role.
    figures = {key: yaml.safe_load(row["default"]) for key, row in said.items() if row["default"] and key in defaults}

    assert {key: value for key, value in figures.items() if key != "balance_run_dir"} == {
        key: defaults[key] for key in figures if key != "balance_run_dir"
    }
    internal = {"balance_lease_owner", "balance_lease_purpose"}
    elsewhere = {"balance_strategy", "balance_domains", "balance_allocation", "balance_history_step"}
    elsewhere |= {"balance_history_source", "balance_prometheus"}
    # What drain.yml and maintain.yml set from variables of their own, see maintenance.rst.
    internal |= {f"balance_drain{more}" for more in ("", "_for", "_restart", "_give_back")}
    internal |= {"balance_maintain", "balance_maintenance_tasks", "balance_maintenance_most", "balance_file_prefix"}
    assert set(defaults) - internal - elsewhere <= set(said)


@pytest.mark.parametrize("document", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("roles/*/README.md")), ids=str)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")

    assert [link for link in LINK.findall(text) if not (document.parent / link.split("#")[0]).exists()] == []
