# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Allocation end to end: domains are shut down, created, moved and capped until each has what the plan gives it."""

from __future__ import annotations

import concurrent.futures
import os
import re
import signal
import typing as t
import xml.etree.ElementTree as ET

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import Lab, wait_for

# Each host has one core, of which 0.9 are offered; one host less saves 100 W, each of which costs a thousandth.
ALLOCATION = {"power_weight": 0.001, "power": {"idle_watts": 100, "max_watts": 150}}
FEW: dict[str, t.Any] = {
    "web-1": {"cpu_min": 0.2, "cpu_max": 0.3, "share": 2},
    "web-2": {"cpu_min": 0.2, "cpu_max": 0.3},
    "db-1": {"cpu_min": 0.1, "cpu_max": 0.2},
    **{name: {"state": "stop"} for name in ("db-2", "batch-1", "batch-2")},
}
# Two more come, for which one host is not enough.
MORE: dict[str, t.Any] = {
    **FEW,
    "batch-1": {"cpu_min": 0.3, "cpu_max": 0.4, "memory_mib": 96},
    "batch-2": {"cpu_min": 0.1, "cpu_max": 0.1, "memory_mib": 96},
}


@pytest.fixture
def allocated(lab: Lab) -> t.Iterator[Lab]:
    """Afterwards every guest runs again, without a cap and with the usual weight."""
    definitions = {name: lab.virsh("kvm1", "dumpxml", "--inactive", name) for name in lab.guests}
    try:
        yield lab
    finally:
        for guest, hosts in lab.placement().items():
            if not hosts:
                path = lab.run_dir / f"{guest}.xml"
                path.write_text(definitions[guest])
                lab.virsh("kvm1", "define", str(path))
                lab.virsh("kvm1", "start", guest)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            places = lab.placement()
            list(pool.map(lambda guest: free(lab, places[guest][0], guest), lab.guests))
        for guest in ("db-2", "batch-1", "batch-2"):
            for host in lab.hosts:
                if host not in places[guest]:
                    lab.virsh(host, "undefine", guest, check=False)


def free(lab: Lab, host: str, guest: str) -> None:
    default = 100 if lab.shell(host, "ls /sys/fs/cgroup/cgroup.controllers", check=False).startswith("/sys") else 1024
    for setting in ("global_quota=-1", f"cpu_shares={default}"):
        lab.virsh(host, "schedinfo", guest, "--live", "--config", setting)


def allocate(lab: Lab, domains: dict[str, t.Any], *arguments: str, **more: t.Any) -> str:
    policy = {"cooldown_seconds": 0, **more.pop("policy", {})}
    return lab.playbook(
        "allocate", *arguments, balance_domains=domains, balance_allocation=ALLOCATION, balance_policy=policy,
        balance_shutdown_seconds=60, **more,
    )  # fmt: skip


def changed(output: str) -> int:
    return sum(int(number) for number in re.findall(r" changed=(\d+)", output))


def caps(lab: Lab) -> dict[str, tuple[str, float]]:
    """Guest to its host and its cap there, of every guest that runs."""
    found = {}
    for guest, (host,) in {guest: hosts for guest, hosts in lab.placement().items() if hosts}.items():
        quota = int(re.findall(r"global_quota\s*: (-?\d+)", lab.virsh(host, "schedinfo", guest))[0])
        found[guest] = (host, quota / 1000)
    return found


def assert_as_planned(lab: Lab) -> None:
    """Every guest that is to run does, once, where the plan has it, with its cap; the others run nowhere."""
    domains = lab.saved("plan.json")["domains"]
    wanted = {name: told for name, told in domains.items() if told["host"]["after"]}
    assert {name: (told["host"]["after"], told["cap"]["after"]) for name, told in wanted.items()} == caps(lab)


def test_few_guests_use_one_host_and_more_open_the_second(allocated: Lab) -> None:
    lab = allocated
    before = lab.placement()
    output = allocate(lab, FEW, "--check", "--diff")
    assert "ALLOCATE: 3 to shut down, 3 to tune." in output
    assert re.search(r"^\s*\+.*web-1: weight 2, cap 30 %", output, re.MULTILINE)
    assert lab.placement() == before
    assert {cap for _host, cap in caps(lab).values()} == {-0.001}

    allocate(lab, FEW)

    assert caps(lab) == {"web-1": ("kvm1", 30), "web-2": ("kvm1", 30), "db-1": ("kvm1", 20)}
    assert_as_planned(lab)
    assert {step["outcome"] for step in lab.saved("outcome.json")["steps"]} == {"done"}
    assert changed(allocate(lab, FEW)) == 0

    # Of the two that come, one may be created anywhere, the other only where it is defined.
    path = lab.run_dir / "batch 1;$(x).xml"
    path.write_text(lab.virsh("kvm1", "dumpxml", "--inactive", "batch-1"))
    lab.virsh("kvm1", "undefine", "batch-1")
    more = {**MORE, "batch-1": {**MORE["batch-1"], "template": str(path)}}
    allocate(lab, more)

    assert_as_planned(lab)
    plan = lab.saved("plan.json")
    assert [step["name"] for step in plan["steps"] if step["state"] == "create"] == ["batch-1", "batch-2"]
    assert [name for name in lab.hosts if plan["hosts"][name]["allocated"]["domains"]] == ["kvm1", "kvm2"]
    assert changed(allocate(lab, more)) == 0


@pytest.mark.long
def test_a_killed_run_is_finished_by_the_next(allocated: Lab) -> None:
    lab = allocated
    allocate(lab, MORE)
    assert_as_planned(lab)

    # A lease lasts longer than the wave is to take, so waves are short.
    drained = {"drained_hosts": ["kvm1"], "max_moves_out": 1}
    run = lab.start_playbook(
        "allocate", balance_domains=MORE, balance_allocation=ALLOCATION, balance_lease_seconds=15,
        balance_policy={"cooldown_seconds": 0, "migration": {"bandwidth_mib_s": 10}, **drained},
    )  # fmt: skip
    try:
        wait_for(
            "a migration under way",
            lambda: any("paused" in lab.virsh(host, "list") for host in ("kvm2", "kvm3")),
            seconds=120,
            pause=0.2,
        )
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()

    allocate(lab, MORE, policy=drained, balance_lease_wait_seconds=300)

    assert lab.saved("outcome.json")["problem"] is None
    assert lab.active("kvm1") == []
    assert_as_planned(lab)
    assert changed(allocate(lab, MORE, policy=drained)) == 0


def test_the_rows_of_the_table(lab: Lab) -> None:
    guest = "batch-2"

    def row(assigned: bool, state: str, host: str = "kvm1", **more: t.Any) -> t.Any:
        options = {"domain": guest, "assigned": assigned, "state": state, "timeout_seconds": 60, **more}
        result = lab.module(host, "domain_state", **options)
        return result["action"], result["changed"], guest in lab.active(host)

    assert row(True, "run") == ("tune", False, True)
    assert row(False, "run") == ("migrate", False, True)
    assert row(True, "run", "kvm2") == ("wait", False, False)
    assert row(False, "create", "kvm2") == ("none", False, False)
    definition = lab.virsh("kvm1", "dumpxml", "--inactive", guest)
    assert lab.module("kvm1", "domain_state", check=True, domain=guest, assigned=True, state="stop")["changed"]
    assert row(True, "stop") == ("shut_down", True, False)
    assert row(True, "stop") == ("none", False, False)
    assert row(True, "create", xml=definition, cap=40) == ("create", True, True)
    assert ET.fromstring(lab.virsh("kvm1", "dumpxml", guest)).findtext("cputune/global_quota") == "40000"
    assert row(True, "create", cap=0) == ("mark_run", True, True)
    assert row(True, "create", cap=0) == ("mark_run", False, True)
    lab.status(guest)
    told = lab.module("kvm1", "domain_state", fails=True, domain=guest, assigned=False, state="create")
    assert told["msg"] == f"{guest} must be created on another host, but it runs here. It was shut down here."
    assert guest not in lab.active("kvm1")
    # A guest that is still at its first instructions hears nothing, and is ended only where that is allowed.
    lab.virsh("kvm1", "start", guest, "--paused")
    told = lab.module("kvm1", "domain_state", fails=True, domain=guest, assigned=False, state="stop", timeout_seconds=1)
    assert "Set force to true" in told["msg"]
    assert row(False, "stop", timeout_seconds=1, force=True) == ("shut_down", True, False)
    assert row(True, "create") == ("create", True, True)
