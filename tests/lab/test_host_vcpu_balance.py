# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What one round of spreading vCPUs is worth to real guests that are busy."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import AGENT_INTERVAL, Lab, wait_for

HOST = "kvm1"
PAIR = ("web-1", "web-2")


@pytest.fixture
def crowded(two_cpus: Lab, lab: Lab) -> t.Iterator[Lab]:
    """Two guests want a CPU each and share the first one; all others rest."""
    lab.loads(dict.fromkeys(PAIR, 100))
    for guest in PAIR:
        lab.virsh(HOST, "vcpupin", guest, "0", "0", "--live")
    try:
        yield two_cpus
    finally:
        for guest in PAIR:
            lab.load(guest, percent=0)
            # A test that failed may have moved it.
            lab.virsh(HOST, "vcpupin", guest, "0", "r", "--live", check=False)


def pins(lab: Lab) -> list[str]:
    """Where the first vCPU of each of the two may run, as libvirt writes it."""
    return [lab.virsh(HOST, "vcpupin", guest, "0", "--live").split()[-1] for guest in PAIR]


def test_one_round_separates_two_busy_guests(crowded: Lab) -> None:
    would = crowded.module(HOST, "host_vcpu_balance", check=True, interval=3)
    assert (would["changed"], pins(crowded)) == (True, ["0", "0"])
    before = sum(crowded.cores(HOST, *PAIR))

    did = crowded.module(HOST, "host_vcpu_balance", interval=3)

    assert [(repin["from"], repin["to"]) for repin in did["repinned"]] == [("0", "1")], did
    assert sorted(pins(crowded)) == ["0", "1"]
    # What else this machine does can only take from it.
    wait_for("half as much CPU again", lambda: sum(crowded.cores(HOST, *PAIR)) >= 1.5 * before, seconds=120)
    # Now the host is even, and what was done can be taken back.
    assert not crowded.module(HOST, "host_vcpu_balance", interval=3)["changed"]
    released = crowded.module(HOST, "domain_vcpu_pin", state="released")
    assert released["changed"]
    assert pins(crowded) == ["0", "0"]
    assert not crowded.module(HOST, "domain_vcpu_pin", state="released")["changed"]


def test_rebalance_spreads_vcpus_before_it_migrates(crowded: Lab) -> None:
    # The other hosts are empty, but this one has all that its guests want, only not where they are pinned.
    # Neither so much that a short look could take the host for full.
    crowded.loads(dict.fromkeys(PAIR, 70))

    crowded.playbook("rebalance", balance_policy={"cooldown_seconds": 0}, balance_interval=None)

    plan = crowded.saved("plan.json")
    assert [(action["host"], action["action"]) for action in plan["inside"]] == [(HOST, "vcpu")]
    assert plan["waves"] == []
    assert sorted(pins(crowded)) == ["0", "1"]
    assert set(crowded.active(HOST)) == set(crowded.guests)


@pytest.mark.usefixtures("two_cpus")
def test_an_agent_balances_inside_the_host_and_leaves_what_it_did(lab: Lab, agents: Lab) -> None:
    try:
        for guest in PAIR:
            lab.virsh(HOST, "vcpupin", guest, "0", "0", "--live")
            lab.load(guest, percent=100)
        agents.playbook(
            *("tests/lab/agent.yml", "--limit", HOST),
            agent_interval=AGENT_INTERVAL,
            agent_quantum=AGENT_INTERVAL,
            agent_balance=["vcpu", "memory"],
            # What two guests get of one CPU is little where the machine is busy with other things as well.
            agent_vcpu_options={"busy_above": 0.1, "threshold": 0.1, "gain": 0.02},
        )
        wait_for("the two busy guests on a CPU each", lambda: sorted(pins(lab)) == ["0", "1"])
        status = json.loads(lab.shell(HOST, "cat /run/virtops.balance/agent.json"))
        assert {name: loop["problem"] for name, loop in status["loops"].items()} == {
            "history": None,
            "memory": None,
            "vcpu": None,
        }
        lab.shell(HOST, "/usr/bin/python3 /var/lib/virtops.balance/agent.pyz stop")
        assert sorted(pins(lab)) == ["0", "1"]
    finally:
        for guest in PAIR:
            lab.load(guest, percent=0)
            lab.virsh(HOST, "vcpupin", guest, "0", "r", "--live")
            for state in ("--live", "--config"):
                lab.virsh(HOST, "metadata", guest, "urn:virtops:balance:1", state, "--remove", check=False)
