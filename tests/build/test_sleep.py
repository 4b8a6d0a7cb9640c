# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""consolidate.yml as it is, over the fleet of conftest.py, with a host that sleeps."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.module_utils._host import marks
from ansible_collections.virtops.balance.tests.build.conftest import Fleet

SLEEPER = {"since": "2026-01-31T11:00:00Z", "threads": 8, "memory_total_mib": 32768}


def test_a_host_is_woken_leased_observed_and_planned_with(fleet: Fleet) -> None:
    (fleet.place / "hosts").write_text(
        '[hypervisors]\nkvm1\nkvm2\nkvm3 balance_power_control=\'{"redfish": {"url": "https://bmc.example.org"}}\'\n',
        encoding="utf-8",
    )
    marks.write({"asleep": {"kvm3": SLEEPER}}, root=str(fleet.place / "kvm1"))
    (fleet.place / "kvm3" / "down").touch()
    # More than 80 % of two hosts.
    busy = {f"app-{number}": {"host": f"kvm{number % 2 + 1}", "more": {"cpu_cores": 1.8}} for number in range(8)}
    fleet.set(busy)

    fleet.run("consolidate", balance_policy={})

    assert fleet.log()[0] == "awake kvm3"
    assert {line.split()[1] for line in (fleet.place / "purposes").read_text().splitlines()} == {"consolidate"}
    moved = [line.split() for line in fleet.log() if line.startswith("moved")]
    assert {destination for _moved, _name, _source, destination in moved} == {"kvm3"}
    outcome = fleet.saved("outcome.json")
    assert (outcome["problem"], outcome["hosts"]["kvm3"]["state"]) == (None, "active")
