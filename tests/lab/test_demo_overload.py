# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The demo of an overload, as short as it can be: one run of rebalance while a generator keeps a host too busy."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.tests.browser import Expected, assert_good, read_back
from ansible_collections.virtops.balance.tests.lab.lab import Lab

pytestmark = pytest.mark.long


def test_domains_leave_the_host_that_a_generator_overloads(lab: Lab, tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    output = lab.playbook(
        "demo_overload",
        balance_run_dir=None,
        balance_interval=None,
        demo_dir=str(directory),
        demo_calm_seconds=0,
        demo_every_seconds=60,
        demo_seconds=60,
    )

    outcome = json.loads((directory / "runs/0000/outcome.json").read_text())
    moved = [move for move in outcome["moves"] if move["outcome"] == "moved"]
    assert f"0 s: {len(moved)} moved." in output
    assert {move["source"] for move in moved} == {"kvm1"}
    found = read_back(directory / "report.html", tmp_path)
    lines = ["kvm1", "kvm2", "kvm3", "event, see below"]
    assert_good(found, {"cpu-time": Expected("Time (s)", "CPU of the host (%)", "Host", lines)})
    cpu = {line["name"]: [y for y in line["y"] if y is not None] for line in found["figures"]["cpu-time"]["lines"]}
    assert max(cpu["kvm1"]) > 75
    assert len(cpu["kvm2"]) > 10
    events = next(table["rows"][1:] for table in found["tables"] if table["id"] == "events")
    assert [row[0] for row in events] == ["A", *(str(number + 1) for number in range(len(moved)))]
    assert {row[2] for row in events[1:]} == {f"{move['name']} from kvm1 to {move['destination']}" for move in moved}
    # Generator and agents are gone.
    for host in lab.hosts:
        assert not re.search(r"agent|history|loadgen", lab.shell(host, "ls /var/lib/virtops.balance", check=False))
        assert lab.shell(host, "pgrep -fa '[l]oadgen.py|[a]gent.pyz'", check=False) == ""
