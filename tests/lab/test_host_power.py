# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The module host_power: a host of the lab by its own switch, and BMCs that switch a domain of a real libvirt."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import typing as t
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import ROOT, Lab, wait_for

EMPTY = "kvm3"
# Carries the domain that plays the part of the machine behind a BMC.
BMCS = "kvm2"
MACHINE = "machine"
UUID = "5a0fb5b0-0c3a-4d66-9d2e-9f6d1f0c7a11"
PASSWORD = "s3cret-0f-the-bmc"
# No operating system: it does what the power button of a machine does that has none.
XML = f"""
<domain type='qemu'>
  <name>{MACHINE}</name>
  <uuid>{UUID}</uuid>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <features><acpi/></features>
  <devices><memballoon model='none'/></devices>
</domain>
"""


class Power:
    """Runs the module for one host: states, one after the other; "STATE?" is one in check mode."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def __call__(
        self, *states: str, host: str = EMPTY, fails: bool = False, **variables: t.Any
    ) -> list[dict[str, t.Any]]:
        wanted = [{"state": state.rstrip("?"), "check": state.endswith("?")} for state in states]
        output = self.lab.playbook("tests/lab/power.yml", fails=fails, at=host, power_states=wanted, **variables)
        assert PASSWORD not in output
        results: list[dict[str, t.Any]] = self.lab.saved("power.json")
        assert len(results) == len(states)
        return results


@pytest.fixture
def power(lab: Lab) -> Iterator[Power]:
    power = Power(lab)
    yield power
    if not lab.is_on(EMPTY):
        # A host that a failed test left asleep would be missed by every later one.
        power("awake")


def found(results: list[dict[str, t.Any]]) -> list[tuple[bool, str, str | None]]:
    return [(result["changed"], result["power"]["state"], result["power"]["seen_by"]) for result in results]


def test_a_host_sleeps_and_wakes(lab: Lab, power: Power) -> None:
    before = lab.placement()
    assert found(power("query", "asleep?", "asleep", "asleep", "query", "awake?")) == [
        (False, "awake", "libvirt"),
        (True, "asleep", None),
        (True, "asleep", "command"),
        (False, "asleep", "command"),
        (False, "asleep", "command"),
        (True, "awake", None),
    ]
    assert not lab.is_on(EMPTY)

    assert found(power("awake", "awake")) == [(True, "awake", "libvirt"), (False, "awake", "libvirt")]
    assert lab.is_on(EMPTY)
    assert lab.placement() == before


def test_where_nothing_tells_silence_has_to_do(lab: Lab, power: Power) -> None:
    switch = "{{ lab_power + ['%s', inventory_hostname] }}"
    control = {
        "sleep": "command",
        "wake": "command",
        "command": {"sleep": switch % "crash", "wake": switch % "up"},
    }
    asleep, query, again, awake = power("asleep", "query", "asleep", "awake", power_control=control, fails=True)
    assert query["power"] == {
        "state": "unknown",
        "seen_by": None,
        "problem": f"{EMPTY} cannot be reached. Only its silence indicates whether it is asleep.",
    }
    assert again["failed"]
    assert "cannot be reached: nothing tells what runs on it" in again["msg"]
    assert found([asleep, awake]) == [(True, "asleep", "silence"), (True, "awake", "libvirt")]


def test_a_host_with_guests_stays_awake(lab: Lab, power: Power) -> None:
    before = lab.placement()
    for result in power("asleep?", "asleep", host="kvm1", fails=True):
        assert result["failed"]
        assert all(f"{guest} is running" in result["msg"] for guest in lab.guests)
    assert lab.placement() == before


# BMCs


def programs() -> Path:
    """The directory with the emulators' programs; they are installed when they are not there."""
    wanted = ROOT / "tests" / "lab" / "emulators.txt"
    made = ROOT / ".cache" / "emulators"
    mark = hashlib.sha256(wanted.read_bytes()).hexdigest()
    if not (made / mark).exists():
        # The distribution's Python, because it has the distribution's libvirt binding.
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--clear", "--system-site-packages", str(made)], check=True)
        install = ["-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--requirement", str(wanted)]
        subprocess.run([str(made / "bin" / "python"), *install], check=True, timeout=600)
        (made / mark).touch()
    return made / "bin"


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextlib.contextmanager
def emulator(command: list[str], log_path: Path, **environment: str) -> Iterator[None]:
    with log_path.open("w") as log:
        process = subprocess.Popen(
            [str(programs() / command[0]), *command[1:]],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def machine(lab: Lab) -> Iterator[Lab]:
    path = lab.run_dir / "machine.xml"
    path.write_text(XML)
    lab.virsh(BMCS, "define", str(path))
    try:
        lab.virsh(BMCS, "start", MACHINE)
        yield lab
    finally:
        lab.virsh(BMCS, "destroy", MACHINE, check=False)
        lab.virsh(BMCS, "undefine", MACHINE)


@pytest.fixture
def redfish(machine: Lab) -> Iterator[dict[str, t.Any]]:
    port = free_port(socket.SOCK_STREAM)
    url = f"http://127.0.0.1:{port}"
    command = ["sushy-emulator", "--interface", "127.0.0.1", "--port", str(port), "--libvirt-uri", machine.uri(BMCS)]
    with emulator(command, machine.run_dir / "sushy.log"):

        def answers() -> bool:
            try:
                with urllib.request.urlopen(f"{url}/redfish/v1/Systems", timeout=5):
                    return True
            except OSError:
                return False

        wait_for("an answer of the Redfish emulator", answers, seconds=30)
        yield {"redfish": {"url": url, "system": UUID}}


@pytest.fixture
def ipmi(machine: Lab, tmp_path: Path) -> Iterator[dict[str, t.Any]]:
    port = free_port(socket.SOCK_DGRAM)
    (tmp_path / "conf").write_text(
        f"[default]\nconfig_dir={tmp_path}\npid_file={tmp_path}/pid\nserver_port={free_port(socket.SOCK_STREAM)}\n"
    )
    environment = {**os.environ, "VIRTUALBMC_CONFIG": str(tmp_path / "conf")}

    def vbmc(*arguments: str) -> bool:
        command = [str(programs() / "vbmc"), "--no-daemon", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
        return done.returncode == 0

    with emulator(["vbmcd", "--foreground"], tmp_path / "log", VIRTUALBMC_CONFIG=str(tmp_path / "conf")):
        wait_for("an answer of vbmcd", lambda: vbmc("list"), seconds=30)
        who = ("--username", "admin", "--password", PASSWORD)
        assert vbmc(
            "add", MACHINE, "--port", str(port), "--address", "127.0.0.1", "--libvirt-uri", machine.uri(BMCS), *who
        )
        assert vbmc("start", MACHINE)
        yield {"ipmi": {"address": "127.0.0.1", "port": port, "user": "admin", "password": PASSWORD}}


@pytest.mark.parametrize("method", ["redfish", "ipmi"])
def test_a_bmc_switches_and_tells(lab: Lab, method: str, request: pytest.FixtureRequest) -> None:
    power = Power(lab)
    control = {"sleep": method, "wake": method, "hard": True, **request.getfixturevalue(method)}

    def state() -> str:
        return lab.virsh(BMCS, "domstate", MACHINE)

    assert found(power("asleep", "asleep", "query", power_control=control)) == [
        (True, "asleep", "bmc"),
        (False, "asleep", "bmc"),
        (False, "asleep", "bmc"),
    ]
    assert state() == "shut off"
    assert found(power("awake", power_control=control)) == [(True, "awake", "libvirt")]
    assert state() == "running"

    # What runs on the host is asked of the host, not of the machine behind the BMC.
    (refused,) = power("asleep", host="kvm1", power_control=control, fails=True)
    assert "is running" in refused["msg"]
    assert state() == "running"


def test_a_wrong_password_is_said_without_it(lab: Lab, ipmi: dict[str, t.Any]) -> None:
    wrong = {"ipmi": {**ipmi["ipmi"], "user": "nobody"}}
    (result,) = Power(lab)("asleep", power_control={"wake": "ipmi", **wrong}, fails=True)
    assert "The BMC at 127.0.0.1 cannot be used" in result["msg"]
