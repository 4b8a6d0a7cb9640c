# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The module domain_migrate, between real hosts, with a guest of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import typing as t
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import Lab, wait_for

NAME = "mover"
ADDRESS = "10.66.0.121"
NAMESPACE = "urn:virtops:balance:1"
HERE, THERE, FAULTY = "kvm1", "kvm2", "kvm3"
# The guest is copied in seconds: this leaves time to do something meanwhile.
SLOW = {"bandwidth_mib_s": 6}


class Mover:
    """The guest, and the only things that these tests do to it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        # As lab.status() knows it.
        lab.guests[NAME] = {"name": NAME, "address": ADDRESS}
        self.disk = ""

    def create(self) -> None:
        pattern = next(guest for guest in self.lab.guests if guest != NAME)
        (host,) = (host for host in self.lab.hosts if pattern in self.lab.active(host))
        # Migratable: a newer libvirt writes devices into definitions that an older one does not know (q35's watchdog).
        root = ET.fromstring(self.lab.virsh(host, "dumpxml", "--inactive", "--migratable", pattern))
        for path in ("uuid", "metadata", "devices/interface/mac"):
            parent = root if "/" not in path else root.find(path.rpartition("/")[0])
            element = root.find(path)
            if parent is not None and element is not None:
                parent.remove(element)
        self._set(root, "name", NAME)
        command_line = root.findtext("os/cmdline") or ""
        command_line = re.sub(r"lab\.name=\S+", f"lab.name={NAME}", command_line)
        command_line = re.sub(r"lab\.address=[^/\s]+", f"lab.address={ADDRESS}", command_line)
        self._set(root, "os/cmdline", re.sub(r"lab\.load=\S+", "lab.load=5", command_line))
        for memory in ("memory", "currentMemory"):
            self._set(root, memory, str(128 * 1024))
        for path in ("devices/serial/source", "devices/console/source"):
            console = root.find(path)
            if console is not None and "path" in console.attrib:
                console.set("path", os.path.join(os.path.dirname(console.attrib["path"]), f"{NAME}.console"))
        source = root.find("devices/disk/source")
        assert source is not None
        disk = os.path.join(os.path.dirname(source.attrib["file"]), f"{NAME}.qcow2")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "16M"], check=True)
        self.disk = disk
        source.set("file", disk)
        definition = self.lab.run_dir / f"{NAME}.xml"
        definition.write_text(ET.tostring(root, encoding="unicode"))
        self.lab.virsh(HERE, "define", str(definition))
        self.lab.virsh(HERE, "start", NAME)
        # A guest takes up its load some time after its boot, and would take it up again over a new one.
        wait_for("the guest's own load", lambda: self.lab.status(NAME)["load_percent"] == 5)

    @staticmethod
    def _set(root: ET.Element, path: str, text: str) -> None:
        element = root.find(path)
        assert element is not None
        element.text = text

    def remove(self) -> None:
        # What follows these tests must not look for it.
        del self.lab.guests[NAME]
        if self.disk:
            self.destroy()
            Path(self.disk).unlink(missing_ok=True)

    def destroy(self) -> None:
        for host in self.lab.hosts:
            self.lab.virsh(host, "destroy", NAME, check=False)
            self.lab.virsh(host, "undefine", NAME, check=False)

    def reset(self) -> None:
        """Bring it to kvm1, as it was made."""
        (host,) = self.hosts()
        if host != HERE:
            self.lab.migrate(NAME, host, HERE)
        try:
            self.lab.load(NAME, percent=5, dirty=0)
        except AssertionError:
            # The test before has failed: that one failure is enough.
            self.destroy()
            self.create()
        self.cap(-1)
        self.lab.virsh(HERE, "autostart", "--disable", NAME)
        for state in ("--live", "--config"):
            self.lab.virsh(HERE, "metadata", NAME, NAMESPACE, state, "--remove", check=False)

    def hosts(self) -> list[str]:
        return [host for host in self.lab.hosts if NAME in self.lab.active(host)]

    def cap(self, quota: int) -> None:
        self.lab.virsh(HERE, "schedinfo", NAME, "--live", "--config", f"global_quota={quota}")

    def quota(self, host: str, where: str = "--live") -> int:
        found = re.search(r"global_quota\s*:\s*(-?\d+)", self.lab.virsh(host, "schedinfo", NAME, where))
        assert found
        # Libvirt shows an unsigned 64-bit number of nanoseconds for none in places.
        return int(found[1]) if 0 < int(found[1]) < 2**43 else -1

    def xml(self, host: str) -> ET.Element:
        return ET.fromstring(self.lab.virsh(host, "dumpxml", NAME))

    def state(self, host: str) -> dict[str, t.Any]:
        """What the collection remembers about it."""
        element = self.xml(host).find(f"metadata/{{{NAMESPACE}}}state")
        if element is None:
            return {}
        return {
            "tags": [tag.text for tag in element.findall(f"{{{NAMESPACE}}}tag")],
            "last_moved_at": element.get("last_moved_at"),
            "moving": element.find(f"{{{NAMESPACE}}}move") is not None,
        }

    def remember(self, text: str) -> None:
        arguments = ("metadata", NAME, NAMESPACE, "--live", "--config", "--key", "balance", "--set", text)
        self.lab.virsh(HERE, *arguments)

    def migrate(
        self, *arguments: str, at: str = HERE, to: str = THERE, fails: bool = False, **options: t.Any
    ) -> dict[str, t.Any]:
        """Run the module and return its result, with what was printed in ``output``."""
        variables = {"domain": NAME, **options, "at": at, "destination": to}
        output = self.lab.playbook("tests/lab/migrate.yml", *arguments, fails=fails, **variables)
        return {**self.lab.saved("migrated.json"), "output": output}

    def start_migration(self, **options: t.Any) -> subprocess.Popen[str]:
        """Start the module, and come back when the copy is under way."""
        run = self.lab.start_playbook(
            "tests/lab/migrate.yml", domain=NAME, at=HERE, **{"destination": THERE, **options}
        )
        wait_for("a migration under way", lambda: "Unbounded" in self.lab.virsh(HERE, "domjobinfo", NAME))
        return run


@pytest.fixture(scope="module")
def made(whole_lab: Lab) -> t.Iterator[Mover]:
    mover = Mover(whole_lab)
    try:
        mover.create()
        yield mover
    finally:
        mover.remove()


@pytest.fixture
def mover(made: Mover) -> Mover:
    made.reset()
    return made


def test_a_domain_goes_and_comes_back_with_all_it_has(mover: Mover) -> None:
    before = mover.lab.status(NAME)
    mover.cap(50_000)
    mover.remember("<state><tag>web</tag><note>by hand</note></state>")
    mover.lab.virsh(HERE, "autostart", NAME)

    for at, to in ((HERE, THERE), (THERE, HERE)):
        result = mover.migrate("--diff", at=at, to=to)

        assert result["changed"]
        assert result["outcome"] == "on_destination"
        assert (result["source"]["host"], result["destination"]["host"]) == (at, to)
        assert result["bytes"] > 0
        assert 0 <= result["downtime_ms"] < 30_000
        assert result["seconds"] > 0
        assert result["iterations"] >= 1
        assert re.search(rf"^-.*host: {at}", result["output"], re.MULTILINE)
        assert mover.hosts() == [to]
        assert NAME not in mover.lab.virsh(at, "list", "--all", "--name").split()
        assert NAME in mover.lab.virsh(to, "list", "--autostart", "--name").split()
        for where in ("--live", "--config"):
            assert mover.quota(to, where) == 50_000
        state = mover.state(to)
        assert (state["tags"], state["moving"]) == (["web"], False)
        assert state["last_moved_at"] is not None
        assert "by hand" in mover.lab.virsh(to, "metadata", NAME, NAMESPACE)

    after = mover.lab.status(NAME)
    assert after["boot_id"] == before["boot_id"], "the guest was restarted"
    assert after["uptime_seconds"] > before["uptime_seconds"]


def test_already_there_is_no_change(mover: Mover) -> None:
    result = mover.migrate(at=THERE, to=HERE)

    assert not result["changed"]
    assert "skipped" not in result
    assert result["reason"] == f"{NAME} is already on {HERE}."
    assert mover.state(HERE) == {}


def test_check_mode_moves_nothing(mover: Mover) -> None:
    # What playbooks hand on about the destination.
    brief = mover.lab.module(THERE, "host_info", interval=0, shared_paths=[os.path.dirname(mover.disk)])["brief"]
    known = {f"destination_{name}": brief[name] for name in ("bridges", "mounts", "shared_memory_mib")}
    result = mover.migrate("--check", "--diff", memory_overcommit=1.5, **known)

    assert result["changed"]
    assert {"mounts", "bridge", "memory"} <= {check["check"] for check in result["checks"]}
    assert [check["check"] for check in result["checks"] if check["ok"] is not True] == []
    assert mover.hosts() == [HERE]
    assert mover.state(HERE) == {}


def test_a_plan_that_is_overtaken_is_skipped(mover: Mover) -> None:
    # It is to go from kvm2 to kvm3, and is on kvm1.
    result = mover.migrate(at=THERE, to=FAULTY)

    assert result["skipped"]
    assert result["reason"] == f"Neither {THERE} nor {FAULTY} has a domain {NAME}."
    assert mover.hosts() == [HERE]


def test_the_host_itself_is_refused(mover: Mover) -> None:
    result = mover.migrate(to=HERE, fails=True)

    assert f"is {HERE} itself" in result["msg"]
    assert mover.hosts() == [HERE]


def test_storage_that_nobody_declared_shared_is_refused(mover: Mover) -> None:
    # And what QEMU 7.2 cannot do.
    result = mover.migrate(shared_paths=[], post_copy=True, parallel_connections=2, fails=True)

    assert f" on {HERE} cannot have post_copy and parallel_connections together" in result["msg"]
    assert f"disk vda: {mover.disk} is not on shared storage" in result["msg"]
    assert mover.hosts() == [HERE]
    assert mover.state(HERE) == {}


def test_a_deadline_ends_it_and_the_guest_stays(mover: Mover) -> None:
    before = mover.lab.status(NAME)
    mover.cap(50_000)

    result = mover.migrate(fails=True, bandwidth_mib_s=1, timeout_seconds=5)

    assert result["aborted"]
    assert "it did not finish within 5 seconds (timeout_seconds)" in result["msg"]
    assert result["msg"].endswith(f"{NAME} is running on {HERE}.")
    assert not result["changed"]
    assert re.search(rf"{NAME} {HERE} -> {THERE}: \d+ % of \d+ MiB, [01]\.\d MiB/s, \d+ s left", result["output"])
    assert mover.hosts() == [HERE]
    assert mover.quota(HERE) == 50_000
    assert mover.state(HERE)["moving"] is False
    assert mover.state(HERE)["last_moved_at"] is None
    assert mover.lab.status(NAME)["boot_id"] == before["boot_id"]


def test_post_copy_moves_a_guest_that_is_too_busy(mover: Mover) -> None:
    before = mover.lab.status(NAME)
    mover.lab.load(NAME, percent=50, dirty=24)

    # Long before half of the time has passed it is seen that the copy does not catch up.
    result = mover.migrate(post_copy=True, bandwidth_mib_s=5, timeout_seconds=600)

    assert result["converging"] is False
    assert result["post_copied"]
    assert result["changed"]
    assert mover.hosts() == [THERE]
    assert mover.lab.status(NAME)["boot_id"] == before["boot_id"]


def test_a_transient_domain_stays_transient(mover: Mover) -> None:
    mover.lab.virsh(HERE, "undefine", NAME)

    mover.migrate()

    assert mover.hosts() == [THERE]
    assert NAME in mover.lab.virsh(THERE, "list", "--transient", "--name").split()


def test_the_weight_is_rewritten_for_another_cgroup_version(mover: Mover) -> None:
    version_2 = mover.lab.shell(HERE, "test -e /sys/fs/cgroup/cgroup.controllers && echo yes || echo no") == "yes"
    default, other = (100, 1) if version_2 else (1024, 2)
    mover.lab.virsh(HERE, "schedinfo", NAME, "--live", "--config", f"cpu_shares={default}")

    # Also in the background by the user's own choice, where Ansible itself waits for the end.
    result = mover.migrate(destination_cgroup_version=other, seconds_in_background=120)

    assert result["changed"]

    assert mover.xml(THERE).findtext("cputune/shares") == str(1124 - default)
    inactive = ET.fromstring(mover.lab.virsh(THERE, "dumpxml", "--inactive", NAME))
    assert inactive.findtext("cputune/shares") == str(1124 - default)


def test_what_the_collection_pinned_is_released_on_the_way(mover: Mover) -> None:
    # As domain_vcpu_pin leaves it. A host of the lab has one CPU online, though its kernel has more.
    mover.lab.virsh(HERE, "vcpupin", NAME, "0", "1", "--live", "--config")
    mover.remember("<state><tag>web</tag><before><pin vcpu='0' cpus='all'/></before></state>")

    assert mover.migrate()["changed"]

    for options in ((), ("--inactive",)):
        arrived = ET.fromstring(mover.lab.virsh(THERE, "dumpxml", *options, NAME))
        assert arrived.findall("cputune/vcpupin") == []
        assert arrived.findall(f"metadata/{{{NAMESPACE}}}state/{{{NAMESPACE}}}before") == []
    assert mover.lab.virsh(THERE, "vcpupin", NAME).split()[-1] != "1"
    assert mover.state(THERE)["tags"] == ["web"]


def test_a_destination_that_is_not_there(mover: Mover) -> None:
    mover.lab.fault(FAULTY, "partition")
    try:
        result = mover.migrate(to=FAULTY, fails=True)
    finally:
        mover.lab.fault(FAULTY, "heal")

    assert result["msg"].startswith(
        f"{NAME} was not moved from {HERE} to {FAULTY}, because {FAULTY} cannot be reached from {HERE}: "
    )
    assert mover.hosts() == [HERE]
    assert mover.state(HERE) == {}


def test_a_destination_that_is_lost_on_the_way(mover: Mover) -> None:
    before = mover.lab.status(NAME)
    mover.cap(50_000)
    run = mover.start_migration(destination=FAULTY, **SLOW)
    mover.lab.fault(FAULTY, "partition")
    try:
        output, _none = run.communicate(timeout=180)
        result = mover.lab.saved("migrated.json")
    finally:
        mover.lab.fault(FAULTY, "heal")

    assert run.returncode != 0, output
    assert result["outcome"] == "on_source"
    assert result["msg"].endswith(f"{NAME} is running on {HERE}; {FAULTY} does not answer.")
    assert not result["changed"]
    wait_for("one copy only", lambda: mover.hosts() == [HERE], seconds=90)
    assert mover.quota(HERE) == 50_000
    assert mover.state(HERE)["moving"] is False
    assert mover.lab.status(NAME)["boot_id"] == before["boot_id"]
    # And it can be done once the destination is back.
    assert mover.migrate(to=FAULTY)["changed"]


@pytest.mark.fault
@pytest.mark.parametrize("end", ["CONT", "KILL"])
def test_a_source_whose_daemon_hangs_on_the_way(mover: Mover, end: str) -> None:
    before = mover.lab.status(NAME)
    mover.cap(50_000)
    run = mover.start_migration(**SLOW)
    mover.lab.signal_daemon(HERE, "STOP")
    try:
        time.sleep(45)
    finally:
        mover.lab.signal_daemon(HERE, end)
    output, _none = run.communicate(timeout=300)
    result = mover.lab.saved("migrated.json")

    assert "outcome" in result, output
    assert run.returncode == (0 if result["outcome"] == "on_destination" else 2), output
    said = result["msg"] if "msg" in result else result["sentence"]
    assert said.startswith(NAME)
    (host,) = wait_for("one copy only", lambda: found if len(found := mover.hosts()) == 1 else None, seconds=90)
    # What this run could not put right, the next one does.
    mover.lab.module(host, "domain_finish_move", domain=NAME, host=host)
    assert mover.quota(host) == 50_000
    assert mover.state(host)["moving"] is False
    assert mover.lab.status(NAME)["boot_id"] == before["boot_id"]


def test_the_end_of_ansible_playbook_is_not_the_end_of_the_migration(mover: Mover) -> None:
    before = mover.lab.status(NAME)
    mover.cap(50_000)
    run = mover.start_migration(**SLOW)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()

    wait_for("the guest on the destination", lambda: mover.hosts() == [THERE])
    wait_for("the end of the module", lambda: mover.state(THERE)["moving"] is False)
    assert mover.quota(THERE) == 50_000
    assert mover.state(THERE)["last_moved_at"] is not None
    assert mover.lab.status(NAME)["boot_id"] == before["boot_id"]
    assert mover.migrate()["reason"] == f"{NAME} is already on {THERE}."


def test_the_next_run_finishes_what_a_killed_module_left(mover: Mover) -> None:
    mover.cap(50_000)
    mover.lab.virsh(HERE, "autostart", NAME)
    run = mover.start_migration(**SLOW)
    mover.lab.shell(HERE, "grep -lz '^LAB_TEST=migrate$' /proc/[0-9]*/environ | cut -d/ -f3 | xargs kill -KILL")
    output, _none = run.communicate(timeout=60)

    assert run.returncode != 0, output
    wait_for("the guest on the destination", lambda: mover.hosts() == [THERE])
    assert mover.quota(THERE) == -1
    assert mover.state(THERE)["moving"] is True

    assert NAME not in mover.lab.virsh(THERE, "list", "--autostart", "--name").split()

    result = mover.migrate()

    assert result["changed"]
    assert result["reason"] == f"{NAME} is already on {THERE}."
    assert (result["finished_move"]["source"], result["finished_move"]["cap"]) == (HERE, 50)
    assert mover.quota(THERE) == 50_000
    assert NAME in mover.lab.virsh(THERE, "list", "--autostart", "--name").split()
    assert not mover.migrate()["changed"]
    assert mover.state(THERE)["moving"] is False
    assert mover.state(THERE)["last_moved_at"] is not None
