# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A job as AWX runs it, on real hosts: progress while it runs, an end amid a migration, an approved plan."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import ROOT, Lab, wait_for
from ansible_collections.virtops.balance.tests.runner import Job

pytestmark = pytest.mark.long

PLAYBOOK = "playbooks/rebalance.yml"
PROGRESS = re.compile(r"\S+ kvm1 -> kvm[23]: +\d+ %")


@pytest.mark.usefixtures("loaded")
def test_a_job_that_is_cancelled_in_the_middle_of_a_migration(lab: Lab, tmp_path: Path) -> None:
    answers = {"balance_policy_changes": "max_moves: 2", "balance_lease_seconds": 15}
    # A lease lasts longer than the wave is to take, so waves are short.
    slow = {"cooldown_seconds": 0, "max_moves_out": 1, "migration": {"bandwidth_mib_s": 6}}
    boots = {guest: lab.status(guest)["boot_id"] for guest in lab.guests}
    first = Job(
        tmp_path / "1", ROOT, Lab.inventory, balance_policy=slow, balance_run_dir=str(tmp_path / "run-1"), **answers
    )

    running = first.start(PLAYBOOK)
    try:
        wait_for("progress in the events", lambda: any(map(PROGRESS.search, first.lines())), seconds=150)
        assert running.poll() is None, "progress comes when all is over"
        assert any("paused" in lab.virsh(host, "list") for host in ("kvm2", "kvm3")), "no migration is under way"
    finally:
        running.terminate()
        running.communicate(timeout=60)

    assert first.status() == "canceled"
    assert not (tmp_path / "run-1" / "outcome.json").exists()
    wait_for(
        "the end of the migrations that nobody follows any more",
        lambda: not any("paused" in lab.virsh(host, "list") for host in lab.hosts),
        seconds=120,
    )
    assert {guest: len(hosts) for guest, hosts in lab.placement().items()} == dict.fromkeys(lab.guests, 1)

    policy = {"cooldown_seconds": 0}
    second = Job(
        tmp_path / "2",
        ROOT,
        Lab.inventory,
        balance_policy=policy,
        balance_run_dir=str(tmp_path / "run-2"),
        balance_lease_wait_seconds=300,
    )
    second.run(PLAYBOOK)

    handed_on = second.artifacts()
    assert handed_on["balance_saved_plan"]["schema"] == handed_on["balance_saved_outcome"]["schema"] == 1
    assert handed_on["balance_saved_outcome"]["problem"] is None
    assert {guest: len(hosts) for guest, hosts in lab.placement().items()} == dict.fromkeys(lab.guests, 1)
    restarted = [guest for guest in lab.guests if lab.status(guest)["boot_id"] != boots[guest]]
    # What the kernels of these guests said last, on each host where they were.
    said = [
        lab.shell(host, f"tail -n 40 /var/log/libvirt/{guest}.console") for guest in restarted for host in lab.hosts
    ]
    assert not restarted, "\n".join(said)


@pytest.mark.usefixtures("loaded")
def test_the_plan_that_was_approved_is_what_is_carried_out(lab: Lab, tmp_path: Path) -> None:
    def job(number: int, **variables: object) -> Job:
        run_dir = str(tmp_path / f"run-{number}")
        policy = {"cooldown_seconds": 0}
        return Job(
            tmp_path / str(number), ROOT, Lab.inventory, balance_policy=policy, balance_run_dir=run_dir, **variables
        )

    planning = job(1, balance_policy_changes="max_moves: 1")
    planning.run(PLAYBOOK, "--check")
    before = planning.artifacts()
    (move,) = before["balance_saved_plan"]["waves"][0]["moves"]
    assert lab.placement()[move["name"]] == ["kvm1"]

    approved = {**before, "balance_approved_plan": "{{ balance_saved_plan }}"}
    job(2, **approved).run(PLAYBOOK)

    placement = lab.placement()
    assert placement.pop(move["name"]) == [move["destination"]]
    assert set(map(tuple, placement.values())) == {("kvm1",)}
    # A second time, it does not fit any more.
    printed = job(3, **approved).run(PLAYBOOK, fails=True)
    assert f"{move['name']} is on {move['destination']}, not on kvm1" in " ".join(printed.split())
