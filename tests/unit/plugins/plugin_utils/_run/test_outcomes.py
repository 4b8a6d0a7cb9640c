# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""No result of a run is lost, and none is counted twice."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._run.outcomes import collect


def move(number: int, domain: str, **result: t.Any) -> dict[str, t.Any]:
    return {"move": {"number": number, "domain": domain}, **result}


def test_what_hosts_registered_last_may_be_known() -> None:
    first = collect([], [{"results": [move(1, "a")]}, None, {}])
    assert collect(first, [{"results": [move(1, "a")]}, {"results": [move(2, "b", failed=True)]}]) == [
        move(1, "a"),
        move(2, "b", failed=True),
    ]


def test_a_domain_that_moves_twice_has_two_results() -> None:
    known = [move(1, "a")]
    assert collect(known, [{"results": [move(3, "a", failed=True)]}]) == [move(1, "a"), move(3, "a", failed=True)]


def test_a_move_is_no_restart_and_no_step() -> None:
    results = [move(1, "a"), {"restart": {"domain": "a"}}, {"restart": {"domain": "b"}}, {"step": {"number": 1}}]
    assert collect([], [{"results": results}]) == results


def test_a_loop_that_failed_before_its_first_result_is_one() -> None:
    failed = {"failed": True, "msg": "'kvm9' is undefined"}
    found = collect([move(1, "a")], [failed, {"skipped": True}])
    assert found == [move(1, "a"), failed]
    assert collect(found, [failed]) == found
