# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""rebalance.yml beside a domain that a migration has left paused, over the fleet of conftest.py."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.tests.build.conftest import APART, Fleet

NOTE = {"source": "kvm2", "destination": "kvm3", "started_at": "2026-01-31T11:00:00Z", "destination_had": "none"}
LEFT: dict[str, t.Any] = {"state": "paused", "reason": "migration", "unfinished_move": NOTE}
SENTENCE = "db-1 does not run: it is paused (migration) on kvm2 by a migration from kvm2 to kvm3 that no longer runs."
EAGER = {**APART, "threshold": 0.01, "minimum_gain": 0, "move_cost": 0}


def leave(fleet: Fleet, **more: t.Any) -> None:
    """db-1 was left paused on kvm2, and everything else that can move is on kvm1."""
    guests = fleet.guests()
    for name, guest in guests.items():
        if name.startswith("app-"):
            guest["host"] = "kvm1"
    guests["db-1"]["more"] = {**LEFT, **more}
    fleet.set(guests)


def test_every_run_fails_until_it_is_over_and_the_others_are_balanced(fleet: Fleet) -> None:
    leave(fleet)
    said = fleet.run("rebalance", balance_policy=EAGER, fails=True)
    assert [line.split()[0] for line in fleet.log()] == ["moved"] * len(fleet.log()) != []
    # First of all in the plan, and in the outcome.
    assert said.count(f"{SENTENCE} Never resume it before kvm3 tells whether it has run there.") >= 2
    assert said.index(SENTENCE) < said.index("MOVE ")
    assert fleet.saved("outcome.json")["problem"].startswith(SENTENCE)
    assert fleet.saved("plan.json")["not_running"][0]["host"] == "kvm2"

    assert SENTENCE in fleet.run("rebalance", fails=True)
    assert fleet.saved("outcome.json")["moves"] == []


def test_check_mode_fails_too_and_touches_nothing(fleet: Fleet) -> None:
    leave(fleet)
    said = fleet.run("rebalance", "--check", balance_policy=EAGER, fails=True)
    assert said.index(SENTENCE) < said.index("MOVE ")
    assert fleet.log() == []


def test_another_failure_to_finish_a_move_stops_the_run(fleet: Fleet) -> None:
    leave(fleet, state="running", reason="migrated")
    (fleet.place / "fail-db-1").touch()
    assert "The cap of db-1 could not be set." in fleet.run("rebalance", balance_policy=EAGER, fails=True)
    # It is not observed again, and what it said before is not taken for the fleet as it is now.
    assert fleet.saved("outcome.json")["hosts"]["kvm2"]["state"] == "unknown"


def test_a_drain_and_a_maintenance_do_what_they_can_and_fail_at_their_end(fleet: Fleet) -> None:
    """Else nothing would be maintained while one domain waits for its disk, wherever it is."""
    guests = fleet.guests()
    guests["db-1"]["more"] = {"state": "paused", "reason": "ioerror"}
    fleet.set(guests)
    broken = "db-1 does not run: it is paused (ioerror) on kvm2."

    said = fleet.run("drain", drain_hosts="kvm3", drain_give_back=True, fails=True)
    assert broken in said
    assert (fleet.on("kvm3"), fleet.drained()) == ([], ["kvm3"])
    fleet.run("undrain", undrain_hosts="kvm3")

    tasks = str(fleet.place / "tasks.yml")
    said = fleet.run("maintain", maintenance_hosts="kvm1,kvm3", maintenance_tasks=tasks, fails=True)
    assert broken in said
    assert sorted(line for line in fleet.log() if line.startswith("maintained")) == [
        "maintained kvm1",
        "maintained kvm3",
    ]
    assert fleet.drained() == []


def test_a_host_is_not_maintained_that_cannot_be_emptied(fleet: Fleet) -> None:
    guests = fleet.guests()
    guests["db-1"]["more"] = LEFT
    fleet.set(guests)
    fleet.run("maintain", maintenance_hosts="kvm2", maintenance_tasks=str(fleet.place / "tasks.yml"), fails=True)
    assert "maintained kvm2" not in fleet.log()
