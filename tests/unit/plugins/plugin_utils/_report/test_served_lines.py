# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The domains that get the least of what they want, as tables show them."""

from __future__ import annotations

import typing as t

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtops.balance.plugins.plugin_utils._report.served_lines import (
    served_in_outcome,
    served_in_plan,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._text import WIDTH, columns

Json = dict[str, t.Any]
MOVES: list[Json] = [{"moves": [{}]}]
ONE = {"domain": "1", "name": "db-1", "host": "kvm1", "destination": "kvm2", "now": 0.62, "past": 0.714, "after": 1.0}
OTHER = {
    "domain": "2",
    "name": "web-12",
    "host": "kvm1",
    "destination": None,
    "now": 0.078,
    "past": None,
    "after": None,
}
SHARE = st.one_of(st.none(), st.floats(0.0, 1.0))
NAME = st.text(min_size=1, max_size=60)


def test_in_a_plan() -> None:
    assert served_in_plan({"waves": MOVES, "served": {"minutes": 120.0, "worst": [ONE, OTHER]}}) == [
        "WORST SERVED: how much of the CPU that they want they get; after the plan as projected",
        "  DOMAIN  HOST               NOW  LAST 2 H     AFTER",
        "  db-1    kvm1 -> kvm2      62 %      71 %     100 %",
        "  web-12  kvm1             7.8 %         -         -",
    ]


def test_without_history_and_without_moves() -> None:
    assert served_in_plan({"waves": [], "served": {"minutes": None, "worst": [OTHER]}}) == [
        "WORST SERVED: how much of the CPU that they want they get",
        "  DOMAIN  HOST       NOW",
        "  web-12  kvm1     7.8 %",
    ]


def test_in_an_outcome() -> None:
    one = {"domain": "1", "name": "db-1", "host": "kvm2", "before": 0.62, "after": 0.999}
    assert served_in_outcome({"served": {"worst": [one]}}) == [
        "WORST SERVED: how much of the CPU that they want they get",
        "  DOMAIN  HOST    BEFORE     AFTER",
        "  db-1    kvm2      62 %     100 %",
    ]


def test_nothing_is_said_where_all_get_nearly_all() -> None:
    assert served_in_plan({"waves": MOVES, "served": {"minutes": 120.0, "worst": []}}) == []
    assert served_in_outcome({"served": {"worst": []}}) == []
    assert served_in_plan({"waves": []}) == served_in_outcome({}) == []


@given(
    st.lists(st.tuples(NAME, NAME, st.one_of(st.none(), NAME), SHARE, SHARE, SHARE), min_size=1, max_size=5),
    st.floats(1.0, 6000.0),
)
def test_lines_fit_and_end_together(rows: list[tuple[t.Any, ...]], minutes: float) -> None:
    keys = ("name", "host", "destination", "now", "past", "after")
    worst = [dict(zip(keys, row, strict=True)) for row in rows]
    lines = served_in_plan({"waves": MOVES, "served": {"minutes": minutes, "worst": worst}})
    assert all(columns(line) <= WIDTH for line in lines)
    assert len({columns(line) for line in lines[1:]}) == 1
