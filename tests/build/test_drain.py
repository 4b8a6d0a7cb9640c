# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""drain.yml, undrain.yml and maintain.yml as they are, over a fleet that stands in for hosts (fleet_stand_in.py)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _lease, _marks
from ansible_collections.virtops.balance.tests.build import fleet_stand_in, two_hosts

ROOT = Path(__file__).resolve().parents[2]
HOSTS = ("kvm1", "kvm2", "kvm3")
TIED = {"blockers": [{"code": "host_cpu", "message": "tied to the CPU of this host"}]}
APART = {"anti_affinity": [{"name": name, "domains": {"names": [f"{name}-1", f"{name}-2"]}} for name in ("web", "db")]}
TASKS = """
- name: Be empty while that is done
  ansible.builtin.shell: |
    host={{ inventory_hostname }}
    grep -q '"host": "'$host'"' "$FLEET/fleet.json" && echo "not empty $host" >>"$FLEET/log"
    echo "maintained $host" >>"$FLEET/log"
    ! test -e "$FLEET/break-$host"
"""


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection, but its modules that touch hosts touch the stand-in."""
    place = tmp_path_factory.mktemp("collections")
    copy = place / "ansible_collections" / "virtops" / "balance"
    copy.mkdir(parents=True)
    for part in ("meta", "playbooks", "plugins", "roles", "tests", "galaxy.yml"):
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, copy / part)
    for name in fleet_stand_in.NAMES:
        shutil.copy(fleet_stand_in.__file__, copy / "plugins" / "action" / f"{name}.py")
    return place


class Fleet:
    """Three hosts with nine domains: two pairs that are kept apart, and five others."""

    def __init__(self, place: Path, collections: Path) -> None:
        self.place, self.collections = place, collections
        for host in HOSTS:
            (place / host).mkdir()
        (place / "log").touch()
        (place / "hosts").write_text("[hypervisors]\n" + "\n".join(HOSTS) + "\n", encoding="utf-8")
        (place / "tasks.yml").write_text(TASKS, encoding="utf-8")
        names = {"web-1": "kvm1", "web-2": "kvm2", "db-1": "kvm2", "db-2": "kvm3"}
        names.update({f"app-{number}": HOSTS[number % 3] for number in range(5)})
        self.set({name: {"host": host, "more": {}} for name, host in names.items()})

    def set(self, guests: dict[str, t.Any]) -> None:
        (self.place / "fleet.json").write_text(json.dumps(guests), encoding="utf-8")

    def guests(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads((self.place / "fleet.json").read_text(encoding="utf-8")))

    def on(self, host: str) -> list[str]:
        return sorted(name for name, guest in self.guests().items() if guest["host"] == host)

    def log(self) -> list[str]:
        return (self.place / "log").read_text(encoding="utf-8").splitlines()

    def drained(self) -> list[str]:
        return [host for host in HOSTS if _marks.read(root=str(self.place / host))["drained"]]

    def leased(self) -> list[str]:
        return [host for host in HOSTS if _lease.read(root=str(self.place / host))]

    def saved(self, name: str) -> t.Any:
        return json.loads((self.place / "run" / name).read_text(encoding="utf-8"))

    def run(self, playbook: str, *arguments: str, fails: bool = False, **variables: t.Any) -> str:
        """Run a playbook and return its output, on one line."""
        given = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "balance_run_dir": str(self.place / "run"),
            "balance_policy": APART,
            **variables,
        }
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                *("-i", str(self.place / "hosts"), f"virtops.balance.{playbook}", "-e", json.dumps(given), *arguments),
            ],
            cwd=self.place,
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
                "ANSIBLE_NOCOLOR": "1",
                "FLEET": str(self.place),
                "LC_ALL": "C.UTF-8",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout
        assert self.leased() == [], done.stdout
        return " ".join(done.stdout.split())


@pytest.fixture
def fleet(tmp_path: Path, collections: Path) -> Fleet:
    return Fleet(tmp_path, collections)


def test_a_drained_host_is_emptied_and_stays_empty(fleet: Fleet) -> None:
    would = fleet.run("drain", "--check", "--diff", drain_hosts="kvm1")
    assert "kvm1 is drained and has 3 domains." in would
    assert (fleet.log(), fleet.drained()) == ([], [])

    fleet.run("drain", drain_hosts="kvm1", drain_for="a new disk")
    assert fleet.on("kvm1") == []
    assert fleet.log()[0] == "drained kvm1"
    assert [line.split()[0] for line in fleet.log()[1:]] == ["moved"] * 3
    assert _marks.read(root=str(fleet.place / "kvm1"))["drained"]["purpose"] == "a new disk"
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
        ("kvm*", "With kvm1, kvm2, kvm3 drained no host would be left that can take domains."),
        ("kvm1,kvm2", "kvm1, kvm2 cannot be drained: of the 2 domains that 'web' keeps apart only 1 could run"),
        ("kvm9", 'No host of the inventory matches drain_hosts, which is "kvm9".'),
        ("", "Say which hosts: -e drain_hosts=PATTERN"),
        ("localhost", "localhost is not one of the hosts of this run."),
    ],
)
def test_what_is_refused_is_refused_before_anything_is_touched(fleet: Fleet, hosts: str, sentence: str) -> None:
    assert sentence in fleet.run("drain", drain_hosts=hosts, fails=True)
    assert (fleet.log(), fleet.drained()) == ([], [])


def test_a_host_that_does_not_answer_is_not_drained(fleet: Fleet) -> None:
    (fleet.place / "kvm3" / "down").touch()
    assert "kvm3 is unknown, so nothing can be moved away from it." in fleet.run(
        "drain", drain_hosts="kvm3", fails=True
    )
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
    sentence = "The restart of app-1 from kvm9 to kvm2 was interrupted, and nothing is done about it before kvm9 can be"
    assert said.count(sentence) >= 2  # before anything is done, and in the end
    assert "finished app-0 kvm1 kvm2" in fleet.log()
    assert (fleet.guests()["app-0"]["host"], fleet.guests()["app-1"]["host"]) == ("kvm2", None)

    guests.pop("app-1")
    fleet.set(guests)
    (fleet.place / "fail-app-0").touch()
    said = fleet.run("drain", drain_hosts="kvm2", fails=True)
    assert "The restart of app-0 from kvm1 to kvm2 was interrupted, and is not at its end yet." in said
    assert fleet.on("kvm2") == []  # the rest was done all the same
    (fleet.place / "fail-app-0").unlink()
    fleet.run("drain", drain_hosts="kvm2")
    assert "finished app-0 kvm1 kvm1" in fleet.log()
    assert fleet.on("kvm2") == []


def test_a_failure_gives_back_only_the_marks_that_it_made(fleet: Fleet) -> None:
    (fleet.place / "fail-web-1").touch()
    fleet.run("drain", drain_hosts="kvm1", fails=True)
    assert fleet.drained() == ["kvm1"]
    said = fleet.run("drain", drain_hosts="kvm1", drain_give_back=True, fails=True)
    assert "web-1 could not leave kvm1." in said
    assert fleet.drained() == ["kvm1"]


def test_a_run_that_acts_keeps_it_from_draining(fleet: Fleet) -> None:
    root = str(fleet.place / "kvm2")
    _lease.take("cron@control", purpose="rebalance", seconds=600, root=root)
    with pytest.raises(AssertionError, match="cron@control"):
        fleet.run("drain", drain_hosts="kvm1", fails=True)  # which sees that nobody is left who acts
    assert fleet.drained() == []


def test_maintenance_goes_from_round_to_round(fleet: Fleet) -> None:
    shown = fleet.run("maintain", "--check", maintenance_hosts="all")
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
        "maintenance_name": "patches",
    }
    said = fleet.run("maintain", fails=True, **given)
    assert "The maintenance of kvm2 failed." in said
    assert "-e maintenance_name=patches" in said
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


@pytest.mark.parametrize("playbook", ["drain", "maintain"])
def test_planned_from_a_saved_snapshot(fleet: Fleet, playbook: str) -> None:
    saved = fleet.place / "snapshot.json"
    saved.write_text(json.dumps(two_hosts.snapshot()), encoding="utf-8")
    hosts: dict[str, t.Any] = {"drain_hosts": "kvm1", "maintenance_hosts": "kvm1, kvm2"}
    # The first host is busier than the second one may be, and its domains have the names of those that are kept apart.
    said = fleet.run(playbook, balance_snapshot=str(saved), balance_policy={"cpu_limit": 2}, **hosts)
    assert ("kvm1 is drained and has 4 domains." if playbook == "drain" else "2 rounds") in said
    assert fleet.log() == []
