# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The agents of three hosts, while guests move between them, libvirt is restarted and an agent is killed."""

from __future__ import annotations

import itertools
import json
import os
import re
import time
import typing as t

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import AGENT_INTERVAL, Lab, wait_for

pytestmark = pytest.mark.long

# For a run that takes long; see benchmarks/README.md.
MINUTES = int(os.environ.get("LAB_AGENT_MINUTES", "0"))
GUEST = "web-1"
Json = dict[str, t.Any]


def snapshot(lab: Lab, minutes: int = 10) -> Json:
    """The fleet with its history, as a run of rebalance sees it."""
    lab.playbook("rebalance", "--check", balance_history=minutes, balance_history_step=AGENT_INTERVAL)
    found: Json = lab.saved("snapshot.json")
    return found


def longest_gap(column: list[float | None]) -> int:
    runs = re.findall("n+", "".join("n" if value is None else "v" for value in column))
    return max(map(len, runs), default=0)


def pid(lab: Lab, host: str) -> str:
    return lab.shell(host, "cat /run/virtops.balance/agent.lock").strip()


def measured(lab: Lab, host: str, uuid: str) -> list[tuple[float, float]]:
    """When a host measured the CPU of a domain: (begin, end) of each sample that it stored, in seconds."""
    query = (
        "SELECT (at_ms - elapsed_ms) / 1000.0, at_ms / 1000.0 FROM domain_samples"
        " JOIN samples ON samples.id = sample JOIN domains ON domains.id = domain"
        f" WHERE cores IS NOT NULL AND uuid = '{uuid}' ORDER BY samples.id"
    )
    program = (
        "import json, sqlite3; print(json.dumps(sqlite3.connect('file:/var/lib/virtops.balance/history.sqlite?mode=ro',"
        f' uri=True).execute(\\"{query}\\").fetchall()))'
    )
    return [tuple(pair) for pair in json.loads(lab.shell(host, f'/usr/bin/python3 -c "{program}"'))]


def stay(lab: Lab, guest: str, seconds: float) -> None:
    """Let a guest run for some time, by its own clock."""
    until = lab.status(guest)["uptime_seconds"] + seconds
    wait_for(f"{guest} to run {seconds} s", lambda: lab.status(guest)["uptime_seconds"] >= until)


@pytest.mark.usefixtures("loaded")
def test_a_domain_that_moved_brings_its_past(lab: Lab, agents: Lab) -> None:
    killed = pid(lab, "kvm3")
    lab.shell("kvm3", f"kill -KILL {killed}")
    uuid = lab.virsh("kvm1", "domuuid", GUEST)
    stay(lab, GUEST, 4 * AGENT_INTERVAL)
    for source, destination in (("kvm1", "kvm2"), ("kvm2", "kvm1"), ("kvm1", "kvm2")):
        lab.migrate(GUEST, source, destination)
        stay(lab, GUEST, 4 * AGENT_INTERVAL)
    # An everyday event on a hypervisor.
    lab.shell("kvm1", "pkill -TERM -x libvirtd")
    wait_for("libvirt on kvm1", lambda: "web-2" in lab.virsh("kvm1", "list", "--name", check=False))
    stay(lab, GUEST, 4 * AGENT_INTERVAL)
    wait_for("the agent of kvm3, started by cron", lambda: pid(lab, "kvm3") != killed, seconds=90, pause=2)

    found = snapshot(lab)
    assert [host["history_problem"] for host in found["hosts"].values()] == [None, None, None]
    for name in ("kvm1", "kvm2"):
        column = found["hosts"][name]["history"]["cpu"]
        assert len(column) > 20
        assert longest_gap(column) <= 2, column
        assert all(0 <= value <= 1 for value in column if value is not None)
    assert found["domains"][uuid]["host"] == "kvm2"
    joined = found["domains"][uuid]["history"]["cpu_cores"]
    # It was sampled for as long as a guest that stayed where it was.
    stayed = next(other for other in found["domains"].values() if other["name"] == "web-2")["history"]["cpu_cores"]
    assert abs(len(joined) - len(stayed)) <= 2
    check_history(lab, uuid, joined)


def check_history(lab: Lab, uuid: str, joined: list[float | None]) -> list[tuple[float, float]]:
    """See that the joined history of a domain has no hole and that nothing was measured twice; when it was measured."""
    assert longest_gap(joined) <= 2, joined
    known = [value for value in joined if value is not None]
    # It wants 24 % of a core, and shares a host with others that want a whole one.
    assert 0.1 < sum(known) / len(known) < 0.5, joined
    pieces = sorted(piece for host in lab.hosts for piece in measured(lab, host, uuid))
    holes = [after[0] - before[1] for before, after in itertools.pairwise(pieces)]
    # By two hosts at once never, nor by none for longer than two intervals. The hosts have one clock; the tolerance is
    # for the time that a sample takes on a busy host.
    assert min(holes) > -0.3, holes
    assert max(holes) < 2 * AGENT_INTERVAL + 0.3, holes
    return pieces


@pytest.mark.skipif(not MINUTES, reason="takes the minutes that LAB_AGENT_MINUTES says")
@pytest.mark.usefixtures("loaded")
def test_minutes_of_guests_coming_going_and_migrating(
    lab: Lab, agents: Lab, record_property: t.Callable[[str, t.Any], None]
) -> None:
    uuid = lab.virsh("kvm1", "domuuid", GUEST)
    until = time.monotonic() + MINUTES * 60
    places = itertools.cycle(("kvm2", "kvm3", "kvm1"))
    host = "kvm1"
    moves = 0
    while time.monotonic() < until:
        host, source = next(places), host
        lab.migrate(GUEST, source, host)
        moves += 1
        # One guest comes and goes; it is defined on kvm1 and starts there anew.
        lab.virsh("kvm1", "start" if moves % 2 == 0 else "destroy", "batch-2")
        if moves % 5 == 0:
            lab.shell("kvm3", "pkill -TERM -x libvirtd")
            wait_for("libvirt on kvm3", lambda: lab.virsh("kvm3", "hostname", check=False))
        stay(lab, GUEST, 4 * AGENT_INTERVAL)
    if moves % 2:
        lab.virsh("kvm1", "start", "batch-2")
    found = snapshot(lab, minutes=MINUTES + 1)
    pieces = check_history(lab, uuid, found["domains"][uuid]["history"]["cpu_cores"])
    # For the report that --junitxml writes.
    record_property("moves", moves)
    record_property("samples", len(pieces))
    record_property("longest_hole_seconds", max(after[0] - before[1] for before, after in itertools.pairwise(pieces)))
    assert pieces[-1][1] - pieces[0][0] > MINUTES * 60


def test_installing_again_changes_nothing(agents: Lab) -> None:
    said = agents.playbook("tests/lab/agent.yml", agent_interval=AGENT_INTERVAL)
    assert re.findall(r"changed=(\d+)", said) == ["0", "0", "0"]
