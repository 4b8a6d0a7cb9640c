# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._report.backtest_table import (
    backtest_csv,
    backtest_table,
    share,
)


def result(policy: str, **more: t.Any) -> dict[str, t.Any]:
    return {
        "policy": policy,
        "limit": 0.9,
        "differs": {},
        "runs": 11,
        "runs_that_moved": 1,
        "moves": 12,
        "gib": 24.0,
        "moved_back": 0,
        "most_moves_of_one": 2,
        "host_time_above_limit": 0.03,
        "host_time_full": 0.0,
        "unserved": 0.0004,
        "worst": [
            {"domain": "u-1", "name": "web-1\n", "unserved": 0.042},
            {"domain": "u-2", "name": "idle", "unserved": 0.0},
        ],
        "kwh": 1.25,
        "wakes": 1,
        "sleeps": 2,
        "cpu_seconds": 3.21,
        "hosts": {"kvm1": [0.5, 0.95, None], "kvm2": [0.0, 1.0, 0.25]},
        "made": [
            {
                "at": "2026-01-31T12:05:00Z",
                "domain": "u-1",
                "name": "<web>",
                "source": "kvm1",
                "destination": "kvm2",
                "mib": 2048.0,
                "seconds": 20.0,
            }
        ],
        "times": {"begins_at": "2026-01-31T12:00:00Z", "step_seconds": 300, "steps": 3},
        **more,
    }


def results(*given: dict[str, t.Any]) -> dict[str, t.Any]:
    recording = {
        "source": "the rows of load.csv",
        "begins_at": "2026-01-31T12:00:00Z",
        "ends_at": "2026-01-31T12:10:00Z",
        "step_seconds": 300,
        "run_seconds": 300,
        "steps": 3,
        "hosts": 2,
        "domains": 2,
    }
    real = result("what really happened", runs_that_moved=None, unserved=None, worst=[], kwh=None, cpu_seconds=None)
    return {"schema": 1, "recording": recording, "notes": ["One note."], "results": [real, *given]}


def test_the_table_is_what_administrators_compare() -> None:
    assert backtest_table(results(result("calm"))) == "\n".join(
        (
            "BACKTEST of 2 hosts, 2 domains, 2026-01-31 12:00 to 12:10 UTC, a run every 5 minutes",
            "",
            "                             back    most   runs  above     at                 kWh",
            "               moves  GiB  in 1 h  of one  moved  limit  100 %  unserved  modelled  CPU s",
            "what happened     12   24       0       2      ?  3.0 %    0 %         ?         ?      ?",
            "calm              12   24       0       2      1  3.0 %    0 %    0.04 %       1.2    3.2",
            "",
            "Worst domains, by the share of what they wanted and did not get:",
            "  calm: web-1\\n 4.2 %",
            "",
            "One note.",
        )
    )


def test_whose_the_policy_is_stands_below_the_title() -> None:
    given = results(result("policy"))
    given["recording"]["policy"] = "that of kvm1\n in the inventory"
    assert backtest_table(given).splitlines()[1:3] == ["policy: that of kvm1\\n in the inventory", ""]


def test_it_fits_whatever_the_figures_and_names_are() -> None:
    large = result("日本語" * 20, moves=123456, gib=98765.4, cpu_seconds=12345.0, kwh=54321.0, moved_back=99999)
    lines = backtest_table(results(large, result("x" * 80))).splitlines()
    assert max(len(line) + sum(ord(c) > 0x2000 and c != "…" for c in line) for line in lines) <= 100


def test_csv_has_a_row_for_each_result_and_leaves_out_what_is_not_known() -> None:
    head, real, calm = backtest_csv(results(result("calm"))).splitlines()
    assert head == (
        "policy,runs,wakes,sleeps,moves,gib,moved_back,most_moves_of_one,runs_that_moved,host_time_above_limit,"
        "host_time_full,unserved,kwh,cpu_seconds"
    )
    assert real == "what really happened,11,1,2,12,24.0,0,2,,0.03,0.0,,,"
    assert calm == "calm,11,1,2,12,24.0,0,2,1,0.03,0.0,0.0004,1.25,3.21"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 %"), (1e-6, "<.001 %"), (0.0004, "0.04 %"), (0.00126, "0.126 %"), (0.034, "3.4 %"), (1.0, "100.0 %")],
)
def test_small_shares_keep_the_digits_that_tell(value: float, text: str) -> None:
    assert share(value) == text


def test_what_is_no_result_is_refused() -> None:
    with pytest.raises(BalanceError, match=r"^The results must be those of a backtest, not \{\}\.$"):
        backtest_table({})
