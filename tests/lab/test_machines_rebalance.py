# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The main job on hosts as people have them: Debian 13 with systemd, cgroup v2, AppArmor and KVM guests on NFS."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import Lab, wait_for

pytestmark = pytest.mark.machines


def shown(lab: Lab, host: str, guest: str) -> dict[str, str]:
    """Weight, cap, pin and autostart as virsh shows them."""
    schedule = dict(re.findall(r"(\w+) *: *(\S+)", lab.virsh(host, "schedinfo", guest)))
    return {
        "shares": schedule["cpu_shares"],
        "cap": schedule["global_quota"],
        "pin": lab.virsh(host, "vcpupin", guest, "0", "--live").split()[-1],
        "autostart": re.findall(r"Autostart: +(\S+)", lab.virsh(host, "dominfo", guest))[0],
    }


def test_an_overloaded_machine_is_relieved_and_the_next_run_moves_nothing(loaded: Lab) -> None:
    lab = loaded
    before = {guest: lab.status(guest) for guest in lab.guests}

    said = lab.playbook("rebalance", balance_interval=None)

    plan, outcome = lab.saved("plan.json"), lab.saved("outcome.json")
    moved = sorted(move["name"] for wave in plan["waves"] for move in wave["moves"])
    assert moved, said
    assert outcome["problem"] is None
    assert sorted(guest for guest, places in lab.placement().items() if places == ["kvm2"]) == moved
    for guest, was in before.items():
        now = lab.status(guest)
        assert now["boot_id"] == was["boot_id"], f"{guest} was restarted"
        assert now["uptime_seconds"] > was["uptime_seconds"]
    # Two and two: nothing that a second run could better. What emulation makes of the load is noisy.
    again = lab.playbook("rebalance", balance_interval=None, balance_policy={"threshold": 0.4})
    assert lab.saved("plan.json")["waves"] == []
    assert re.findall(r"changed=(\d+)", again) == ["0"] * len(re.findall(r"changed=", again))


@pytest.fixture
def older_cpu(lab: Lab) -> t.Iterator[Lab]:
    """The second machine has an older CPU, with nothing of AVX."""
    lab.playbook("lab_up", "--limit", "kvm2", lab_cpu_models={"kvm2": "Opteron_G3,+npt"})
    yield lab
    # Its guests have to leave before it is switched off.
    lab.gather()
    lab.playbook("lab_up", "--limit", "kvm2")


@pytest.mark.usefixtures("older_cpu")
def test_an_older_cpu_gets_only_what_it_can_run(lab: Lab) -> None:
    webs, databases = {"web-1", "web-2"}, {"db-1", "db-2"}
    lab.loads(dict.fromkeys(webs, 60))

    # Whether a plan tries a database is up to the loads, and a run that tried one would fail.
    lab.playbook("rebalance", balance_interval=None, balance_policy={"exclude": {"names": sorted(databases)}})

    outcome = lab.saved("outcome.json")
    went = {guest for guest, places in lab.placement().items() if places == ["kvm2"]}
    # The web servers have a model that both hosts have.
    assert went, outcome
    assert went <= webs, outcome
    assert {move["name"] for move in outcome["moves"] if move["outcome"] == "moved"} == went
    # The databases have that of their host, which is known before anything is touched.
    for guest in sorted(databases):
        done = lab.module(
            "kvm1", "domain_migrate", domain=guest, destination="kvm2", destination_uri=lab.uri("kvm2"), fails=True
        )
        assert done["msg"].startswith(f"{guest} cannot be moved from kvm1 to kvm2: kvm2 cannot offer its CPU: "), done
        assert lab.placement()[guest] == ["kvm1"]


def test_a_move_keeps_cap_weight_pins_and_autostart(lab: Lab) -> None:
    guest = "web-1"
    boot = lab.status(guest)["boot_id"]
    lab.module("kvm1", "domain_cputune", domain=guest, cap=60, weight=2.0)
    lab.virsh("kvm1", "vcpupin", guest, "0", "0", "--live", "--config")
    lab.virsh("kvm1", "autostart", guest)
    wanted = {"shares": "200", "cap": "60000", "pin": "0", "autostart": "enable"}
    assert shown(lab, "kvm1", guest) == wanted

    # The way back by ssh from host to host, as most have it.
    for source, destination, uri in (
        ("kvm1", "kvm2", lab.uri("kvm2")),
        ("kvm2", "kvm1", "qemu+ssh://root@kvm1/system"),
    ):
        done = lab.module(source, "domain_migrate", domain=guest, destination=destination, destination_uri=uri)
        assert (done["changed"], done["outcome"]) == (True, "on_destination"), done
        assert lab.placement()[guest] == [destination]
        assert shown(lab, destination, guest) == wanted
        assert guest not in lab.virsh(source, "list", "--all", "--name").split()
    assert lab.status(guest)["boot_id"] == boot

    # What was never set stays unset: nothing writes the figures for "no quota" into a definition.
    other = lab.virsh("kvm1", "dumpxml", "--inactive", "web-2")
    assert "quota" not in other
    lab.virsh("kvm1", "autostart", "--disable", guest)
    lab.virsh("kvm1", "vcpupin", guest, "0", "r", "--live", "--config")
    lab.module("kvm1", "domain_cputune", domain=guest, cap=0, weight=1.0)


def test_a_transient_domain_stays_transient(lab: Lab) -> None:
    guest = "db-1"
    definition = lab.run_dir / "db-1.xml"
    definition.write_text(lab.virsh("kvm1", "dumpxml", "--inactive", guest))
    lab.virsh("kvm1", "undefine", guest)
    try:
        done = lab.module("kvm1", "domain_migrate", domain=guest, destination="kvm2", destination_uri=lab.uri("kvm2"))
        assert done["outcome"] == "on_destination", done
        assert lab.placement()[guest] == ["kvm2"]
        assert "Persistent:     no" in lab.virsh("kvm2", "dominfo", guest)
        assert guest not in lab.virsh("kvm1", "list", "--all", "--name").split()
    finally:
        (place,) = lab.placement()[guest]
        lab.virsh(place, "define", str(definition))


def test_host_info_says_what_the_host_itself_says(lab: Lab) -> None:
    lab.module("kvm1", "domain_cputune", domain="web-1", cap=50)
    observation = lab.module("kvm1", "host_info", interval=2)["observation"]
    host, domains = observation["host"], {domain["name"]: domain for domain in observation["domains"]}

    assert host["cgroup_version"] == 2
    assert host["hostname"] == "kvm1"
    assert "kvm" in host["domain_types"]
    assert "br0" in host["bridges"]
    assert host["libvirt_version"] in lab.shell("kvm1", "libvirtd --version")
    facts = dict(re.findall(r"(\w+):\s+(\d+) kB", lab.shell("kvm1", "cat /proc/meminfo")))
    assert host["memory"]["total_mib"] == int(facts["MemTotal"]) // 1024
    assert abs(host["memory"]["available_mib"] - int(facts["MemAvailable"]) / 1024) < 200
    assert host["cpu"]["threads"] == int(lab.shell("kvm1", "nproc"))
    assert 0 <= host["cpu"]["usage"] <= 1
    assert None not in (host["cpu"]["pressure"], host["memory"]["pressure"])

    # By systemd's own reading each guest is a scope of its own in machine.slice, with the cap that was set.
    tree = lab.shell("kvm1", "systemd-cgls --no-pager --full /machine.slice")
    scopes = re.findall(r"machine-qemu\\x2d\d+\\x2d(\S+)\.scope", tree)
    assert sorted(scope.replace(r"\x2d", "-") for scope in scopes) == sorted(domains)
    limit = lab.shell("kvm1", r"cat /sys/fs/cgroup/machine.slice/machine-qemu*web*1.scope/libvirt/cpu.max")
    assert (
        "50000 100000"
        in limit.splitlines()
        + lab.shell("kvm1", r"cat /sys/fs/cgroup/machine.slice/machine-qemu*web*1.scope/cpu.max").splitlines()
    )
    assert {name: domain["cap"] for name, domain in domains.items()} == {
        name: 50 if name == "web-1" else 0 for name in domains
    }
    assert {domain["weight"] for domain in domains.values()} == {1.0}
    assert {domain["type"] for domain in domains.values()} == {"kvm"}
    for domain in domains.values():
        assert all(disk["shared"] for disk in domain["disks"]), domain["disks"]
        assert None not in (domain["cpu_cores"], domain["cpu_ready"], domain["memory"]["rss_mib"])
    lab.module("kvm1", "domain_cputune", domain="web-1", cap=0)


def test_a_daemon_that_is_killed_comes_back_by_its_socket(lab: Lab) -> None:
    pid = lab.shell("kvm1", "systemctl show --property=MainPID --value libvirtd.service")
    lab.shell("kvm1", f"kill -KILL {pid}; systemctl stop libvirtd.service 2>/dev/null; true")
    # The first that asks starts it anew; its guests never stopped.
    found = lab.module("kvm1", "host_info", interval=1)["observation"]
    assert sorted(domain["name"] for domain in found["domains"]) == sorted(lab.guests)

    new = lab.shell("kvm1", "systemctl show --property=MainPID --value libvirtd.service")
    assert new not in (pid, "0")
    assert {domain["state"] for domain in found["domains"]} == {"running"}


def test_a_daemon_that_is_killed_on_the_way_leaves_one_guest(lab: Lab) -> None:
    guest = "web-2"
    boot = lab.status(guest)["boot_id"]
    started = lab.start_playbook(
        "tests/lab/migrate.yml", at="kvm1", domain=guest, destination="kvm2", bandwidth_mib_s=3, shared_paths=[]
    )
    try:
        wait_for(
            "the copy", lambda: "Memory processed" in lab.virsh("kvm1", "domjobinfo", guest, check=False), seconds=300
        )
        lab.shell("kvm1", "systemctl kill --signal=KILL libvirtd.service")
    finally:
        output = started.communicate(timeout=600)[0]
    assert started.returncode != 0, output

    wait_for("one running guest", lambda: len(lab.placement()[guest]) == 1, seconds=120)
    (place,) = lab.placement()[guest]
    assert lab.virsh(place, "domstate", guest) == "running"
    assert lab.status(guest)["boot_id"] == boot
