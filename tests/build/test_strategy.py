# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The playbooks whatever strategy Ansible is told to use, over the fleet of conftest.py."""

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.tests.build.conftest import APART, HOSTS, Fleet

LEVEL = {**APART, "threshold": 0.01, "minimum_gain": 0, "move_cost": 0}


def test_a_rebalance_with_the_strategy_free(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_STRATEGY", "free")
    guests = fleet.guests()
    for name, guest in guests.items():
        if name.startswith("app-"):
            guest["host"] = "kvm1"
    fleet.set(guests)

    # That every lease is given back is looked at by run().
    said = fleet.run("rebalance", balance_policy=LEVEL)

    assert "DONE: " in said
    assert fleet.saved("outcome.json")["problem"] is None
    assert [line.split()[0] for line in fleet.log()] == ["moved"] * len(fleet.log()) != []


def test_a_release_with_the_strategy_free(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_STRATEGY", "free")
    fleet.run("release")
    assert sorted(fleet.log()) == sorted(f"released {what} {host}" for what in ("memory", "vcpus") for host in HOSTS)
