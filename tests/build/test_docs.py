# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The site of the documentation in a browser: it is built, and every page that a link leads to is opened."""

from __future__ import annotations

import collections
import re
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.virtops.balance.tests.browser import visit

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = "collections/virtops/balance"
# Pages that antsibull-docs makes for many collections; for one of them they have little to say.
SHORT = {"collections/index.html"}
RAW = re.compile(r"\b[PMOVRE]V?\([a-z_.]+#?[^)]*\)|:\w+:`")


@pytest.fixture(scope="module")
def site() -> Path:
    """The site, built as `make docs` does it: a warning is an error."""
    done = subprocess.run(
        [ROOT / ".ci" / "docs"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return ROOT / ".cache" / "docs" / "html"


@pytest.fixture(scope="module")
def pages(site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, t.Any]]:
    """What the browser shows of each page that can be reached from the front page, by path."""
    found = visit(site, "index.html", tmp_path_factory.mktemp("browser"))
    assert {name: file for name, file in found.items() if file["missing"]} == {}
    return {name: file for name, file in found.items() if file["page"]}


def test_every_link_leads_somewhere(pages: dict[str, dict[str, t.Any]]) -> None:
    lost = [
        (name, link)
        for name, page in pages.items()
        for link in page["links"]
        if (target := link.partition("#"))[2] and target[0] in pages and target[2] not in pages[target[0]]["anchors"]
    ]
    assert lost == []


def test_no_page_is_empty_or_broken(pages: dict[str, dict[str, t.Any]]) -> None:
    assert [name for name, page in pages.items() if len(page["text"]) < 300 and name not in SHORT] == []
    assert [name for name, page in pages.items() if not page["heading"]] == []
    assert {name: page["errors"] for name, page in pages.items() if page["errors"]} == {}
    assert {name: page["broken_images"] for name, page in pages.items() if page["broken_images"]} == {}
    # The theme's own complaint about a page.
    assert [name for name, page in pages.items() if "ERROR:" in page["text"]] == []


def test_nothing_is_loaded_from_elsewhere(pages: dict[str, dict[str, t.Any]]) -> None:
    assert {name: page["foreign"] for name, page in pages.items() if page["foreign"]} == {}


def test_no_markup_is_left_raw(pages: dict[str, dict[str, t.Any]]) -> None:
    found = {name: RAW.findall(page["prose"]) for name, page in pages.items()}

    assert {name: raw for name, raw in found.items() if raw} == {}


def test_everything_has_a_page(pages: dict[str, dict[str, t.Any]], site: Path) -> None:
    expected = {f"{PLUGINS}/{file.stem}_module.html" for file in (ROOT / "plugins/modules").glob("*.py")}
    expected |= {f"{PLUGINS}/{file.stem}_filter.html" for file in (ROOT / "plugins/filter").glob("*.yml")}
    expected |= {f"{PLUGINS}/{role.name}_role.html" for role in (ROOT / "roles").iterdir() if role.is_dir()}
    expected |= {f"{PLUGINS}/docsite/{file.stem}.html" for file in (ROOT / "docs/docsite/rst").glob("*.rst")}
    made = {str(file.relative_to(site)) for file in (site / PLUGINS).rglob("*.html")}

    assert expected - set(pages) == set()
    # Above this directory are indexes over all collections, which are of no use for one and which nothing links to.
    assert made - set(pages) == set()


def test_front_page_has_the_four_sections(pages: dict[str, dict[str, t.Any]]) -> None:
    sections = yaml.safe_load((ROOT / "docs/docsite/extra-docs.yml").read_text(encoding="utf-8"))["sections"]
    menu = collections.Counter(pages["index.html"]["menu"])

    assert [section["title"] for section in sections] == ["Tutorial", "How-to", "Reference", "Explanation"]
    assert {f"{PLUGINS}/docsite/{page}.html" for section in sections for page in section["toctree"]} <= set(menu)
    assert {file.stem for file in (ROOT / "docs/docsite/rst").glob("*.rst")} == {
        page for section in sections for page in section["toctree"]
    }
