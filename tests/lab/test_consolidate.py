# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Consolidation end to end: hosts sleep while the load is light, and are woken when it rises."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import AGENT_INTERVAL, Lab, wait_for

pytestmark = pytest.mark.long

LIGHT, HEAVY = 2, 30
# The detectors look at the last ten seconds.
LAST = {"name": "average", "parameters": {"samples": 5, "threshold": 0.8}}
POLICY = {
    "cooldown_seconds": 0,
    "consolidation": {"overload": LAST, "underload": "average", "spare_hosts": 0, "idle_rounds": 0},
}

HISTORY: dict[str, t.Any] = {
    "balance_policy": POLICY,
    "balance_history": 1,
    "balance_history_step": AGENT_INTERVAL,
    "balance_interval": None,
}


@pytest.fixture
def spread(lab: Lab) -> t.Iterator[Lab]:
    """Two idle guests on each host. Afterwards every host is awake."""
    lab.loads(dict.fromkeys(lab.guests, LIGHT))
    hosts = list(lab.hosts)
    for number, guest in enumerate(lab.guests):
        if hosts[number % 3] != "kvm1":
            lab.migrate(guest, "kvm1", hosts[number % 3])
    try:
        yield lab
    finally:
        if awake(lab) != hosts:
            lab.playbook("lab_up")
        lab.rest()


def consolidate(lab: Lab) -> dict[str, t.Any]:
    """Run the playbook with the history of the last minute, and return its plan."""
    lab.playbook("consolidate", **HISTORY)
    assert lab.saved("outcome.json")["problem"] is None
    plan: dict[str, t.Any] = lab.saved("plan.json")
    return plan


def awake(lab: Lab) -> list[str]:
    return [host for host in lab.hosts if lab.is_on(host)]


def test_hosts_sleep_while_there_is_little_to_do(spread: Lab, agents: Lab) -> None:
    lab = spread
    boots = {guest: lab.status(guest)["boot_id"] for guest in lab.guests}

    def history_of_light_load() -> bool:
        lab.playbook("consolidate", "--check", **HISTORY)
        return all(judgement["history"] for judgement in lab.saved("plan.json")["detection"].values())

    wait_for("a plan that rests on the history of every host", history_of_light_load, seconds=150)

    plan = consolidate(lab)

    slept = [sleeper["host"] for sleeper in plan["sleep"]]
    assert slept
    assert awake(lab) == [host for host in lab.hosts if host not in slept]
    assert {guest: len(hosts) for guest, hosts in lab.placement().items()} == dict.fromkeys(lab.guests, 1)
    # Nothing is left to do, and who sleeps is known to sleep.
    again = consolidate(lab)
    assert (again["waves"], again["sleep"], again["wake"]) == ([], [], [])
    assert {host: again["hosts"][host]["state"] for host in slept} == dict.fromkeys(slept, "asleep")

    lab.loads(dict.fromkeys(lab.guests, HEAVY))
    plan = consolidate(lab)

    assert len(awake(lab)) > len(lab.hosts) - len(slept)
    used = {host for hosts in lab.placement().values() for host in hosts}
    assert len(used) > len(lab.hosts) - len(slept)
    assert {guest: len(hosts) for guest, hosts in lab.placement().items()} == dict.fromkeys(lab.guests, 1)
    assert {guest: lab.status(guest)["boot_id"] for guest in lab.guests} == boots
