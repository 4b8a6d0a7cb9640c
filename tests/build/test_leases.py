# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Runs that meet another run, and runs that lose a lease, over the fleet of conftest.py."""

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._host import lease as _lease
from ansible_collections.virtops.balance.plugins.module_utils._host import marks as host_marks
from ansible_collections.virtops.balance.tests.build.conftest import APART, HOSTS, Fleet

LEVEL = {**APART, "threshold": 0.01, "minimum_gain": 0, "move_cost": 0}


def crowd(fleet: Fleet, host: str) -> None:
    """Let all five that may run anywhere run there."""
    guests = fleet.guests()
    for name in guests:
        if name.startswith("app"):
            guests[name]["host"] = host
    fleet.set(guests)


# kvm1 decides which of two runs goes first.
@pytest.mark.parametrize("taken", [["kvm1", "kvm2", "kvm3"], ["kvm2"]])
def test_a_run_waits_for_another_one_and_then_acts_on_all_hosts(fleet: Fleet, taken: list[str]) -> None:
    crowd(fleet, "kvm1")
    for host in taken:
        _lease.take("cron@control", purpose="rebalance", seconds=15, root=str(fleet.place / host))
    fleet.run("rebalance", balance_policy=LEVEL, balance_lease_wait_seconds=60)
    assert len(fleet.log()) == 3
    outcome = fleet.saved("outcome.json")
    assert (outcome["problem"], {host["state"] for host in outcome["hosts"].values()}) == (None, {"active"})


def test_nothing_is_done_on_a_host_whose_lease_was_lost_since(fleet: Fleet) -> None:
    crowd(fleet, "kvm1")
    (fleet.place / "kvm2" / "fills").touch()
    # It only remembers that the load is uneven; leases are renewed before that.
    said = fleet.run("rebalance", balance_policy={**LEVEL, "hold": 3}, balance_lease_seconds=3)
    assert "No space left on device" not in said
    rounds = {host: host_marks.read(root=str(fleet.place / host))["uneven_rounds"] for host in HOSTS}
    assert rounds == {"kvm1": 1, "kvm2": 0, "kvm3": 1}
