# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Drain and rolling maintenance end to end: hosts restart one after the other, and no guest notices."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import typing as t

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import ROOT, Lab

POLICY: dict[str, t.Any] = {
    "anti_affinity": [
        {"name": "web servers", "domains": {"names": ["web-1", "web-2"]}},
        {"name": "databases", "domains": {"names": ["db-1", "db-2"]}},
    ],
    # The hosts have one CPU each, and two of them have to take nine guests.
    "cpu_overcommit": 6,
}
# Three on each host, no pair on one.
PLACES = {
    "kvm1": ["web-1", "batch-1", "more-1"],
    "kvm2": ["web-2", "db-1", "more-2"],
    "kvm3": ["db-2", "batch-2", "more-3"],
}
TASKS = ROOT / "tests" / "lab" / "maintenance.yml"
Seen = list[tuple[float, dict[str, list[str]]]]


@contextlib.contextmanager
def nine(lab: Lab, **third: t.Any) -> t.Iterator[Lab]:
    """Three guests on each host; ``third`` is what the last one is like that is added to kvm1."""
    more = [{"name": f"more-{n}", "host": f"kvm{n}", "address": f"10.66.0.{110 + n}"} for n in (1, 2, 3)]
    more[0].update(third)
    with lab.more_guests(*more):
        for host, guests in PLACES.items():
            for guest in guests:
                (place,) = lab.placement()[guest]
                if place != host:
                    lab.migrate(guest, place, host)
        try:
            yield lab
        except BaseException:
            # Hosts that a failure left drained or off must not do harm to the tests that follow.
            lab.playbook("lab_up", lab_guests=list(lab.guests.values()))
            lab.playbook("undrain", undrain_hosts="hypervisors")
            raise


def lives(lab: Lab) -> dict[str, tuple[str, float]]:
    """Of each guest its boot, and how long it is up."""
    found = {guest: lab.status(guest) for guest in lab.guests}
    return {guest: (said["boot_id"], float(said["uptime_seconds"])) for guest, said in found.items()}


@contextlib.contextmanager
def watched(lab: Lab) -> t.Iterator[Seen]:
    """What libvirt of each host that is up says is active, again and again."""
    seen: Seen = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            before = time.time()
            # A host that goes down while it is asked says nothing.
            now = {
                host: lab.virsh(host, "list", "--name", check=False).split() for host in lab.hosts if lab.is_on(host)
            }
            seen.append((before, now))
            over.wait(0.5)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(60)


def test_what_cannot_be_migrated_is_restarted_elsewhere(lab: Lab) -> None:
    with nine(lab, cpu_mode="maximum"):
        before = lives(lab)
        # The other two hosts have three virtual CPUs on their one already, so this limit has to give way.
        full = {**POLICY, "cpu_overcommit": 3}
        policy: dict[str, t.Any] = {"balance_policy": full, "drain_hosts": "kvm1"}

        said = lab.playbook("drain", "--check", "--diff", **policy)
        assert "kvm1 is drained and has 3 domains." in said
        said = lab.playbook("drain", fails=True, drain_give_back=True, **policy)
        assert "more-1 is still on kvm1" in " ".join(said.split())
        assert lab.active("kvm1") == ["more-1"], said
        moved = [move for wave in lab.saved("plan.json")["waves"] for move in wave["moves"]]
        assert [[one["constraint"] for one in move["gives_way"]] for move in moved] == [["cpu_overcommit"]] * 2
        assert "vCPUs per thread, the limit is 3. That limit gives way, because " in " ".join(said.split())

        lab.playbook("drain", drain_restart=True, **policy)
        (restarted,) = lab.saved("plan.json")["restarts"]
        assert [one["constraint"] for one in restarted["gives_way"]] == ["cpu_overcommit"]

        assert lab.active("kvm1") == []
        assert lab.virsh("kvm1", "list", "--all", "--name") == ""
        places = lab.placement()
        assert {guest: len(hosts) for guest, hosts in places.items()} == dict.fromkeys(lab.guests, 1)
        assert places["web-1"] != places["web-2"]
        after = lives(lab)
        assert [guest for guest in lab.guests if after[guest][0] != before[guest][0]] == ["more-1"]

        # Every later plan sees that it is drained, until it is not any more.
        lab.playbook("rebalance", balance_policy={**POLICY, "threshold": 0.01, "minimum_gain": 0})
        assert lab.active("kvm1") == []
        assert lab.saved("plan.json")["hosts"]["kvm1"]["state"] == "drained"
        lab.playbook("undrain", undrain_hosts="kvm1")
        lab.playbook("rebalance", "--check", balance_policy=POLICY)
        assert lab.saved("plan.json")["hosts"]["kvm1"]["state"] == "active"


@pytest.mark.long
def test_every_host_restarts_and_no_guest_notices(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    log = lab.run_dir / "maintenance.log"
    log.unlink(missing_ok=True)
    given: dict[str, t.Any] = {
        "balance_policy": POLICY,
        "maintenance_hosts": "hypervisors",
        "maintenance_tasks": str(TASKS),
        "maintenance_log": str(log),
        "maintenance_name": f"restart {time.time():.0f}",
    }
    with nine(lab):
        before, started = lives(lab), time.time()
        with watched(lab) as seen:
            # The first run ends in the middle, the second one goes on from there.
            said = lab.playbook("maintain", fails=True, maintenance_breaks="kvm2", **given)
            assert "The maintenance of kvm2 failed." in " ".join(said.split())
            lab.playbook("maintain", **given)
        seconds = time.time() - started
        after = lives(lab)

        events = [line.split(maxsplit=3) for line in log.read_text().splitlines()]
        ended = [host for _at, what, host, _guests in events if what == "end"]
        assert sorted(ended) == sorted(lab.hosts), "each host once"
        assert {guests for _at, what, _host, guests in events} == {"[]"}, "none is on a host whose maintenance begins"
        spans: list[tuple[str, float, float]] = []
        for index, (ended_at, what, host, _guests) in enumerate(events):
            if what == "end":
                begun_at = max(float(e[0]) for e in events[:index] if e[1] == "begin" and e[2] == host)
                spans.append((host, begun_at, float(ended_at)))
        assert len(seen) > len(spans)
        for at, now in seen:
            for host, begun, end in spans:
                assert not (begun <= at < end and now.get(host)), f"{now[host]} on {host} in maintenance"

        for guest, (boot, uptime) in before.items():
            assert after[guest][0] == boot, f"{guest} was started anew"
            assert after[guest][1] >= uptime + seconds * 0.8, f"{guest} stood still"
        places = lab.placement()
        assert {guest: len(hosts) for guest, hosts in places.items()} == dict.fromkeys(lab.guests, 1)
        assert places["web-1"] != places["web-2"]
        assert places["db-1"] != places["db-2"]
        lab.playbook("rebalance", "--check", balance_policy=POLICY)
        assert {host["state"] for host in lab.saved("plan.json")["hosts"].values()} == {"active"}

        longest = max(end - begun for _host, begun, end in spans)
        told = (
            f"{len(spans)} rounds in {seconds / 60:.1f} minutes, one that failed and a second run for it included; "
            f"a restart took {longest:.1f} s at most"
        )
        with capsys.disabled():
            sys.stdout.write(f"\n{told}\n")
        assert lab.saved("rounds.json")["done"], "the second run knew what the first one had done"


@pytest.mark.usefixtures("lab")
def test_draining_the_last_place_of_a_pair_is_refused(lab: Lab) -> None:
    said = lab.playbook("drain", fails=True, drain_hosts="kvm2,kvm3", balance_policy=POLICY)
    assert "kvm2, kvm3 cannot be drained: of the 2 domains that" in " ".join(said.split())
    assert "changed=1" not in lab.playbook("undrain", "--check", undrain_hosts="hypervisors")
