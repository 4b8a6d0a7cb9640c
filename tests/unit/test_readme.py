# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The documentation's tables are true, and what the README links to is there."""

from __future__ import annotations

import json
import re
import textwrap
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._report.plan_table import plan_table

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ROOT / "docs" / "docsite" / "rst"
ROW = re.compile(
    r"^ {3}\* - ``(?P<key>\w+)``\n {5}-(?: ``(?P<default>.*)``| (?P<words>\S.*))?\n {5}- (?P<meaning>\S.*)$",
    re.MULTILINE,
)
SHORT_ROW = re.compile(r"^``(?P<key>\w+)`` +``(?P<default>[^`]*)`` +\S", re.MULTILINE)
BLOCK = re.compile(r"code-block:: yaml\n\n((?: {4}.*\n|\n)+)")
DEMO = ROOT / "docs" / "snapshots" / "demo.json"
RESTART = {"name": "desktop-1", "source": "kvm1", "destination": "kvm2", "why": "The CPU ties it to kvm1."}
LINK = re.compile(r"\]\((?!https?://|#)([^)]+)\)")


def page(name: str) -> str:
    """The text of a page of the docsite."""
    return (PAGES / f"{name}.rst").read_text(encoding="utf-8")


def rows(name: str) -> dict[str, re.Match[str]]:
    """The rows of all tables of a page of the docsite, by key."""
    return {row["key"]: row for row in ROW.finditer(page(name))}


def test_every_key_of_the_policy_has_its_default() -> None:
    # Keys of "migration" that are null are left to the module; the table says {} for that, and for "consolidation",
    # which has a page of its own.
    expected = {**Policy.from_mapping({}).to_mapping(), "migration": {}, "consolidation": {}}

    assert {key: yaml.safe_load(row["default"]) for key, row in rows("policy").items()} == expected


def test_every_option_of_a_migration_is_named() -> None:
    row = page("policy").split("* - ``migration``")[1].split("* - ")[0]

    assert set(re.findall(r"``(\w+)``", row)) == set(Policy.from_mapping({}).to_mapping()["migration"])


def test_the_short_table_is_true() -> None:
    policy: dict[str, t.Any] = Policy.from_mapping({}).to_mapping()
    section = page("policy").split("Keys to begin with")[1].split("An example")[0]
    short = {row["key"]: yaml.safe_load(row["default"]) for row in SHORT_ROW.finditer(section)}

    assert short == {key: policy[key] for key in short}
    assert len(short) == 10


def test_examples_of_policies_are_policies() -> None:
    blocks = [
        block for file in sorted(PAGES.glob("*.rst")) for block in BLOCK.findall(file.read_text(encoding="utf-8"))
    ]
    blocks = [block for block in map(textwrap.dedent, blocks) if re.match(r"(#.*\n)?balance_policy:", block)]

    assert len(blocks) >= 5
    for block in blocks:
        Policy.from_mapping(yaml.safe_load(block)["balance_policy"])


def test_the_readme_is_one_page() -> None:
    assert len(README.splitlines()) <= 100
    assert {"make demo", "make test"} <= set(re.findall(r"^make \w+", README, re.MULTILINE))


def test_every_playbook_is_listed_with_its_variables() -> None:
    text = page("playbooks")
    headings = set(re.findall(r"^(\w+)\n-+$", text, re.MULTILINE)) - {"Overview"}
    playbooks = {file.stem: file.read_text(encoding="utf-8") for file in (ROOT / "playbooks").glob("*.yml")}

    assert headings == set(playbooks)
    assert {name for name in playbooks if f"`{name}`_" not in text} == set()
    for name, playbook in playbooks.items():
        section = re.split(r"\n\w+\n-+\n", text.split(f"\n{name}\n-")[1])[0]
        said = set(re.findall(r"^#.*-e (\w+)=", playbook, re.MULTILINE))
        assert {variable for variable in said if f"``{variable}``" not in section} == set(), name


def test_every_command_of_make_is_listed() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {
        name for name in re.findall(r"^([a-z0-9-]+):.* ## ", makefile, re.MULTILINE) if not name.startswith("lint-")
    }

    assert set(re.findall(r"^   \* - ``make ([a-z0-9-]+)``$", page("make_commands"), re.MULTILINE)) == targets - {
        "help"
    }


def test_every_verdict_is_explained() -> None:
    text = page("plan_words").split("Why it is stuck")[0]
    explained = re.findall(r"^   \* - ``([A-Z ]+)``\n     - ``(\w+)``$", text, re.MULTILINE)
    source = (ROOT / "plugins/plugin_utils/_plan/plan.py").read_text(encoding="utf-8")
    source = source[source.index("def _verdict") : source.index("\ndef _order(")]

    returned = set(re.findall(r'return \(?\s*"([a-z_]+)"', source))
    assert {verdict for _printed, verdict in explained} == returned | {"allocate", "allocated"}


@pytest.mark.parametrize(
    ("printed", "verdict", "more"),
    [
        ("MOVE", "move", {}),
        ("RESTART", "move", {"waves": [], "restarts": [RESTART]}),
        ("BALANCED", "balanced", {}),
        ("CONSOLIDATED", "balanced", {"strategy": "consolidate"}),
        ("WAITING", "hold", {}),
        ("NOTHING TO MOVE", "small_gain", {}),
        ("STUCK", "stuck", {}),
        ("INSIDE HOSTS", "inside", {}),
        ("POWER", "power", {"wake": [{"host": "kvm4", "why": "web-1 has no room."}]}),
    ],
)
def test_the_words_of_verdicts_are_those_that_are_printed(printed: str, verdict: str, more: dict[str, t.Any]) -> None:
    demo = plan(json.loads(DEMO.read_text(encoding="utf-8")), {})

    assert plan_table({**demo, "verdict": verdict, **more}).startswith(printed)
    assert f"   * - ``{printed}``\n     - ``{verdict}``\n" in page("plan_words")


def test_every_variable_has_its_default() -> None:
    defaults = yaml.safe_load((ROOT / "roles/balance/defaults/main.yml").read_text(encoding="utf-8"))
    said = rows("variables")
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
