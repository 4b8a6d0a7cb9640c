# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What systemd does for the collection: the unit of the agent, a timer that fires, suspend, poweroff and a reboot."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import ROOT, Lab, wait_for

pytestmark = pytest.mark.machines

UNIT = "virtops-balance-agent.service"
SECOND = "kvm2"
HISTORY = "/var/lib/virtops.balance/history.sqlite"
# A playbook of one's own for the schedule.
FAILING = [{"hosts": "localhost", "gather_facts": False, "tasks": [{"fail": {"msg": "not today"}}]}]


def unit(lab: Lab, host: str, name: str, what: str) -> str:
    return lab.shell(host, f"systemctl show --property={what} --value {name}")


def test_the_agent_is_a_unit_that_is_restarted_hardened_and_stopped(quiet: Lab) -> None:
    lab = quiet
    lab.playbook("tests/lab/agent.yml", "--limit", "kvm1", agent_interval=5)
    try:
        assert unit(lab, "kvm1", UNIT, "ActiveState") == "active"
        first = unit(lab, "kvm1", UNIT, "MainPID")
        lab.shell("kvm1", f"kill -KILL {first}")
        wait_for("another agent", lambda: unit(lab, "kvm1", UNIT, "MainPID") not in (first, "0"), seconds=120, pause=2)
        inside = f"nsenter --target $(systemctl show --property=MainPID --value {UNIT}) --mount"
        # It may write nothing but its own directory.
        for path in ("/etc", "/usr"):
            assert "ro" in lab.shell("kvm1", f"{inside} findmnt --noheadings --output OPTIONS --target {path}").split(
                ","
            )
        query = (
            f"import sqlite3; history = sqlite3.connect('file:{HISTORY}?mode=ro', uri=True);"
            "print(history.execute('SELECT count(*) FROM samples').fetchone()[0])"
        )
        count = f"/usr/bin/python3 -c {shlex.quote(query)}"
        wait_for("samples", lambda: int(lab.shell("kvm1", count, check=False) or 0) >= 2, seconds=180, pause=3)
        again = lab.playbook("tests/lab/agent.yml", "--limit", "kvm1", agent_interval=5)
        assert re.findall(r"changed=(\d+)", again) == ["0"]
    finally:
        lab.playbook("tests/lab/agent.yml", "--limit", "kvm1", absent=True)
    assert unit(lab, "kvm1", UNIT, "LoadState") == "not-found"


def test_a_timer_fires_and_a_run_that_fails_is_reported(quiet: Lab) -> None:
    lab = quiet
    # The machine is its own control node, with the distribution's Ansible.
    lab.shell("kvm1", f"rm -f /root/reported; printf %s {shlex.quote(json.dumps(FAILING))} >/root/own.yml")
    settings: dict[str, t.Any] = {
        "schedule_playbook": "/root/own.yml",
        "schedule_inventory": ["localhost,"],
        "schedule_calendar": "*:*:0/20",
        "schedule_jitter_seconds": 0,
        "schedule_stdout_callback": "ansible.builtin.default",
        "schedule_ansible_playbook": "/usr/bin/ansible-playbook",
        "schedule_command": ["/bin/sh", "-c", "cat >>/root/reported"],
    }
    lab.playbook("tests/lab/schedule.yml", "--limit", "kvm1", **settings)
    try:
        assert unit(lab, "kvm1", "virtops-balance-schedule-own.timer", "ActiveState") == "active"
        reported = wait_for(
            "two reports",
            lambda: (text := lab.shell("kvm1", "cat /root/reported", check=False)).count("not today") >= 2 and text,
            seconds=400,
            pause=5,
        )
        assert reported
        # The link "last" leads to the next run, which goes on already.
        result = json.loads(lab.shell("kvm1", "cat $(ls -t /var/log/virtops.balance/own/*/result.json | head -n 1)"))
        assert result["result"] == "failed"
    finally:
        lab.playbook("tests/lab/schedule.yml", "--limit", "kvm1", absent=True, schedule_remove_logs=True, **settings)
    assert unit(lab, "kvm1", "virtops-balance-schedule-own.timer", "LoadState") == "not-found"


def test_maintenance_reboots_a_machine_and_no_guest_notices(lab: Lab) -> None:
    guest = "web-1"
    before = lab.status(guest)["boot_id"]
    lab.migrate(guest, "kvm1", SECOND)
    boot = lab.shell(SECOND, "cat /proc/sys/kernel/random/boot_id")

    lab.playbook(
        "maintain",
        maintenance_hosts=SECOND,
        maintenance_tasks=str(ROOT / "tests" / "lab" / "reboot.yml"),
        # What emulation makes of guests at rest fills a host.
        balance_policy={"cpu_overcommit": 8, "cpu_limit": 8},
    )

    assert lab.shell(SECOND, "cat /proc/sys/kernel/random/boot_id") != boot
    assert all(len(places) == 1 for places in lab.placement().values())
    assert lab.status(guest)["boot_id"] == before


def mac(lab: Lab, host: str) -> str:
    """The Ethernet address of a machine, which the lab makes of its other address."""
    return "52:54:" + ":".join(f"{int(part):02x}" for part in lab.hosts[host].split("."))


@contextlib.contextmanager
def network_card(lab: Lab, host: str) -> t.Iterator[None]:
    """A card that wakes the machine: a suspended or powered-off QEMU listens to nothing itself."""
    name = lab.directory.rpartition("/")[2]
    wake = [f"LAB_DIR={lab.directory}", f"LAB_BRIDGE={lab.bridge}", "bash", str(ROOT / "roles/lab/files/lab_host")]
    card = [sys.executable, str(ROOT / "tests" / "lab" / "magic_packet.py"), "eth0", mac(lab, host), "900"]
    # The network of the host is not the one in which its network is made. Not by ip-netns(8), which has its own /sys.
    outside = ["nsenter", f"--net=/proc/{os.getpid()}/ns/net"]
    command = [*lab.as_root, "nsenter", f"--net=/run/netns/{name}-{host}", *card, *outside, "env", *wake, "up", host]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listening:
        assert listening.stdout is not None
        assert listening.stdout.readline() == "listening\n"
        try:
            yield
            assert listening.wait(600) == 0
        finally:
            listening.kill()


def power(lab: Lab, sleep: str, *states: str, **more: t.Any) -> list[dict[str, t.Any]]:
    """Run host_power for kvm2, woken by Wake on LAN, with one state after the other."""
    control = {
        "sleep": sleep,
        "wake": "wake_on_lan",
        "wake_on_lan": {"mac": mac(lab, SECOND), "address": f"{lab.network}.255"},
        **more,
    }
    wanted = [{"state": state, "check": False} for state in states]
    # A connection that the machine leaves behind when it goes must not outlast its sleep.
    ssh = lab.variables["ansible_ssh_common_args"]
    lab.playbook(
        "tests/lab/power.yml",
        at=SECOND,
        power_states=wanted,
        power_control=control,
        timeout_seconds=600,
        ansible_ssh_common_args=f"-o ServerAliveInterval=5 -o ServerAliveCountMax=4 {ssh}",
    )
    results: list[dict[str, t.Any]] = lab.saved("power.json")
    return results


# In this order: QEMU's machine goes to sleep only once in each boot. After that its ACPI does nothing any more.
@pytest.mark.parametrize("sleep", ["poweroff", "suspend"])
def test_a_machine_sleeps_by_systemd_and_wakes_by_a_packet(quiet: Lab, sleep: str) -> None:
    lab = quiet
    boot = lab.shell(SECOND, "cat /proc/sys/kernel/random/boot_id")

    (asleep,) = power(lab, sleep, "asleep")
    assert (asleep["changed"], asleep["power"]["state"]) == (True, "asleep")
    wait_for("the machine to be off", lambda: not lab.is_on(SECOND))

    with network_card(lab, SECOND):
        (awake,) = power(lab, sleep, "awake")
    assert (awake["changed"], awake["power"]["state"]) == (True, "awake")
    assert lab.is_on(SECOND)
    same = lab.shell(SECOND, "cat /proc/sys/kernel/random/boot_id") == boot
    assert same == (sleep == "suspend")


def test_a_machine_wakes_by_its_own_clock(quiet: Lab) -> None:
    lab = quiet
    # It has slept once in this boot, see above. The lease that ended then must not be back after a crash.
    lab.shell(SECOND, "sync")
    lab.fault(SECOND, "crash")
    lab.playbook("lab_up", "--limit", SECOND)
    (asleep,) = power(lab, "suspend", "asleep", wake_after_seconds=150)
    assert asleep["power"]["state"] == "asleep"
    wait_for("the alarm of its clock", lambda: lab.is_on(SECOND), seconds=300)
    wait_for("libvirt", lambda: lab.virsh(SECOND, "hostname", check=False), seconds=120)
