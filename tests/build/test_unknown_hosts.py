# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The playbooks as they are, over the fleet of conftest.py, with hosts that are silent, full or forgetful."""

from __future__ import annotations

import json
import shutil
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._host import lease as _lease
from ansible_collections.virtops.balance.plugins.module_utils._host import marks as host_marks
from ansible_collections.virtops.balance.tests.build.conftest import APART, HOSTS, Fleet

LEVEL = {**APART, "threshold": 0.01, "minimum_gain": 0, "move_cost": 0}
NO_SPACE = "cannot be used: No space left on device."
FIGURES = {"app-0": {"cpu_min": 0.5}}


def mark(fleet: Fleet, host: str, name: str = "down") -> None:
    (fleet.place / host / name).touch()


def crowd(fleet: Fleet, host: str) -> None:
    """Have all domains that need not be apart on one host."""
    guests = fleet.guests()
    for name, guest in guests.items():
        if name.startswith("app-"):
            guest["host"] = host
    fleet.set(guests)


def damage(fleet: Fleet, host: str) -> str:
    """Cut the marks of a host short; what is left of them."""
    path = fleet.place / host / host_marks.PATH
    host_marks.write(
        {"drained": {"since": "2026-01-31T12:00:00Z", "purpose": "a new disk"}}, root=str(fleet.place / host)
    )
    path.write_text(path.read_text()[:-9])
    return path.read_text()


# --- Too few hosts answer -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("playbook", "arguments", "more"),
    [
        ("rebalance", [], {}),
        ("rebalance", ["--check"], {}),
        ("consolidate", [], {}),
        ("allocate", [], {"balance_domains": FIGURES}),
        ("drain", [], {"drain_hosts": "kvm1"}),
        ("maintain", ["--check"], {"maintenance_hosts": "kvm1"}),
    ],
)
def test_that_no_host_answers_is_no_success(
    fleet: Fleet, playbook: str, arguments: list[str], more: dict[str, t.Any]
) -> None:
    for host in HOSTS:
        mark(fleet, host)
    said = fleet.run(playbook, *arguments, fails=True, **more)
    assert "None of 3 hosts can be used.\\n kvm1: kvm1 is down\\n kvm2: kvm2 is down\\n kvm3: kvm3 is down" in said
    assert "NOTHING HAD TO MOVE" not in said
    refused = fleet.saved("refused.json")
    assert refused["reason"] == "no_answer"
    assert refused["problem"] == (
        "Unknown: kvm1 (kvm1 is down), kvm2 (kvm2 is down), kvm3 (kvm3 is down). None of 3 hosts can be used."
    )
    assert refused["unknown_hosts"]["others"] == list(HOSTS)
    assert fleet.log() == []


def test_who_stopped_answering_is_named_first_and_only_once_as_news(fleet: Fleet) -> None:
    mark(fleet, "kvm1")
    run_dirs = [str(fleet.place / "runs" / f"{number}") for number in range(4)]
    said = fleet.run("rebalance", balance_run_dir=run_dirs[0])
    # Of what was before the first run nobody knows anything.
    assert "Unknown: kvm1 (kvm1 is down)." in said
    mark(fleet, "kvm2")
    said = fleet.run("rebalance", balance_run_dir=run_dirs[1], fails=True)
    told = "Only 1 of 3 hosts can be used.\\n kvm2, lost since the last run: kvm2 is down\\n kvm1: kvm1 is down"
    assert told in said
    said = fleet.run("rebalance", "--check", balance_run_dir=run_dirs[2], fails=True)
    assert "Only 1 of 3 hosts can be used.\\n kvm1: kvm1 is down\\n kvm2: kvm2 is down" in said
    for host in ("kvm1", "kvm2"):
        (fleet.place / host / "down").unlink()
    mark(fleet, "kvm3")
    # The runs that were refused count too.
    said = fleet.run("rebalance", balance_run_dir=run_dirs[3])
    assert "Unknown: kvm3 (kvm3 is down)." not in said
    outcome = json.loads((fleet.place / "runs" / "3" / "outcome.json").read_text(encoding="utf-8"))
    assert outcome["unknown_hosts"]["lost"] == ["kvm3"]
    assert said.index("Lost since the last run: kvm3 (kvm3 is down).") < said.index("NOTHING HAD TO MOVE.")


def test_a_host_that_sleeps_is_not_silent(fleet: Fleet) -> None:
    sleeper = {"since": "2026-01-31T11:00:00Z", "threads": 8, "memory_total_mib": 32768}
    host_marks.write({"asleep": {"kvm2": sleeper, "kvm3": sleeper}}, root=str(fleet.place / "kvm1"))
    guests = fleet.guests()
    fleet.set({name: guest for name, guest in guests.items() if guest["host"] == "kvm1"})
    for host in ("kvm2", "kvm3"):
        mark(fleet, host)
    said = fleet.run("consolidate")
    assert "can be used" not in said
    assert "Lost since" not in said
    assert fleet.saved("outcome.json")["unknown_hosts"]["told"] is None


@pytest.mark.parametrize("down", [False, True])
def test_a_password_that_cannot_be_looked_up_harms_no_other_host(fleet: Fleet, down: bool) -> None:
    control = "balance_power_control=\"{{ lookup('ansible.builtin.file', '/no/such/password') }}\""
    (fleet.place / "hosts").write_text(f"[hypervisors]\nkvm1\nkvm2\nkvm3 {control}\n", encoding="utf-8")
    if down:
        mark(fleet, "kvm3")
    crowd(fleet, "kvm2")
    said = fleet.run("rebalance", balance_policy=LEVEL)
    assert "DONE: " in said
    assert fleet.saved("snapshot.json")["hosts"]["kvm3"]["state"] == ("unknown" if down else "active")


@pytest.mark.parametrize(("hosts", "more"), [(["kvm1"], {}), (HOSTS, {"balance_hosts": "kvm1"})])
def test_one_host_alone_says_what_it_lacks(fleet: Fleet, hosts: t.Sequence[str], more: dict[str, t.Any]) -> None:
    (fleet.place / "hosts").write_text("\n".join(["[hypervisors]", *hosts, ""]), encoding="utf-8")
    said = fleet.run("rebalance", fails=True, **more)
    assert "The snapshot has only the host 'kvm1': balancing needs at least two." in said
    assert "The filter plugin" not in said, "Ansible's own lines hide the sentence"
    assert "Traceback" not in said
    assert fleet.saved("refused.json")["reason"] == "plan"


# --- A host whose lease cannot be written ---------------------------------------------------------------------------


def test_a_host_with_a_full_disk_is_left_alone_and_the_rest_goes_on(fleet: Fleet) -> None:
    crowd(fleet, "kvm2")
    mark(fleet, "kvm1", "full")
    before = fleet.on("kvm1")
    said = fleet.run("rebalance", balance_policy=LEVEL)
    assert said.count("kvm1 is unknown") == 1
    assert NO_SPACE in said
    assert said.rindex("Unknown: kvm1 (It answers, but it cannot be leased.") < said.index("DONE: ")
    moved = [line.split() for line in fleet.log() if line.startswith("moved")]
    assert {(source, destination) for _moved, _name, source, destination in moved} == {("kvm2", "kvm3")}
    assert fleet.on("kvm1") == before
    outcome = fleet.saved("outcome.json")
    assert (outcome["problem"], outcome["hosts"]["kvm1"]["state"]) == (None, "unknown")


def test_a_full_disk_does_not_hide_that_another_run_acts(fleet: Fleet) -> None:
    mark(fleet, "kvm1", "full")
    _lease.take("cron@control", purpose="rebalance", seconds=600, root=str(fleet.place / "kvm2"))
    with pytest.raises(AssertionError, match="leased to cron@control"):
        fleet.run("rebalance", fails=True)  # which sees that nobody is left who acts
    assert fleet.saved("refused.json")["reason"] == "lease"
    assert not (fleet.place / "run" / "plan.json").exists()


def test_with_too_many_full_disks_nothing_can_be_done(fleet: Fleet) -> None:
    for host in ("kvm1", "kvm3"):
        mark(fleet, host, "full")
    said = fleet.run("rebalance", fails=True)
    assert "Only 1 of 3 hosts can be used." in said
    assert fleet.saved("refused.json")["reason"] == "no_answer"


@pytest.mark.parametrize("playbook", ["drain", "undrain"])
def test_a_host_with_a_full_disk_is_not_drained_and_not_undrained(fleet: Fleet, playbook: str) -> None:
    mark(fleet, "kvm1", "full")
    said = fleet.run(playbook, fails=True, **{f"{playbook}_hosts": "kvm1"})
    assert NO_SPACE in said
    assert (fleet.log(), fleet.drained()) == ([], [])


@pytest.mark.parametrize("full", ["kvm1", "kvm2"])
def test_a_disk_that_fills_up_in_a_run_ends_what_its_host_has_a_part_in(fleet: Fleet, full: str) -> None:
    crowd(fleet, "kvm1")
    policy = {**LEVEL, "max_moves_out": 1, "max_moves_in": 1}
    fleet.run("rebalance", "--check", balance_policy=policy)
    waves = fleet.saved("plan.json")["waves"]
    assert len(waves) > 1
    shutil.rmtree(fleet.place / "run")
    first = waves[0]["moves"][0]["domain"]
    (fleet.place / f"fills-{first}").write_text(full, encoding="utf-8")
    part = {move[end] for wave in waves for move in wave["moves"] for end in ("source", "destination")}

    # Leases are renewed before every wave.
    said = fleet.run("rebalance", fails=full in part, balance_policy=policy, balance_lease_seconds=3)

    outcome = fleet.saved("outcome.json")
    assert outcome["hosts"][full]["state"] == "unknown"
    assert outcome["unknown_hosts"]["lost"] == [full]
    assert NO_SPACE in said
    assert outcome["doubts"] == []
    done = [line.split()[1] for line in fleet.log() if line.startswith("moved")]
    planned = [move["domain"] for wave in waves for move in wave["moves"]]
    assert done == (planned[: len(waves[0]["moves"])] if full in part else planned)
    assert len(fleet.guests()) == 9


# --- A host that forgot whether it is drained -----------------------------------------------------------------------


def test_nothing_goes_to_a_host_that_may_be_drained(fleet: Fleet) -> None:
    crowd(fleet, "kvm2")
    left = damage(fleet, "kvm3")
    said = fleet.run("rebalance", balance_policy={**LEVEL, "hold": 1})
    assert (
        "No domain is moved to kvm3, or away from it to level the fleet. It is not known whether this host is drained:"
        in said
    )
    assert {line.split()[3] for line in fleet.log() if line.startswith("moved")} == {"kvm1"}
    fleet.run("rebalance", balance_policy={**LEVEL, "hold": 3})
    assert (fleet.place / "kvm3" / host_marks.PATH).read_text() == left


@pytest.mark.parametrize(
    ("playbook", "more"),
    [
        ("drain", {"drain_hosts": "kvm3"}),
        ("undrain", {"undrain_hosts": "kvm3"}),
        ("maintain", {"maintenance_hosts": "kvm3", "maintenance_tasks": "tasks.yml"}),
    ],
)
def test_a_host_that_may_be_drained_is_not_marked_anew(fleet: Fleet, playbook: str, more: dict[str, t.Any]) -> None:
    left = damage(fleet, "kvm3")
    said = fleet.run(playbook, fails=True, **more)
    assert "It is not known whether this host is drained:" in said
    assert "marks.json is not valid JSON. Repair the file, or remove it and then drain the host again" in said
    assert (fleet.place / "kvm3" / host_marks.PATH).read_text() == left
    assert fleet.log() == []

    (fleet.place / "kvm3" / host_marks.PATH).unlink()
    fleet.run(playbook, **more)
