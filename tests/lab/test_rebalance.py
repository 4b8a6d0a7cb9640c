# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The main job, end to end, on real hosts with real guests."""

from __future__ import annotations

import os
import re
import signal

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import Lab, wait_for
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import moves

# The tests follow each other faster than a cooldown that makes sense in production.
POLICY = {"cooldown_seconds": 0}


def changed(output: str) -> int:
    """The sum of ``changed`` over all hosts of the recap."""
    return sum(int(number) for number in re.findall(r" changed=(\d+)", output))


def assert_every_guest_on_one_host(lab: Lab) -> None:
    assert {guest: len(hosts) for guest, hosts in lab.placement().items()} == dict.fromkeys(lab.guests, 1)


def assert_level(lab: Lab) -> None:
    """The spread of CPU use is below the policy's threshold.

    The figures are five seconds of real load on a machine that may be doing something else as well, so a bad moment
    is looked at again, without moving anything.
    """

    def spread_is_small() -> bool:
        lab.playbook("rebalance", "--check", balance_policy=POLICY, balance_interval=None)
        plan = lab.saved("plan.json")
        return bool(plan["spread"]["before"]["cpu"] < plan["policy"]["threshold"])

    wait_for("a spread of CPU use below the threshold", spread_is_small, seconds=150)


@pytest.mark.usefixtures("loaded")
def test_check_mode_moves_nothing_and_its_snapshot_can_be_planned_again_with_no_host(lab: Lab) -> None:
    before = lab.placement()

    output = lab.playbook("rebalance", "--check", "--diff", balance_policy=POLICY)

    plan = lab.saved("plan.json")
    assert plan["verdict"] == "move"
    assert lab.placement() == before
    move = plan["waves"][0]["moves"][0]
    assert re.search(rf"^\s*-.*{move['name']}.*\n?", output, re.MULTILINE), "the diff shows what leaves kvm1"

    saved = lab.run_dir / "saved.json"
    (lab.run_dir / "snapshot.json").rename(saved)
    lab.playbook("rebalance", balance_policy=POLICY, balance_snapshot=str(saved), ansible_host="192.0.2.1")
    offline = lab.saved("plan.json")
    for mine, asked in zip(moves(offline), moves(plan), strict=True):
        # The one difference: nobody could be asked.
        assert (asked.pop("agreed"), mine.pop("agreed"), mine["not_known"]) == (True, None, [])
        del asked["not_known"], mine["not_known"]
    assert offline == plan
    assert lab.placement() == before


def test_bad_input_is_one_sentence_and_no_action(lab: Lab) -> None:
    # All that can be typed wrong is in tests/build/test_wrong_input.py, where no host is asked.
    before = lab.placement()

    output = lab.playbook("rebalance", fails=True, balance_policy={"treshold": 0.2})

    assert "threshold" in output
    assert "The filter plugin" not in output, "Ansible's own lines hide the sentence"
    assert "Traceback" not in output
    assert lab.placement() == before


def test_a_domain_on_two_hosts_stops_everything(lab: Lab) -> None:
    # The same guest a second time: its disk would be locked, so the twin has none.
    twin = re.sub(r"<disk.*?</disk>", "", lab.virsh("kvm1", "dumpxml", "--inactive", "web-1"), flags=re.DOTALL)
    path = lab.run_dir / "twin.xml"
    path.write_text(twin)
    lab.virsh("kvm2", "create", "--paused", str(path))
    try:
        output = lab.playbook("rebalance", fails=True, balance_policy=POLICY)
        assert "web-1" in output
        assert "kvm1" in output
        assert "kvm2" in output
        assert len(lab.active("kvm1")) == len(lab.guests)
    finally:
        lab.virsh("kvm2", "destroy", "web-1")


def test_what_an_interrupted_move_left_is_put_right(lab: Lab) -> None:
    # As if the host had failed in the middle of a move that had lifted the cap of 80 %.
    note = '<state><move source="kvm2" destination="kvm1" started_at="2026-01-01T00:00:00Z" cap="80"/></state>'
    lab.virsh(
        "kvm1", "metadata", "web-1", "urn:virtops:balance:1", "--live", "--config", "--key", "balance", "--set", note
    )
    try:
        lab.playbook("rebalance", balance_policy={"include": "domains[?name == 'nothing']"})

        assert "global_quota   : 80000" in lab.virsh("kvm1", "schedinfo", "web-1")
        metadata = lab.virsh("kvm1", "metadata", "web-1", "urn:virtops:balance:1")
        assert "<move" not in metadata
        assert "last_moved_at" in metadata
    finally:
        lab.virsh("kvm1", "schedinfo", "web-1", "--live", "--config", "global_quota=-1")


@pytest.mark.usefixtures("loaded")
def test_an_overloaded_host_is_relieved(lab: Lab) -> None:
    before = {guest: lab.status(guest) for guest in lab.guests}

    # At this pace each move takes long enough to be seen under way.
    policy = {**POLICY, "overrides": [{"domains": "domains", "migration": {"bandwidth_mib_s": 15}}]}
    output = lab.playbook("rebalance", balance_policy=policy, balance_interval=None)

    plan, outcome = lab.saved("plan.json"), lab.saved("outcome.json")
    assert plan["spread"]["before"]["cpu"] > plan["policy"]["threshold"]
    assert outcome["spread"]["cpu"] < plan["spread"]["before"]["cpu"]
    assert_every_guest_on_one_host(lab)
    for guest, was in before.items():
        now = lab.status(guest)
        assert now["boot_id"] == was["boot_id"], f"{guest} was restarted"
        assert now["uptime_seconds"] > was["uptime_seconds"]
    moved = [move["name"] for wave in plan["waves"] for move in wave["moves"]]
    assert sorted(guest for guest, (host,) in lab.placement().items() if host != "kvm1") == sorted(moved)
    # Progress is seen while domains move, and the table tells why.
    assert re.search(r"\S+ kvm1 -> kvm[23]: +\d+ %", output)
    assert all(name in output for name in moved)

    assert_level(lab)
    again = lab.playbook("rebalance", balance_policy=POLICY, balance_interval=None)

    assert lab.saved("plan.json")["waves"] == []
    assert changed(again) == 0


@pytest.mark.usefixtures("loaded")
def test_of_two_runs_at_the_same_moment_one_acts(lab: Lab) -> None:
    runs = {
        name: lab.start_playbook("rebalance", balance_policy=POLICY, balance_run_dir=str(lab.run_dir / name))
        for name in ("one", "other")
    }
    outputs = {name: run.communicate(timeout=300)[0] for name, run in runs.items()}

    acted = [name for name, run in runs.items() if run.returncode == 0]
    assert len(acted) == 1, outputs
    (refused,) = runs.keys() - acted
    assert re.search(r"kvm1: The host is leased to \S+ \d+ \(rebalance\) since", outputs[refused])
    assert lab.saved(f"{refused}/refused.json")["reason"] == "lease"
    assert not (lab.run_dir / refused / "plan.json").exists()
    assert (lab.run_dir / acted[0] / "outcome.json").exists()
    assert_every_guest_on_one_host(lab)
    for host in lab.hosts:
        assert "lease.json" not in os.listdir(f"/var/lib/virtops-lab/hosts/{host}/var-lib-virtops.balance")


@pytest.mark.usefixtures("loaded")
def test_a_host_that_does_not_answer_is_left_out(lab: Lab) -> None:
    lab.fault_by_role("kvm3", "partition")
    try:
        lab.playbook("rebalance", balance_policy=POLICY, ansible_timeout=5)
        assert lab.saved("snapshot.json")["hosts"]["kvm3"]["state"] == "unknown"
        destinations = {move["destination"] for wave in lab.saved("plan.json")["waves"] for move in wave["moves"]}
        assert destinations == {"kvm2"}
    finally:
        lab.fault_by_role("kvm3", "heal")
    assert_every_guest_on_one_host(lab)


@pytest.mark.fault
@pytest.mark.usefixtures("loaded")
def test_a_destination_that_dies_before_its_wave(lab: Lab) -> None:
    # The plan is made while kvm3 is there; a task between plan and act ends it, as bad luck would.
    output = lab.playbook("tests/lab/rebalance_with_a_death.yml", fails=True, balance_policy=POLICY)
    try:
        assert re.search(r"\S+ (stays|was not moved|is still).*kvm1", output), output
        assert "kvm3" in output
    finally:
        lab.playbook("lab_up")
    assert_every_guest_on_one_host(lab)

    lab.playbook("rebalance", balance_policy=POLICY)

    assert_every_guest_on_one_host(lab)
    assert lab.saved("outcome.json")["problem"] is None


@pytest.mark.usefixtures("loaded")
def test_a_killed_run_is_finished_by_the_next(lab: Lab) -> None:
    # A lease lasts longer than the wave is to take, so waves are short.
    slow = {**POLICY, "max_moves_out": 1, "migration": {"bandwidth_mib_s": 10}}
    run = lab.start_playbook("rebalance", balance_policy=slow, balance_lease_seconds=15)
    try:
        wait_for(
            "a migration under way",
            lambda: any("paused" in lab.virsh(host, "list") for host in ("kvm2", "kvm3")),
            seconds=120,
            pause=0.2,
        )
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()

    refused = lab.playbook("rebalance", fails=True, balance_policy=POLICY)
    assert "leased to" in refused
    output = lab.playbook("rebalance", balance_policy=POLICY, balance_lease_wait_seconds=300)

    assert "is taken over" in output
    assert_every_guest_on_one_host(lab)
    assert lab.saved("outcome.json")["problem"] is None
    for guest, (host,) in lab.placement().items():
        metadata = lab.virsh(host, "metadata", guest, "urn:virtops:balance:1", check=False)
        assert "<balance:move" not in metadata, f"{guest}: nobody saw the end of its move"
