# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Guests with a Debian: they join the inventory, and Ansible, the roles for guests and HPL work in them."""

from __future__ import annotations

import csv
import json
import subprocess
import typing as t
import urllib.request
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import Lab, wait_for

pytestmark = pytest.mark.long
NODES: dict[str, dict[str, t.Any]] = {
    "node-1": {"name": "node-1", "host": "kvm2", "address": "10.66.0.111", "image": "debian"},
    "node-2": {"name": "node-2", "host": "kvm3", "address": "10.66.0.112", "image": "debian"},
}


@pytest.fixture(scope="module")
def nodes(whole_lab: Lab) -> t.Iterator[Lab]:
    """The lab with two Debian guests more, each on a host of its own, and no other load."""
    whole_lab.gather()
    with whole_lab.more_guests(*NODES.values()):
        yield whole_lab


def inventory() -> dict[str, dict[str, str]]:
    """The guests that answer, with what the inventory knows of them."""
    done = subprocess.run([str(Lab.inventory / "guests.sh"), "--list"], capture_output=True, check=True, timeout=60)
    found: dict[str, dict[str, str]] = json.loads(done.stdout)["_meta"]["hostvars"]
    return found


def ask(guest: str, path: str) -> dict[str, t.Any] | None:
    """What the service in a guest says, None where it says nothing yet."""
    try:
        with urllib.request.urlopen(f"http://{NODES[guest]['address']}:8880/{path}", timeout=5) as response:
            answered: dict[str, t.Any] = json.load(response)
            return answered
    except OSError:
        return None


def test_they_join_the_inventory_and_take_a_migration(nodes: Lab) -> None:
    # Those that have no sshd are none that Ansible could work in.
    assert inventory() == {
        name: {"ansible_host": node["address"], "lab_host": node["host"]} for name, node in NODES.items()
    }
    assert nodes.task("guests", "ping", "").count("SUCCESS") == len(NODES)

    before = nodes.status("node-1")
    nodes.migrate("node-1", "kvm2", "kvm1")

    assert inventory()["node-1"] == {"ansible_host": NODES["node-1"]["address"], "lab_host": "kvm1"}
    assert nodes.status("node-1")["boot_id"] == before["boot_id"]
    nodes.migrate("node-1", "kvm1", "kvm2")


def test_they_tell_how_they_are_under_the_load_they_are_given(nodes: Lab, tmp_path: Path) -> None:
    nodes.task("guests", "include_role", "name=virtops.balance.guest_services", seconds=300)
    measures = tmp_path / "measures.csv"
    nodes.playbook("measure", measure_path=str(measures), measure_timeout=5)
    with measures.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["guest"], row["problem"]) for row in rows] == [("node-1", ""), ("node-2", "")]

    try:
        nodes.playbook("loadgen", loadgen_hosts="node-1", loadgen_minimum=55, loadgen_maximum=65)

        def usage() -> float:
            return (ask("node-1", "utilisation") or {}).get("usage") or 0.0

        wait_for("a load of 55 to 65 %", lambda: 0.55 <= usage() <= 0.65, seconds=60, pause=2)
    finally:
        nodes.playbook("loadgen", loadgen_hosts="node-1", loadgen_do="remove")


def test_hpl_over_both(nodes: Lab, tmp_path: Path) -> None:
    rows = tmp_path / "hpl.csv"
    # Small, and giving way to others while it waits, because of QEMU's emulation.
    yielding = ["--mca", "mpi_yield_when_idle", "1"]
    said = nodes.playbook("hpl", hpl_n=128, hpl_block=64, hpl_mpirun_arguments=yielding, hpl_path=str(rows))
    assert "Gflop/s by 2 processes on node-1, node-2" in said
    with rows.open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["hosts"], row["n"], row["passed"]) == ("node-1 node-2", "128", "true")
    assert float(row["gflops"]) > 0
    # Nobody can log in any more who could not before.
    assert "virtops.balance.hpl" not in nodes.task("guests", "command", "cat /root/.ssh/authorized_keys")
