# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Whether a run may act, by what host_lease said on each host."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._run import leases

OURS = {"lease": {"owner": "me"}}
FULL = {"failed": True, "unusable": True, "msg": "The lease cannot be used: No space left on device.", "lease": None}
HELD = {"failed": True, "msg": "The host is leased to cron@control.", "lease": {"owner": "cron@control"}}
GONE = {"unreachable": True, "msg": "No route to host"}
DAMAGED = {"failed": True, "msg": "lease.json is not a lease that this version understands.", "lease": None}


@pytest.mark.parametrize(
    ("said", "refusals"),
    [
        (FULL, []),
        (GONE, []),
        (OURS, []),
        ({"skipped": True}, []),
        (HELD, ["kvm1: The host is leased to cron@control."]),
        (DAMAGED, ["kvm1: lease.json is not a lease that this version understands."]),
    ],
)
def test_only_what_somebody_else_may_have_leased_keeps_the_run_from_acting(
    said: dict[str, t.Any], refusals: list[str]
) -> None:
    found = leases.judge({"kvm1": said, "kvm2": OURS}, "me")
    assert found["refusals"] == refusals
    assert found["failures"] == ({} if said is OURS else {"kvm1": said})
    assert leases.renewed({"kvm1": said, "kvm2": OURS}, {})["refusals"] == refusals


@pytest.mark.parametrize(
    ("results", "first", "ours"),
    [
        ({"kvm2": OURS, "kvm1": HELD}, "kvm1", False),
        ({"kvm1": OURS, "kvm2": HELD}, "kvm1", True),
        ({"kvm1": FULL, "kvm2": OURS, "kvm3": HELD}, "kvm2", True),
        ({"kvm1": GONE, "kvm2": HELD}, "kvm2", False),
        ({"kvm1": GONE}, None, False),
    ],
)
def test_who_has_the_first_host_that_can_keep_a_lease_goes_first(
    results: dict[str, t.Any], first: str | None, ours: bool
) -> None:
    found = leases.judge(results, "me")
    assert (found["first"], found["first_is_ours"]) == (first, ours)


def test_an_expired_lease_that_was_taken_over_is_told() -> None:
    before = {"owner": "cron", "purpose": "rebalance", "since": "S", "expires_at": "E"}
    told = leases.judge({"kvm1": {**OURS, "taken_over": before}, "kvm2": {**OURS, "taken_over": None}}, "me")
    assert told["taken_over"] == ["kvm1: the lease of cron (rebalance) since S ended E and is taken over."]


def test_a_host_that_cannot_renew_its_lease_takes_no_part_and_a_silent_one_does() -> None:
    results: dict[str, dict[str, t.Any]] = {"kvm1": FULL, "kvm2": GONE, "kvm3": OURS, "kvm4": {"skipped": True}}
    found = leases.renewed(results, {"kvm4": GONE})
    assert found["failures"] == {"kvm1": FULL, "kvm4": GONE}
    assert leases.lost(found["failures"]) == ["kvm1"]


@pytest.mark.parametrize(
    ("step", "ago", "due", "keep"),
    [
        (0, 50, False, 300),
        (0, 101, True, 300),
        (4.2, 50, False, 308.4),
        (400, 0, True, 1100),
        (10_000_000, 0, True, leases.LONGEST_SECONDS),
    ],
)
def test_hosts_stay_leased_for_longer_than_a_step_takes(step: float, ago: float, due: bool, keep: float) -> None:
    assert leases.due(1000.0, 1000.0 + ago, step_seconds=step, lease_seconds=300) is due
    assert leases.keep_seconds(step_seconds=step, lease_seconds=300) == pytest.approx(keep)


def test_what_is_not_leased_is_not_renewed() -> None:
    assert not leases.due(None, 1000.0, step_seconds=400, lease_seconds=300)
