# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""maintain.yml as it is, over the fleet of conftest.py."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.virtops.balance.tests.build import two_hosts
from ansible_collections.virtops.balance.tests.build.conftest import HOSTS, TIED, Fleet


def test_maintenance_goes_from_round_to_round(fleet: Fleet) -> None:
    # What is typed after -e is text.
    shown = fleet.run("maintain", "--check", maintenance_hosts="all", maintenance_most="1")
    assert "3 rounds" in shown
    assert fleet.log() == []

    fleet.run("maintain", maintenance_hosts="all", maintenance_tasks="tasks.yml", maintenance_name="patches")
    log = fleet.log()
    assert not [line for line in log if line.startswith("not empty")]
    maintained = [line.split()[1] for line in log if line.startswith("maintained")]
    assert sorted(maintained) == list(HOSTS)
    # What a round did is over before the next one begins.
    marks = [line for line in log if line.split()[0] in ("drained", "maintained", "open")]
    assert marks == [f"{word} {host}" for host in maintained for word in ("drained", "maintained", "open")]
    assert fleet.drained() == []
    assert len(fleet.saved("rounds.json")["rounds"]) == 3
    assert fleet.saved("round-2-outcome.json")["problem"] is None

    # Once more under the same name: it has been done.
    fleet.run("maintain", maintenance_hosts="all", maintenance_tasks="tasks.yml", maintenance_name="patches")
    assert fleet.log() == log


def test_maintenance_stops_at_the_first_failure_and_goes_on_from_there(fleet: Fleet) -> None:
    order = [host for host in HOSTS if host != "kvm2"]
    (fleet.place / "break-kvm2").touch()
    given: dict[str, t.Any] = {
        "maintenance_hosts": "all",
        "maintenance_tasks": "tasks.yml",
        "maintenance_name": "the patches",
    }
    said = fleet.run("maintain", fails=True, **given)
    assert "The maintenance of kvm2 failed." in said
    assert """-e '{"maintenance_name": "the patches"}'""" in said
    done = [line.split()[1] for line in fleet.log() if line.startswith("open")]
    assert fleet.drained() == ["kvm2"]
    assert len([line for line in fleet.log() if line.startswith("maintained")]) == len(done) + 1

    (fleet.place / "break-kvm2").unlink()
    fleet.run("maintain", **given)
    maintained = [line.split()[1] for line in fleet.log() if line.startswith("open")]
    assert sorted(maintained) == sorted([*order, "kvm2"])
    assert fleet.drained() == []
    assert not [line for line in fleet.log() if line.startswith("not empty")]


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "Say which hosts: -e maintenance_hosts=PATTERN"),
        ({"maintenance_hosts": "all"}, "maintenance_tasks must name the file"),
        ({"maintenance_hosts": "all", "maintenance_tasks": "nowhere.yml"}, "nowhere.yml is no file."),
    ],
)
def test_maintenance_of_nothing_is_refused(fleet: Fleet, variables: dict[str, t.Any], sentence: str) -> None:
    assert sentence in fleet.run("maintain", fails=True, **variables)
    assert fleet.log() == []


def test_a_host_that_cannot_be_emptied_keeps_the_maintenance_from_beginning(fleet: Fleet) -> None:
    guests = fleet.guests()
    guests["app-0"]["more"] = TIED
    fleet.set(guests)
    given: dict[str, t.Any] = {"maintenance_hosts": "all", "maintenance_tasks": "tasks.yml"}
    said = fleet.run("maintain", fails=True, **given)
    assert "kvm1 cannot be emptied: app-0 has to stay (tied to the CPU of this host)." in said
    assert fleet.log() == []
    fleet.run("maintain", **given, maintenance_restart=True)
    assert [line.split()[1] for line in fleet.log() if line.startswith("restarted")] == ["app-0"]


def test_planned_from_a_saved_snapshot(fleet: Fleet) -> None:
    saved = fleet.place / "snapshot.json"
    saved.write_text(json.dumps(two_hosts.snapshot()), encoding="utf-8")
    # The first host is busier than the second one may be, and its domains have the names of those that are kept apart.
    said = fleet.run(
        "maintain", balance_snapshot=str(saved), balance_policy={"cpu_limit": 2}, maintenance_hosts="kvm1, kvm2"
    )
    assert "2 rounds" in said
    assert fleet.log() == []
