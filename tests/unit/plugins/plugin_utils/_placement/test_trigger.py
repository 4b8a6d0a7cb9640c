# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Which observations are a reason to act, by the policy's ``trigger``."""

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    TAKEN_AT,
    Json,
    domain,
    host,
    moves,
    snapshot,
    ways,
)


def crowd(number: int, cores: float, on: str = "a") -> list[Json]:
    return [domain(f"{on}{index}", on, cores) for index in range(number)]


def uneven() -> Json:
    """60 and 0 % of the CPU."""
    return snapshot({name: host() for name in "ab"}, *crowd(6, 1.0))


def full() -> Json:
    """95 and 80 % of the CPU: no difference above the threshold."""
    return snapshot({name: host() for name in "ab"}, *crowd(10, 0.95), *crowd(8, 1.0, "b"))


def peaking() -> Json:
    """Two domains of a want all of it at the same times, and little on average; two of b are as busy on average."""
    steps = [0.0] * 8 + [7.0] * 2
    past = {"step_seconds": 600, "ends_at": TAKEN_AT}
    here = [domain(f"a{index}", "a", 0.0, vcpus=8, history={**past, "cpu_cores": steps}) for index in range(2)]
    there = [domain(f"b{index}", "b", 1.4, vcpus=8, history={**past, "cpu_cores": [1.4] * 10}) for index in range(2)]
    return snapshot({name: host() for name in "ab"}, *here, *there)


@pytest.mark.parametrize(
    ("data", "word"), [(uneven(), "spread"), (full(), "limit"), (peaking(), "limit")], ids=["uneven", "full", "peaks"]
)
@pytest.mark.parametrize("trigger", [[], ["limit"], ["spread"], ["contention"], ["contention", "limit", "spread"]])
def test_only_what_is_named_is_a_reason(data: Json, word: str, trigger: list[str]) -> None:
    found = plan(data, {"trigger": trigger})
    assert bool(moves(found)) == (word in trigger)
    assert found["verdict"] == ("move" if word in trigger else "balanced")


def test_rules_are_a_reason_in_any_case() -> None:
    found = plan(uneven(), {"trigger": [], "pins": [{"domains": {"names": ["a3"]}, "hosts": ["b"]}]})
    assert ways(found) == [("a3", "a", "b")]
    assert len(moves(plan(uneven(), {"trigger": [], "drained_hosts": ["a"]}))) == 6


def test_without_spread_a_run_ends_when_no_host_is_above_a_limit() -> None:
    data = snapshot({name: host() for name in "ab"}, *crowd(19, 0.5))
    assert len(moves(plan(data, {"trigger": ["limit"]}))) == 1
    assert len(moves(plan(data, {"trigger": ["limit"], "target": 0.05}))) == 1
    assert len(moves(plan(data))) > 5


def test_who_could_not_move_for_what_is_no_reason_is_not_listed() -> None:
    blocked = [{"code": "host_device", "message": "has a device of the host"}]
    data = uneven()
    for name in ("a0", "a1"):
        data["domains"][name]["blockers"] = blocked
    policy = {"pins": [{"domains": {"names": ["a3"]}, "hosts": ["b"]}], "max_moves": 1}
    assert [one["name"] for one in plan(data, policy)["refused"]] == ["a0", "a1"]
    assert plan(data, {**policy, "trigger": ["limit"]})["refused"] == []
    assert plan(data, {**policy, "trigger": [], "cpu_limit": 0.4})["refused"] == []


def test_a_difference_that_does_not_count_is_told() -> None:
    assert plan(uneven(), {"trigger": ["limit"]})["why"] == (
        "CPU use differs by 60 points between hosts at most, memory use by 6; that is no reason to act (trigger)."
    )


def test_an_unknown_word_is_told_with_the_nearest() -> None:
    with pytest.raises(PolicyError, match=r"trigger\[1\].*'contentoin'.*contention"):
        Policy.from_mapping({"trigger": ["limit", "contentoin"]})
