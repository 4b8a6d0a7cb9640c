# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import re
from xml.etree import ElementTree

from ansible_collections.virtops.balance.plugins.plugin_utils._report.backtest_page import MOST_ROWS, backtest_page
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils._report.test_backtest_table import (
    result,
    results,
)


def drawings(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(text) for text in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def of_class(drawing: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [node for node in drawing.iter() if node.get("class") == name]


def test_each_result_has_a_drawing_and_nothing_comes_from_elsewhere() -> None:
    page = backtest_page(results(result("calm")))
    assert len(drawings(page)) == 2
    assert not re.search(r"https?://|<script|<link|@import|url\(", page)


def test_hosts_are_lines_with_gaps_where_they_sleep() -> None:
    kvm1, kvm2 = of_class(drawings(backtest_page(results(result("calm"))))[1], "line")
    assert kvm1.get("d") == "M110.0 85.0L595.0 8.5"
    assert kvm2.get("d") == "M110.0 170.0L595.0 0.0L1080.0 127.5"
    assert [title.text for line in (kvm1, kvm2) for title in line] == ["kvm1", "kvm2"]


def test_a_move_is_a_mark_at_its_time() -> None:
    drawing = drawings(backtest_page(results(result("calm"))))[1]
    (mark,) = of_class(drawing, "to")
    assert mark.get("cx") == "595.0"
    assert [title.text for title in mark] == ["<web> from kvm1 to kvm2, 12:05 UTC"]
    assert len(of_class(drawing, "bar")) == 1


def test_many_hosts_are_rows_of_colours_and_the_page_stays_small() -> None:
    hosts = {f"kvm{number}": [(number * 7 + step * step) % 101 / 100 for step in range(288)] for number in range(150)}
    times = {"begins_at": "2026-01-31T12:00:00Z", "step_seconds": 300, "steps": 288}
    given = results(result("calm", hosts=hosts, times=times))
    given["results"][0] = {**given["results"][0], "hosts": hosts, "times": times}
    given["recording"]["hosts"] = 150
    page = backtest_page(given)
    assert not of_class(drawings(page)[1], "line")
    assert f"The plots show the {MOST_ROWS} hosts that were fullest for longest." in page
    # The values change with every step, which is the worst case.
    assert len(page) < 1_500_000


def test_names_are_text() -> None:
    page = backtest_page(results(result("<b>calm</b>", hosts={"<i>": [0.1, 0.2, 0.3]})))
    assert "<b>calm" not in page
    assert "<i>" not in page
    assert "&lt;web&gt;" in page
    assert "<web>" not in page


def test_what_differs_from_the_default_policy_is_said() -> None:
    page = backtest_page(results(result("calm", differs={"threshold": 0.3, "cpu_overcommit": None})))
    assert "Differs from the default policy in threshold: 0.3, cpu_overcommit: null." in page
