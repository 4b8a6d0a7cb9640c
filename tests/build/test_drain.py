# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""drain.yml and undrain.yml as they are, over the fleet of conftest.py."""

from __future__ import annotations

import json

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._host import lease as _lease
from ansible_collections.virtops.balance.plugins.module_utils._host import marks as host_marks
from ansible_collections.virtops.balance.tests.build import two_hosts
from ansible_collections.virtops.balance.tests.build.conftest import APART, TIED, Fleet


def test_a_drained_host_is_emptied_and_stays_empty(fleet: Fleet) -> None:
    would = fleet.run("drain", "--check", "--diff", drain_hosts="kvm1")
    assert "kvm1 is drained and has 3 domains." in would
    assert (fleet.log(), fleet.drained()) == ([], [])

    fleet.run("drain", drain_hosts="kvm1", drain_for="a new disk")
    assert fleet.on("kvm1") == []
    assert fleet.log()[0] == "drained kvm1"
    assert [line.split()[0] for line in fleet.log()[1:]] == ["moved"] * 3
    assert host_marks.read(root=str(fleet.place / "kvm1"))["drained"]["purpose"] == "a new disk"
    before = fleet.guests()
    fleet.run("rebalance", balance_policy={**APART, "threshold": 0.01, "minimum_gain": 0, "move_cost": 0})
    fleet.run("drain", drain_hosts="kvm1")
    assert fleet.on("kvm1") == []
    assert len(fleet.guests()) == len(before)

    fleet.run("undrain", "--check", undrain_hosts="kvm1")
    fleet.run("undrain", undrain_hosts="kvm1", undrain_for="something else")
    assert fleet.drained() == ["kvm1"]
    fleet.run("undrain", undrain_hosts="kvm1")
    assert fleet.drained() == []


@pytest.mark.parametrize(
    ("hosts", "sentence"),
    [
        ("kvm*", "With kvm1, kvm2, kvm3 drained, no host would be left to take domains."),
        ("kvm1,kvm2", "kvm1, kvm2 cannot be drained: of the 2 domains that 'web' keeps apart, only 1 could run"),
        ("kvm9", 'No host of the inventory matches drain_hosts, which is "kvm9".'),
        ("", "Say which hosts: -e drain_hosts=PATTERN"),
        ("localhost", "localhost is not one of the hosts of this run."),
    ],
)
def test_what_is_refused_is_refused_before_anything_is_touched(fleet: Fleet, hosts: str, sentence: str) -> None:
    assert sentence in fleet.run("drain", drain_hosts=hosts, fails=True)
    assert (fleet.log(), fleet.drained()) == ([], [])


@pytest.mark.parametrize("playbook", ["drain", "rebalance", "allocate"])
def test_a_part_of_the_fleet_is_no_fleet(fleet: Fleet, playbook: str) -> None:
    # A domain that runs on a host that nobody asks would look as if it ran nowhere.
    more = {"drain_hosts": "kvm1", "balance_domains": {"web-9": {"cpu_min": 1, "xml_path": "/srv/web-9.xml"}}}
    said = fleet.run(playbook, "--limit", "localhost,kvm1,kvm3", fails=True, **more)
    assert "--limit leaves out kvm2, and nobody would know what runs there." in said
    assert (fleet.log(), fleet.drained()) == ([], [])


def test_one_move_that_fails_does_not_keep_the_others_from_leaving(fleet: Fleet) -> None:
    one_by_one = {**APART, "max_moves_per_wave": 1}
    fleet.run("drain", "--check", drain_hosts="kvm1", balance_policy=one_by_one)
    first = fleet.saved("plan.json")["waves"][0]["moves"][0]["name"]
    (fleet.place / f"fail-{first}").touch()

    said = fleet.run("drain", drain_hosts="kvm1", balance_policy=one_by_one, fails=True)

    assert fleet.on("kvm1") == [first]
    assert f"{first} could not leave kvm1." in said
    assert fleet.saved("outcome.json")["count"] == {"moved": 2, "skipped": 0, "failed": 1, "not_started": 0}


def test_a_domain_that_could_not_leave_goes_elsewhere_in_the_next_run(fleet: Fleet) -> None:
    guests = fleet.guests()
    guests["app-3"]["more"] = TIED
    fleet.set(guests)
    (fleet.place / "fail-app-0").touch()
    fleet.run("drain", drain_hosts="kvm1", drain_restart=True, fails=True)
    # What does not need its room goes on, restarts too.
    assert fleet.on("kvm1") == ["app-0"]
    assert fleet.log()[-1].startswith("restarted app-3 kvm1")
    (failed,) = host_marks.read(root=str(fleet.place / "kvm1"))["refusals"]
    assert (failed["domain"], failed["times"]) == ("app-0", 1)
    first, (other,) = failed["destination"], {"kvm2", "kvm3"} - {failed["destination"]}
    fleet.run("drain", drain_hosts="kvm1", fails=True)
    known = host_marks.read(root=str(fleet.place / "kvm1"))["refusals"]
    assert [(one["destination"], one["times"]) for one in known] == [(other, 1), (first, 1)]
    (fleet.place / "fail-app-0").unlink()

    said = fleet.run("drain", drain_hosts="kvm1", fails=True)
    assert "what failed before is tried again after 12:30 UTC" in said
    assert f"app-0 is still on kvm1: {min(first, other)}: the move to {min(first, other)} failed at 12:00 UTC" in said
    would = fleet.run("drain", "--check", drain_hosts="kvm1", balance_forget=True)
    assert "app-0" in would
    assert host_marks.read(root=str(fleet.place / "kvm1"))["refusals"] == known
    fleet.run("drain", drain_hosts="kvm1", balance_forget=True)
    assert fleet.on("kvm1") == []
    assert host_marks.read(root=str(fleet.place / "kvm1"))["refusals"] == []


def test_a_host_that_does_not_answer_is_not_drained(fleet: Fleet) -> None:
    (fleet.place / "kvm3" / "down").touch()
    assert "kvm3 is unknown: no domain can be moved away from it." in fleet.run("drain", drain_hosts="kvm3", fails=True)
    assert fleet.log() == []


def test_what_cannot_leave_is_named_and_restarted_where_that_is_allowed(fleet: Fleet) -> None:
    guests = fleet.guests()
    guests["app-0"]["more"] = TIED
    fleet.set(guests)
    said = fleet.run("drain", drain_hosts="kvm1", drain_give_back=True, fails=True)
    assert "app-0 is still on kvm1: tied to the CPU of this host." in said
    assert (fleet.on("kvm1"), fleet.drained()) == (["app-0"], [])

    fleet.run("drain", drain_hosts="kvm1", fails=True)
    assert fleet.drained() == ["kvm1"]
    said = fleet.run("drain", drain_hosts="kvm1", drain_restart=True)
    assert "RESTART 1 domain elsewhere." in said
    assert fleet.on("kvm1") == []
    assert fleet.log()[-1].startswith("restarted app-0 kvm1")


def test_what_a_killed_restart_left_shut_off_is_started_by_the_next_run(fleet: Fleet) -> None:
    guests = fleet.guests()
    for name in ("app-0", "app-1"):
        guests[name].update(host=None, note={"source": "kvm1", "destination": "kvm2"})
    guests["app-1"]["note"] = {"source": "kvm9", "destination": "kvm2"}
    fleet.set(guests)
    said = fleet.run("rebalance", fails=True)
    sentence = "The restart of app-1 from kvm9 to kvm2 was interrupted. It cannot be finished before kvm9 answers"
    assert said.count(sentence) >= 2  # before anything is done, and in the end
    assert "finished app-0 kvm1 kvm2" in fleet.log()
    assert (fleet.guests()["app-0"]["host"], fleet.guests()["app-1"]["host"]) == ("kvm2", None)

    guests.pop("app-1")
    fleet.set(guests)
    (fleet.place / "fail-app-0").touch()
    said = fleet.run("drain", drain_hosts="kvm2", fails=True)
    assert "The restart of app-0 from kvm1 to kvm2 was interrupted, and is not finished yet." in said
    assert fleet.on("kvm2") == []  # the rest was done all the same
    (fleet.place / "fail-app-0").unlink()
    fleet.run("drain", drain_hosts="kvm2")
    assert "finished app-0 kvm1 kvm1" in fleet.log()
    assert fleet.on("kvm2") == []


def test_a_failure_gives_back_only_the_marks_that_it_made(fleet: Fleet) -> None:
    (fleet.place / "fail-web-1").touch()
    fleet.run("drain", drain_hosts="kvm1", fails=True)
    assert fleet.drained() == ["kvm1"]
    said = fleet.run("drain", drain_hosts="kvm1", drain_give_back=True, balance_forget=True, fails=True)
    assert "web-1 could not leave kvm1." in said
    assert fleet.drained() == ["kvm1"]


def test_a_run_that_acts_keeps_it_from_draining(fleet: Fleet) -> None:
    root = str(fleet.place / "kvm2")
    _lease.take("cron@control", purpose="rebalance", seconds=600, root=root)
    with pytest.raises(AssertionError, match="cron@control"):
        fleet.run("drain", drain_hosts="kvm1", fails=True)  # which sees that nobody is left who acts
    assert fleet.drained() == []


def test_planned_from_a_saved_snapshot(fleet: Fleet) -> None:
    saved = fleet.place / "snapshot.json"
    saved.write_text(json.dumps(two_hosts.snapshot()), encoding="utf-8")
    # The first host is busier than the second one may be, and its domains have the names of those that are kept apart.
    said = fleet.run("drain", balance_snapshot=str(saved), balance_policy={"cpu_limit": 2}, drain_hosts="kvm1")
    assert "kvm1 is drained and has 4 domains." in said
    assert fleet.log() == []
