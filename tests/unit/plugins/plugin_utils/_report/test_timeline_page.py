# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The page of hosts over time; how it looks is seen in a browser, see tests/build/test_pages.py."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._report.timeline_page import timeline_page

Json = dict[str, t.Any]


def fleet(**history: t.Any) -> Json:
    column = {"step_seconds": 2, "ends_at": "2026-01-31T12:00:10Z", "cpu": [0.5, None, 1.0], **history}
    return {"schema": 1, "hosts": {"kvm1": {"state": "active", "history": column}}, "domains": {}}


def run(outcome: str = "moved", at: str | None = "2026-01-31T12:00:08Z") -> Json:
    move = {"domain": "u1", "name": "web <1>", "source": "kvm1", "destination": "kvm2"}
    return {
        "plan": {"waves": [{"moves": [{**move, "why": "too busy"}]}]},
        "outcome": {"moves": [{**move, "outcome": outcome}]},
        "after": {
            "schema": 1,
            "hosts": {"kvm2": {"state": "active"}},
            "domains": {"u1": {"name": "web <1>", "host": "kvm2", "last_moved_at": at}},
        },
    }


def rows(page: str) -> list[str]:
    return re.findall(r"<tr>(<td>.*?)</tr>", page)


def test_time_counts_from_the_first_sample_or_from_what_is_asked_for() -> None:
    page = timeline_page(fleet(), [run()])
    assert "1 hosts, 1 move of domains. Time 0 is 2026-01-31T12:00:06Z." in page
    assert '"x":[0.0,2.0,4.0],"y":[50.0,null,100.0]' in page
    assert rows(page) == ["<td>1</td><td>2</td><td>web &lt;1&gt; from kvm1 to kvm2</td><td>too busy</td>"]
    page = timeline_page(fleet(), [run()], begin="2026-01-31T12:00:07Z")
    assert '"x":[1.0,3.0],"y":[null,100.0]' in page
    assert rows(page)[0].startswith("<td>1</td><td>1</td>")


def test_the_figures_of_a_move_are_told_beside_what_it_does() -> None:
    data = run()
    data["plan"]["waves"][0]["moves"][0]["figures"] = {
        "told": "web wants 0.4 cores now, 1.7 on average in the last 2 h"
    }
    assert rows(timeline_page(fleet(), [data]))[0].endswith(
        "<td>too busy; web wants 0.4 cores now, 1.7 on average in the last 2 h</td>"
    )


@pytest.mark.parametrize(
    "nothing", [[], [run("skipped")], [run(at=None)], [{**run(), "outcome": None}], [{**run(), "after": None}]]
)
def test_what_moved_nothing(nothing: list[Json]) -> None:
    page = timeline_page(fleet(), nothing)
    assert "1 hosts, 0 moves of domains." in page
    assert "No domain moved." in page


def test_events_and_settings_are_shown() -> None:
    events = [{"at": "2026-01-31T12:00:09Z", "text": "after it"}, {"at": "2026-01-31T12:00:07Z", "text": "before it"}]
    page = timeline_page(fleet(), [run()], events=events, title="A & B", settings={"host": "kvm1"})
    assert [row.split("</td>")[0] for row in rows(page)] == ["<td>A", "<td>1", "<td>B", "<td>host"]
    assert "<title>A &amp; B</title>" in page


@pytest.mark.parametrize(
    ("snapshot", "runs", "more", "message"),
    [
        ({"schema": 1, "hosts": {"kvm1": {"state": "active"}}, "domains": {}}, [], {}, "No host has a history"),
        (fleet(), {}, {}, "runs must be a list of mappings."),
        (fleet(), [{}], {}, "A run must be a mapping with plan, outcome and after."),
        (fleet(), [], {"begin": "noon"}, "begin must be a time such as 2026-01-31T12:00:00Z, not 'noon'."),
        (fleet(), [], {"events": [{"at": "2026-01-31T12:00:00Z"}]}, "An event must be a mapping with at and text."),
        (fleet(), [], {"events": [{"text": "x"}]}, "The time of an event must be a time"),
        (fleet(cpu=["much"]), [], {}, "The history of host 'kvm1' has 'much'"),
    ],
)
def test_what_is_wrong(snapshot: Json, runs: t.Any, more: Json, message: str) -> None:
    with pytest.raises(BalanceError, match=re.escape(message)):
        timeline_page(snapshot, runs, **more)
