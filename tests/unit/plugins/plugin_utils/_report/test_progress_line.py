# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._report.progress_line import Ticker, line

COPYING = {
    "name": "web-1",
    "source": "kvm1",
    "destination": "kvm3",
    "phase": "migrating",
    "percent": 42.9,
    "total_mib": 96.4,
    "mib_per_second": 12.06,
    "remaining_seconds": 4.4,
    "iteration": 2,
    "converging": True,
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "web-1 kvm1 -> kvm3: 43 % of 96 MiB, 12.1 MiB/s, 4 s left, iteration 2"),
        (
            {"converging": False},
            (
                "web-1 kvm1 -> kvm3: 43 % of 96 MiB, 12.1 MiB/s, 4 s left, iteration 2, "
                "the guest changes its memory as fast as it is sent"
            ),
        ),
        ({"phase": "post_copy"}, "web-1 kvm1 -> kvm3: 43 % of 96 MiB, 12.1 MiB/s, 4 s left, iteration 2, post-copy"),
        ({"percent": None}, "web-1 kvm1 -> kvm3: starting"),
        ({"mib_per_second": None, "remaining_seconds": None, "iteration": None}, "web-1 kvm1 -> kvm3: 43 % of 96 MiB"),
        ({"phase": "aborting"}, "web-1 kvm1 -> kvm3: out of time, ending the migration"),
        ({"phase": "verifying"}, "web-1 kvm1 -> kvm3: checking both hosts again"),
        ({"name": "a\x1b[2Jb\n", "phase": "checking"}, "a\\x1b[2Jb\\n kvm1 -> kvm3: checking both hosts"),
        ({"name": None, "phase": "checking"}, "? kvm1 -> kvm3: checking both hosts"),
        # It comes from another machine, and a broken document must not end the task.
        ({"percent": "x", "phase": 3}, "web-1 kvm1 -> kvm3: starting"),
        ({"total_mib": [], "mib_per_second": True, "remaining_seconds": {}}, "web-1 kvm1 -> kvm3: 43 %, iteration 2"),
    ],
)
def test_line(changes: dict[str, t.Any], expected: str) -> None:
    assert line({**COPYING, **changes}) == expected


def shown(*looks: tuple[float, dict[str, t.Any] | None]) -> list[float]:
    """The moments at which a line is shown."""
    ticker = Ticker()
    return [now for now, progress in looks if ticker.next(progress, now=now) is not None]


def copying(percent: float) -> dict[str, t.Any]:
    return {**COPYING, "percent": percent}


def test_the_first_figures_are_shown_at_once_and_then_one_line_in_a_while() -> None:
    assert shown(*((now, copying(now)) for now in range(10, 20))) == [10, 13, 16, 19]


def test_a_line_that_says_the_same_is_rare() -> None:
    assert shown(*((now, COPYING) for now in range(100))) == [0, 30, 60, 90]


def test_a_short_phase_before_the_copy_is_not_worth_a_line() -> None:
    checking = {**COPYING, "phase": "checking", "percent": None}

    assert shown((0, None), (1, checking), (2, checking), (2.5, copying(1))) == [2.5]
    assert shown((0, None), (1, checking), (2, checking), (3, checking), (4, copying(1))) == [3]


def test_nothing_to_show() -> None:
    assert shown((0, None), (10, None), (40, None)) == []
