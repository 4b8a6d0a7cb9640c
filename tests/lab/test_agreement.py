# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Hosts are asked whether the moves of a plan can be made; the answers are those of real destinations."""

from __future__ import annotations

import copy
import typing as t
import uuid
import xml.etree.ElementTree as ET

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import Lab
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import ways

HERE, THERE, NEWER = "kvm1", "kvm2", "kvm3"
BRIDGE = "<interface type='bridge'><source bridge='br7'/><model type='virtio'/></interface>"
NETWORK = "<interface type='network'><source network='seven'/><model type='virtio'/></interface>"
SEVEN = "<network><name>seven</name><forward mode='bridge'/><bridge name='br7'/></network>"
LOCAL = "<disk type='file'><source file='/root/local.img'/><target dev='vdb' bus='virtio'/></disk>"


class Guests:
    """Transient domains without an operating system, and what hosts have for them."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        pattern = ET.fromstring(lab.virsh(HERE, "dumpxml", "--inactive", "web-1"))
        devices = pattern.find("devices")
        assert devices is not None
        for parent, path in ((pattern, "uuid"), (pattern, "metadata")):
            for element in parent.findall(path):
                parent.remove(element)
        for kind in ("disk", "interface", "serial", "console", "controller"):
            for element in devices.findall(kind):
                devices.remove(element)
        self.pattern = pattern
        self.made: list[tuple[str, str]] = []

    def xml(self, name: str, device: str | None = None, **texts: str) -> ET.Element:
        root = copy.deepcopy(self.pattern)
        for path, text in {"name": name, **texts}.items():
            element = root.find(path)
            assert element is not None
            element.text = text
        ET.SubElement(root, "uuid").text = str(uuid.uuid4())
        devices = root.find("devices")
        assert devices is not None
        if device is not None:
            devices.append(ET.fromstring(device))
        return root

    def create(self, host: str, root: ET.Element, how: str = "create") -> str:
        """Start it, or define it, and return its UUID."""
        name, found = root.findtext("name") or "", root.findtext("uuid") or ""
        path = self.lab.run_dir / f"{name}.xml"
        path.write_text(ET.tostring(root, encoding="unicode"))
        self.made.append((host, name))
        self.lab.virsh(host, how, str(path))
        return found

    def remove(self) -> None:
        for _host, name in self.made:
            for host in self.lab.hosts:
                if name not in self.lab.guests:
                    self.lab.virsh(host, "destroy", name, check=False)
                if host != HERE or name not in self.lab.guests:
                    self.lab.virsh(host, "undefine", name, check=False)


@pytest.fixture
def guests(lab: Lab) -> t.Iterator[Guests]:
    found = Guests(lab)
    network = lab.run_dir / "seven.xml"
    network.write_text(SEVEN)
    for host in (HERE, NEWER):
        lab.shell(host, "ip link add br7 type bridge; ip link set br7 up")
    try:
        yield found
    finally:
        found.remove()
        for host in (HERE, NEWER):
            lab.shell(host, "ip link delete br7", check=False)
        lab.virsh(HERE, "net-destroy", "seven", check=False)
        lab.shell(HERE, "rm -f /root/local.img")


def ask(lab: Lab, at: str, *pairs: tuple[str, str], **options: t.Any) -> list[t.Any]:
    result = lab.module(
        at,
        "domain_migrate_info",
        source=at,
        questions=[{"domain": domain, "destination": host} for domain, host in pairs],
        destinations=[{"name": host, "uri": lab.uri(host)} for host in lab.hosts],
        shared_paths=[f"{lab.directory}/images"],
        **options,
    )
    assert not result["changed"]
    return t.cast("list[t.Any]", result["answers"])


def refusals(answer: t.Any) -> list[tuple[str, str | None, t.Any]]:
    return [(check["check"], check["kind"], check["about"]) for check in answer["checks"] if check["ok"] is False]


def test_a_refused_pair_is_planned_around_in_the_same_run(lab: Lab, guests: Guests) -> None:
    guests.create(HERE, guests.xml("needs-br7", BRIDGE))
    policy = {
        "strategy": "drain",
        "drained_hosts": [HERE],
        "include": {"names": ["web-1", "needs-br7"]},
        "cooldown_seconds": 0,
        # The hosts of the lab are as busy as the machine, and a limit counts more than a wish.
        "cpu_limit": 10,
        # Where it would go as long as nobody refuses it, whatever the load of the moment is.
        "pins": [{"domains": {"names": ["web-1"]}, "hosts": [NEWER], "must": False}],
    }
    lab.playbook("rebalance", "--check", balance_policy=policy)
    first = {name: destination for name, _source, destination in ways(lab.saved("plan.json"))}
    # kvm2 has no such bridge.
    assert first["needs-br7"] == NEWER

    taken = first["web-1"]
    assert taken == NEWER
    twin = guests.create(taken, guests.xml("web-1"), "define")
    told = (
        f"Asked and refused: web-1 to {taken}: {taken} already has another domain of this name, with the UUID {twin}."
    )
    lab.playbook("rebalance", "--check", balance_policy=policy)
    # In which order the moves of one wave are listed hangs on the load of the moment.
    planned, notes = sorted(ways(lab.saved("plan.json"))), lab.saved("plan.json")["notes"]
    assert told in notes
    assert ("web-1", HERE, taken) not in planned
    assert len(planned) == 2

    lab.playbook("rebalance", balance_policy=policy)
    plan = lab.saved("plan.json")
    assert sorted(ways(plan)) == planned
    assert told in plan["notes"]
    assert [move["agreed"] for wave in plan["waves"] for move in wave["moves"]] == [True, True]
    assert lab.saved("outcome.json")["count"] == {"moved": 2, "skipped": 0, "failed": 0, "not_started": 0}
    assert lab.placement()["web-1"] != [taken]


def test_every_kind_of_refusal_is_the_destinations_own(lab: Lab, guests: Guests) -> None:
    lab.virsh(HERE, "net-create", str(lab.run_dir / "seven.xml"))
    lab.shell(HERE, "truncate -s 1M /root/local.img")
    twin = guests.create(THERE, guests.xml("web-1"), "define")
    web = lab.virsh(HERE, "domuuid", "web-1")
    db = lab.virsh(HERE, "domuuid", "db-1")
    needs = {
        name: guests.create(HERE, guests.xml(name, device))
        for name, device in (("needs-br7", BRIDGE), ("needs-seven", NETWORK), ("needs-disk", LOCAL))
    }
    large = guests.create(HERE, guests.xml("large", memory=str(4 * 1024**2)))
    newest = guests.xml("newer")
    machine = newest.find("os/type")
    assert machine is not None
    machine.set("machine", "q35")
    newer = guests.create(NEWER, newest)
    modern = guests.xml("modern")
    cpu = modern.find("cpu")
    assert cpu is not None
    cpu.append(ET.fromstring("<feature policy='require' name='sha-ni'/>"))
    modern_cpu = guests.create(NEWER, modern)

    answers = ask(
        lab,
        HERE,
        *((domain, THERE) for domain in (web, db, *needs.values(), large, str(uuid.uuid4()))),
        (db, HERE),
        (needs["needs-br7"], NEWER),
    )
    taken, good, bridge, network, disk, memory, gone, itself, there = answers
    assert (good["ok"], refusals(good)) == (True, [])
    assert [check["about"] > 0 for check in good["checks"] if check["check"] == "memory"] == [True]
    assert refusals(taken) == [("names_free", None, None)]
    assert twin in next(check["message"] for check in taken["checks"] if check["ok"] is False)
    assert refusals(bridge) == [("bridge", "bridge", "br7")]
    assert refusals(network) == [("network", "network", "seven")]
    assert refusals(disk) == [("blockers", "domain", None)]
    ((check, kind, about),) = refusals(memory)
    assert (check, kind) == ("memory", "memory")
    assert 0 < about < 4 * 1024
    assert refusals(gone) == [("domain", "domain", None)]
    assert refusals(itself) == [("both_hosts", None, None)]
    assert there["ok"] is True

    # An older QEMU knows neither the machine type of a newer one nor all that its CPU can.
    for answer, kind in zip(ask(lab, NEWER, (newer, THERE), (modern_cpu, THERE)), ("machine", "cpu"), strict=True):
        assert (kind, kind, None) in refusals(answer), answer


def test_a_destination_that_hangs_or_is_not_there_holds_up_no_other(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    # The other part of the inventory asks the hosts itself who their guests are.
    monkeypatch.setattr(lab, "inventory", lab.inventory / "hosts.yml")
    web = lab.virsh(HERE, "domuuid", "web-1")
    lab.signal_daemon(NEWER, "STOP")
    try:
        hung, good = ask(lab, HERE, (web, NEWER), (web, THERE), timeout_seconds=5)
    finally:
        lab.signal_daemon(NEWER, "CONT")
    assert (good["ok"], hung["ok"]) == (True, None)
    assert hung["checks"][0]["message"] == f"Cannot ask {NEWER}: libvirt did not answer within 5 seconds"

    result = lab.module(
        HERE,
        "domain_migrate_info",
        questions=[{"domain": web, "destination": "nobody"}, {"domain": web, "destination": THERE}],
        destinations=[
            {"name": "nobody", "uri": f"qemu+tcp://{lab.address(250)}/system"},
            {"name": THERE, "uri": lab.uri(THERE)},
        ],
        shared_paths=[f"{lab.directory}/images"],
    )
    nobody, good = result["answers"]
    assert (good["ok"], nobody["ok"]) == (True, None)
    assert nobody["checks"][0]["message"].startswith(f"Cannot connect to qemu+tcp://{lab.address(250)}/system")
