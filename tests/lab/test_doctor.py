# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Every host is asked about every other one: a lab in which all is well, and one that is broken and then mended by the
very commands that the report gives."""

from __future__ import annotations

import os
import re
import shlex
import signal
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import Lab, wait_for

IMAGES = Path("/var/lib/virtops-lab/images")
SSH: dict[str, t.Any] = {"balance_migration_uri": "qemu+ssh://root@{{ inventory_hostname }}/system?no_tty=1"}
PORTS = "-p tcp --dport 49152:49215"
# kvm3 has the newer release, and what comes from there may be refused elsewhere.
WELL = ["- . .", ". - .", "v v -"]


def rows(output: str) -> list[str]:
    """The matrix, a text for each host."""
    return re.findall(r"^[123] kvm[123] {5}(.*)$", output, re.MULTILINE)


def said(output: str) -> str:
    """The output on one line."""
    return " ".join(output.split())


def commands(output: str, start: str) -> list[str]:
    """The commands below the sentence that begins so."""
    found = re.search(rf"^ +\d+ [A-Z] {re.escape(start)}(?:.*\n)+?((?: {{7}}\S.*\n)+)", output, re.MULTILINE)
    assert found, output
    return [line.strip() for line in found.group(1).splitlines()]


def files() -> list[str]:
    return [path.name for path in IMAGES.glob(".virtops-balance-doctor*")]


def assert_nothing_left(lab: Lab) -> None:
    """No file, and no process that watches over one: those look every few seconds whether theirs is gone."""
    assert files() == []
    # The brackets keep the command that looks from finding itself.
    look = "grep --no-messages --text --files-with-matches 'balance-docto[r][.]' /proc/[0-9]*/cmdline"
    wait_for("the end of the processes that watch", lambda: not lab.machine(look), seconds=60)


def rename_bridge(lab: Lab, host: str, before: str, after: str) -> None:
    """Give a bridge another name, from outside: meanwhile the host cannot be reached."""
    ip = f"ip -n virtops-lab-{host} link set"
    lab.machine(f"{ip} {before} down; {ip} {before} name {after}; {ip} {after} up")


@pytest.fixture
def keys(lab: Lab) -> Iterator[Lab]:
    """The lab with hosts on which root can log in to each other one."""
    key = (Path.home() / ".local/state/virtops-lab/id_ed25519").read_text(encoding="utf-8")
    for host in lab.hosts:
        lab.shell(
            host,
            f"umask 077; mkdir -p ~/.ssh; printf %s {shlex.quote(key)} >~/.ssh/id_ed25519;"
            f" ssh-keyscan {' '.join(lab.hosts)} >~/.ssh/known_hosts 2>/dev/null",
        )
    try:
        yield lab
    finally:
        for host in lab.hosts:
            lab.shell(host, "rm -rf ~/.ssh")


def test_all_is_well(lab: Lab) -> None:
    """Two releases in one fleet are a warning, and not a failure."""
    output = lab.playbook("doctor")
    assert "WELL: guests can move in all 6 directions, with 1 warning." in output
    assert rows(output) == WELL
    assert "Guests may be refused on the way from kvm3 to every other host, which has the older QEMU" in output
    for host in lab.hosts:
        assert re.search(rf"^\d  {host}  QEMU \d+\.\d+\.\d+ ", output, re.MULTILINE)
    assert_nothing_left(lab)

    # The best common CPU is one that each of the hosts takes.
    cpu = re.search(r"^BEST COMMON CPU of kvm1, kvm2, kvm3,.*\n((?:  .*\n)+)", output, re.MULTILINE)
    assert cpu, output
    for host in lab.hosts:
        compare = f"virsh hypervisor-cpu-compare --virttype qemu /dev/stdin <<'CPU'\n{cpu.group(1)}CPU"
        assert re.search(r"is (identical|a superset|compatible)|superset", lab.shell(host, compare)), host


def test_a_check_writes_nothing(lab: Lab) -> None:
    before = IMAGES.stat().st_mtime_ns
    output = lab.playbook("doctor", "--check")
    assert IMAGES.stat().st_mtime_ns == before
    assert rows(output) == WELL
    assert f"Whether {IMAGES} is the same on all hosts was not tried: a run with --check writes no files." in said(
        output
    )


def test_a_broken_lab_is_mended_by_what_the_report_says(keys: Lab) -> None:
    lab = keys
    lab.shell("kvm1", "ssh-keygen -q -R kvm2; mv ~/.ssh/id_ed25519 ~/.ssh/kept")
    lab.shell("kvm3", f"mkdir -p /tmp/empty; mount --bind /tmp/empty {IMAGES}; iptables -A INPUT {PORTS} -j REJECT")
    lab.shell("kvm2", f"iptables -A INPUT {PORTS} -j DROP")
    rename_bridge(lab, "kvm2", "br0", "br1")
    try:
        output = lab.playbook("doctor", fails=True, **SSH)
        told = said(output)
        assert rows(output) == ["- C C", "n - A", "S A -"], output
        assert "kvm1 cannot verify kvm2, whose host key is not known there" in told
        assert "kvm1 cannot log in to kvm3 as root (Permission denied (publickey))" in told
        assert "Every other host and kvm3 do not share" in told
        assert "No other host can send memory to kvm2: port 49152 of 10.66.0.12 is not reached (no answer" in told
        assert (
            "No other host can send memory to kvm3: port 49152 of 10.66.0.13 is not reached (a firewall reject" in told
        )
        assert (
            "batch-1, batch-2, db-1 and 3 more cannot move from kvm1 to kvm2, where the bridge br0 is missing" in told
        )
        assert "Guests on the bridge br1 could not move from kvm2 to every other host, where it is missing" in told
        assert "Moves would fail in 5 of 6 directions" in told
        assert "append what it prints to ~root/.ssh/authorized_keys of kvm3:" in told
        assert commands(output, "kvm1 cannot log in") == ["cat ~/.ssh/id_*.pub"]
        for command in commands(output, "kvm1 cannot verify"):
            lab.shell("kvm1", command)
    finally:
        rename_bridge(lab, "kvm2", "br1", "br0")
        lab.shell("kvm1", "mv ~/.ssh/kept ~/.ssh/id_ed25519")
        lab.shell("kvm2", f"iptables -D INPUT {PORTS} -j DROP")
        lab.shell("kvm3", f"iptables -D INPUT {PORTS} -j REJECT; umount {IMAGES}")
    assert_nothing_left(lab)
    assert rows(lab.playbook("doctor", **SSH)) == WELL


def test_a_run_that_is_killed_leaves_no_file_for_long(lab: Lab) -> None:
    run = lab.start_playbook("doctor", __balance_doctor_lifetime_seconds=20)
    try:
        wait_for("a test file", files, seconds=120, pause=0.1)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
    wait_for("the end of the test files", lambda: not files(), seconds=120)
    assert_nothing_left(lab)


def test_a_host_that_does_not_answer_stops_nobody(lab: Lab) -> None:
    lab.fault("kvm3", "partition")
    try:
        output = lab.playbook("doctor", fails=True)
    finally:
        lab.fault("kvm3", "heal")
    assert rows(output) == ["- . ?", ". - ?", "? ? -"]
    assert "NOT WELL: 1 host does not answer." in output
    assert_nothing_left(lab)
