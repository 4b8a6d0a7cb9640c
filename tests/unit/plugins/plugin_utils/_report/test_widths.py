# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Names of any script and length keep the columns of every table."""

from __future__ import annotations

import re
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.plan import allocation_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.outcome import outcome
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._report.allocation_table import allocation_table
from ansible_collections.virtops.balance.plugins.plugin_utils._report.outcome_table import outcome_table
from ansible_collections.virtops.balance.plugins.plugin_utils._report.plan_table import plan_table
from ansible_collections.virtops.balance.plugins.plugin_utils._report.progress_line import line
from ansible_collections.virtops.balance.plugins.plugin_utils._text import WIDTH, columns
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    TAKEN_AT,
    carried_out,
    domain,
    host,
    moves,
    snapshot,
)

NAMES = ["漢字の名前" * 3, "🚀 rocket", "x" * 500, "e\u0301" * 30, "\x1b[31mred\n", "한글", "שלום", "web-1", "-"]
BAR = re.compile(r"\[[#.]{10}\]")
FIVE_NAMES = st.lists(st.text(min_size=1, max_size=500), min_size=5, max_size=5, unique=True)


def fleet(hosts: list[str], guests: list[str]) -> dict[str, t.Any]:
    """A snapshot with all domains on the first host: they wait, and one of them has no history."""
    past = {"step_seconds": 60, "ends_at": TAKEN_AT, "cpu_cores": [3.5] * 9, "cpu_ready": [0.1] * 9}
    named = [
        {**domain(str(number), hosts[0], cores=2.0, cpu_ready=0.3, history=past if number else None), "name": name}
        for number, name in enumerate(guests)
    ]
    return snapshot({name: host() for name in hosts}, *named)


def places(lines: list[str], what: str | re.Pattern[str], *, last: bool = False) -> set[int]:
    """At which columns that begins, in the lines that have it."""
    found = [list(re.finditer(what, line)) for line in lines]
    return {
        columns(line[: matches[-1 if last else 0].start()])
        for line, matches in zip(lines, found, strict=True)
        if matches
    }


def check(names: list[str]) -> None:
    """All tables of a fleet with these names."""
    hosts, guests = names[:2], names[2:]
    data = fleet(hosts, guests)
    made = plan(data, {"threshold": 0.01, "minimum_gain": 0, "move_cost": 0})
    assert made["waves"]
    lines = plan_table(made).splitlines()
    assert [line for line in lines if line.startswith("WORST SERVED")]
    assert [note for note in made["notes"] if "judged by this moment" in note]
    assert [move for move in moves(made) if move["figures"]["told"]]
    assert len(places(lines, BAR, last=True)) == 1
    assert len(places([line for line in lines if re.match(r" +\d+  .* MiB ", line)], r" MiB \d", last=True)) <= 1
    assert all(columns(line) <= WIDTH for line in lines)

    done = [{"move": move, "changed": True, "seconds": 1.0} for wave in made["waves"] for move in wave["moves"]]
    lines = outcome_table(outcome(made, done, carried_out(data, made))).splitlines()
    ends = [line for line in lines if line.startswith("  ") and line.endswith(("  moved", "  moved in 1.0 s"))]
    assert ends
    assert len(places(ends, r"  moved", last=True)) == 1
    assert all(columns(line) <= WIDTH for line in lines)

    wanted = {str(number): {"cpu_min": 1, "cpu_max": 1} for number in range(len(guests))}
    lines = allocation_table(allocation_plan(data, wanted, {}, {})).splitlines()
    assert len(places(lines, r"\d+\.\d\d of ", last=True)) == 1
    assert len(places(lines, r"\d\.\d\d  - -> 1 ", last=True)) == 1
    assert all(columns(line) <= WIDTH for line in lines)

    text = line_of(hosts[0], hosts[1], guests[0])
    assert columns(text) <= 200
    assert text.isprintable()


def line_of(source: str, destination: str, name: str) -> str:
    progress = {"name": name, "source": source, "destination": destination, "phase": "migrating", "percent": 43.0}
    return line({**progress, "total_mib": 96, "mib_per_second": 12.1, "remaining_seconds": 4, "iteration": 2})


@pytest.mark.parametrize("first", range(len(NAMES)))
def test_names_of_any_script_keep_the_columns(first: int) -> None:
    check([NAMES[(first + number) % len(NAMES)] for number in range(5)])


@settings(max_examples=25, deadline=None)
@given(FIVE_NAMES)
def test_any_names_keep_the_columns(names: list[str]) -> None:
    # What Ansible takes for a host of the inventory begins with something that can be seen.
    check([f"{number}{name}" for number, name in enumerate(names)])
