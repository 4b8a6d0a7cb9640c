# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Runs keep a history on the hosts by themselves, without an agent."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.tests.lab.lab import Lab

STORE = "/var/lib/virtops.balance/history.sqlite"
MOVED, STAYS = "batch-1", "web-1"
RUNS = 5
# Runs follow each other at once. Nothing is to move but what the test moves.
HISTORY: dict[str, t.Any] = {
    "balance_history": 30,
    "balance_history_step": 2,
    "balance_policy": {"threshold": 1.0, "cpu_limit": 10},
}


def samples(lab: Lab, host: str, domain: str | None = None) -> int:
    """How many samples a host has stored, of itself or of a domain."""
    of_domain = (
        f" JOIN domain_samples ON sample = samples.id JOIN domains ON domains.id = domain WHERE name = '{domain}'"
    )
    query = f"SELECT count(*) FROM samples{'' if domain is None else of_domain}"
    program = f"import sqlite3; print(sqlite3.connect('{STORE}').execute(\\\"{query}\\\").fetchone()[0])"
    return int(lab.shell(host, f'/usr/bin/python3 -c "{program}"'))


def test_five_runs_leave_a_history_and_a_moved_domain_brings_its_past(lab: Lab) -> None:
    for host in lab.hosts:
        lab.shell(host, f"rm -f {STORE}*")
    for number in range(RUNS):
        if number == RUNS - 2:
            lab.migrate(MOVED, "kvm1", "kvm2")
        output = lab.playbook("rebalance", **HISTORY)
        # That there is little of it yet is no fault of a host.
        assert "less history than requested" not in output
    found = lab.saved("snapshot.json")

    assert {host: samples(lab, host) for host in lab.hosts} == dict.fromkeys(lab.hosts, RUNS)
    assert {host: lab.shell(host, f"stat -c '%a %U' {STORE}") for host in lab.hosts} == dict.fromkeys(
        lab.hosts, "640 root"
    )
    for host in found["hosts"].values():
        column = host["history"]["cpu"]
        # The runs leave no gap between them.
        assert None not in column
        assert all(0 <= value <= 1 for value in column)
    assert [samples(lab, "kvm1", name) for name in (STAYS, MOVED)] == [RUNS, RUNS - 2]
    assert [samples(lab, "kvm2", name) for name in (STAYS, MOVED)] == [0, 2]
    pasts = {domain["name"]: (domain["host"], domain["history"]["cpu_cores"]) for domain in found["domains"].values()}
    (here, stayed), (there, moved) = pasts[STAYS], pasts[MOVED]
    assert (here, there) == ("kvm1", "kvm2")
    assert None not in stayed
    # What kvm1 saw of it before it left is there, and what kvm2 saw after. A step may end between two observations.
    assert abs(len(moved) - len(stayed)) <= 1
    assert moved[0] is not None
    assert moved[-1] is not None

    # A run that only shows what it would do reads the history and adds nothing.
    lab.playbook("rebalance", "--check", **HISTORY)
    assert lab.saved("snapshot.json")["hosts"]["kvm1"]["history"]["cpu"]
    assert {host: samples(lab, host) for host in lab.hosts} == dict.fromkeys(lab.hosts, RUNS)
