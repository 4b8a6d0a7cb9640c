# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What a host kept busy itself, by its use and the histories of all domains that were on it."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.own_load import with_own_cores

ENDS_AT = "2026-01-31T12:00:00Z"
HOST = {"step_seconds": 60, "ends_at": ENDS_AT, "cpu": [0.5, 0.5, None, 0.5, 0.5]}


def ran(*cores: float | None, ends_at: str = ENDS_AT) -> dict[str, t.Any]:
    return {"step_seconds": 60, "ends_at": ends_at, "cpu_cores": list(cores)}


@pytest.mark.parametrize(
    ("domains", "expected"),
    [
        pytest.param([], [4.0, 4.0, None, 4.0, 4.0], id="no domain"),
        pytest.param([None], [4.0, 4.0, None, 4.0, 4.0], id="a domain without a history"),
        pytest.param([ran(1.0, 1.0, 1.0, 2.0, 3.0)], [3.0, 3.0, None, 2.0, 1.0], id="one that was always there"),
        pytest.param([ran(1.0, 1.0)], [4.0, 4.0, None, 3.0, 3.0], id="one that came while nothing is known"),
        pytest.param([ran(1.0)], [4.0, 4.0, None, None, 3.0], id="one that came: the step before is unclear"),
        pytest.param([ran(1.0, None, None, None, None)], [3.0, None, None, 4.0, 4.0], id="one that left"),
        pytest.param([ran(1.0, None, 1.0, 1.0, 1.0)], [3.0, None, None, 3.0, 3.0], id="a gap"),
        pytest.param([ran(None, None)], [4.0, 4.0, None, 4.0, 4.0], id="one that is never known"),
        pytest.param([ran(*[3.0] * 5), ran(*[2.0] * 5)], [0.0, 0.0, None, 0.0, 0.0], id="never less than nothing"),
    ],
)
def test_the_rest_is_its_own(domains: list[t.Any], expected: list[float | None]) -> None:
    assert with_own_cores(HOST, 8, domains) == {**HOST, "own_cores": expected}


@pytest.mark.parametrize(
    ("history", "threads", "domains"),
    [
        pytest.param(None, 8, [], id="no history"),
        pytest.param(HOST, None, [], id="nobody knows how many threads it has"),
        pytest.param({"step_seconds": 60, "ends_at": ENDS_AT}, 8, [], id="no use"),
        pytest.param(HOST, 8, [ran(1.0, ends_at="2026-01-31T11:00:00Z")], id="other times"),
        pytest.param({**HOST, "own_cores": [1.0] * 5}, 8, [ran(*[3.0] * 5)], id="it is known already"),
        pytest.param({**HOST, "cpu": ["x"]}, 8, [], id="a use that is no number"),
        pytest.param(HOST, 8, [{**ran(), "cpu_cores": ["x", 1.0]}], id="cores that are no numbers"),
        pytest.param(HOST, 8, [{**ran(), "cpu_cores": 5}], id="cores that are no list"),
    ],
)
def test_where_it_cannot_be_known_nothing_is_said(history: t.Any, threads: t.Any, domains: list[t.Any]) -> None:
    assert with_own_cores(history, threads, domains) == history
