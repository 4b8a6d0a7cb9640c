# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Xen for real: what the hosts say, weight and cap, memory, live moves of PVH guests, PV guests that stay."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import Lab, wait_for

pytestmark = pytest.mark.xen

FIRST, SECOND = "xen1", "xen2"
URI = "xen:///system"
PVH, PV = ("web-1", "web-2"), "db-1"
# Each host has one CPU, of which 0.9 are offered. One host less saves 100 W, each of which costs a thousandth.
ALLOCATION = {"power_weight": 0.001, "power": {"idle_watts": 100, "max_watts": 150}}


def xl(lab: Lab, host: str, *arguments: str) -> dict[str, str]:
    """What `xl info` and the like say, line by line."""
    said = lab.shell(host, "xl " + " ".join(arguments))
    return {name.strip(): value.strip() for name, _colon, value in (line.partition(":") for line in said.splitlines())}


def scheduled(lab: Lab, host: str, guest: str) -> tuple[int, int]:
    """Weight and cap as Xen has them."""
    said = lab.shell(host, f"xl sched-credit2 -d {guest}").splitlines()[-1].split()
    return int(said[2]), int(said[3])


def cores(lab: Lab, host: str, guest: str, seconds: int = 20) -> float:
    """The CPU time that a guest gets, in cores, by Xen's own count."""
    look = f"xl list {guest} | tail -n 1 | tr -s ' ' | cut -d ' ' -f 6; cut -d ' ' -f 1 /proc/uptime"
    before, begin, after, end = map(float, lab.shell(host, f"{look}; sleep {seconds}; {look}").split())
    return (after - before) / (end - begin)


def free(lab: Lab) -> None:
    for guest, (host,) in lab.placement().items():
        lab.shell(host, f"xl sched-credit2 -d {guest} -w 256 -c 0")


@pytest.fixture
def untuned(lab: Lab) -> t.Iterator[Lab]:
    """Afterwards every guest has the usual weight and no cap."""
    yield lab
    free(lab)


def test_host_info_says_what_xen_says(lab: Lab) -> None:
    observation = lab.module(FIRST, "host_info", uri=URI, interval=5)["observation"]
    host, domains = observation["host"], {domain["name"]: domain for domain in observation["domains"]}
    info = xl(lab, FIRST, "info")

    assert host["hypervisor"] == {"type": "Xen", "version": f"{info['xen_major']}.{info['xen_minor']}.0"}
    assert host["memory"]["total_mib"] == int(info["total_memory"])
    assert abs(host["memory"]["available_mib"] - int(info["free_memory"])) < 64
    assert host["cpu"]["threads"] == int(info["nr_cpus"])
    assert 0 < host["cpu"]["usage"] <= 1
    # Those of Domain-0 tell nothing of the guests.
    assert (host["cpu"]["pressure"], host["memory"]["pressure"]) == (None, None)
    assert host["domain_types"] == ["xen"]
    assert "br0" in host["bridges"]
    assert sorted(domains) == sorted(lab.guests)
    for name, domain in domains.items():
        assert (domain["type"], domain["machine"]) == ("xen", "xenpv" if name == PV else "xenpvh")
        assert domain["memory"]["current_mib"] == 160
        assert (domain["weight"], domain["cap"], domain["cpu_ready"]) == (1.0, 0, None)
        assert all(disk["shared"] for disk in domain["disks"])
        assert [blocker["code"] for blocker in domain["blockers"]] == (["shadow_paging"] if name == PV else [])


def test_weight_and_cap_are_those_of_the_scheduler_and_hold(untuned: Lab) -> None:
    lab = untuned
    lab.load("web-1", percent=100)
    options: dict[str, t.Any] = {"uri": URI, "domain": "web-1", "cap": 25, "weight": 2.0}
    would = lab.module(FIRST, "domain_cputune", check=True, **options)
    assert scheduled(lab, FIRST, "web-1") == (256, 0)
    done, again = (lab.module(FIRST, "domain_cputune", **options) for _time in range(2))

    assert (would["changed"], done["changed"], again["changed"]) == (True, True, False)
    assert scheduled(lab, FIRST, "web-1") == (512, 25)
    assert cores(lab, FIRST, "web-1") == pytest.approx(0.25, abs=0.04)


def test_memory_is_given_back_and_never_taken(lab: Lab) -> None:
    lab.shell(FIRST, "xl mem-set web-2 128m")
    wait_for("the smaller balloon", lambda: xl_memory(lab, "web-2") <= 129)
    options: dict[str, t.Any] = {"uri": URI, "domain": "web-2", "host_reserve_mib": 64, "timeout_seconds": 120}

    refused = lab.module(FIRST, "domain_memory", memory_mib=100, minimum_mib=64, fails=True, **options)
    assert "none is taken from web-2" in refused["msg"]
    assert xl_memory(lab, "web-2") <= 129

    done, again = (lab.module(FIRST, "domain_memory", memory_mib=160, **options) for _time in range(2))
    assert (done["changed"], done["live"], again["changed"]) == (True, 160, False)
    assert xl_memory(lab, "web-2") >= 159


def xl_memory(lab: Lab, guest: str) -> int:
    return int(lab.shell(FIRST, f"xl list {guest}").splitlines()[-1].split()[2])


def test_what_xen_does_not_offer_is_told_in_one_sentence(lab: Lab) -> None:
    pin = lab.module(FIRST, "domain_vcpu_pin", uri=URI, domain="web-1", cpus="0", fails=True)
    assert pin["msg"] == "Libvirt for Python cannot pin vCPUs on Xen. For web-1 use xl vcpu-pin."
    assert not lab.module(FIRST, "domain_vcpu_pin", uri=URI, state="released")["changed"]
    for module in ("host_vcpu_balance", "host_memory_balance"):
        assert "Xen" in lab.module(FIRST, module, uri=URI, fails=True)["msg"]


def move(lab: Lab, guest: str, source: str, destination: str, **more: t.Any) -> dict[str, t.Any]:
    uri = f"xen+ssh://root@{destination}/system"
    done: dict[str, t.Any] = lab.module(
        source, "domain_migrate", uri=URI, domain=guest, destination=destination, destination_uri=uri, **more
    )
    return done


def test_a_pvh_guest_moves_live_with_weight_and_cap(untuned: Lab) -> None:
    lab, guest = untuned, "web-1"
    boot = lab.status(guest)["boot_id"]
    lab.module(FIRST, "domain_cputune", uri=URI, domain=guest, cap=40, weight=1.5)

    for source, destination in ((FIRST, SECOND), (SECOND, FIRST)):
        done = move(lab, guest, source, destination)
        assert (done["changed"], done["outcome"]) == (True, "on_destination"), done
        assert lab.placement()[guest] == [destination]
        assert scheduled(lab, destination, guest) == (384, 40)
        assert guest not in lab.virsh(source, "list", "--all", "--name").split()
    assert lab.status(guest)["boot_id"] == boot


def test_a_pv_guest_is_refused_before_it_is_touched(lab: Lab) -> None:
    boot = lab.status(PV)["boot_id"]
    done = move(lab, PV, FIRST, SECOND, fails=True)
    assert "built without shadow paging" in done["msg"]
    assert lab.placement()[PV] == [FIRST]
    assert lab.status(PV)["boot_id"] == boot
    assert "unfinished" not in lab.virsh(FIRST, "dumpxml", PV)


def test_rebalance_moves_what_can_be_moved(loaded: Lab) -> None:
    lab = loaded
    before = {guest: lab.status(guest)["boot_id"] for guest in lab.guests}

    said = lab.playbook("rebalance", balance_interval=None)

    plan, outcome = lab.saved("plan.json"), lab.saved("outcome.json")
    moved = {move["name"] for wave in plan["waves"] for move in wave["moves"]}
    assert moved, said
    assert moved <= set(PVH)
    assert outcome["problem"] is None, said
    assert {guest for guest, places in lab.placement().items() if places == [SECOND]} == moved
    assert re.search(rf"{PV} on {FIRST}: the Xen of this host is built without shadow paging", said)
    assert {guest: lab.status(guest)["boot_id"] for guest in lab.guests} == before
    again = lab.playbook("rebalance", balance_interval=None, balance_policy={"threshold": 0.5})
    assert lab.saved("plan.json")["waves"] == []
    assert set(re.findall(r"changed=(\d+)", again)) == {"0"}


def test_pemm_allocates_cpu_and_opens_the_second_host(untuned: Lab) -> None:
    lab = untuned
    before = {guest: lab.status(guest)["boot_id"] for guest in lab.guests}
    domains = {
        "web-1": {"cpu_min": 0.3, "cpu_max": 0.4, "share": 2},
        "web-2": {"cpu_min": 0.4, "cpu_max": 0.5},
        PV: {"cpu_min": 0.3, "cpu_max": 0.4},
    }

    # Domain-0 uses its part of the only CPU, which nothing else may have.
    said = lab.playbook(
        "allocate", balance_domains=domains, balance_allocation=ALLOCATION, balance_policy={"cooldown_seconds": 0}
    )

    plan = lab.saved("plan.json")["domains"]
    assert {told["host"]["after"] for told in plan.values()} == {FIRST, SECOND}, said
    assert plan[PV]["host"]["after"] == FIRST
    for guest, told in plan.items():
        host = told["host"]["after"]
        assert lab.placement()[guest] == [host]
        weight, cap = scheduled(lab, host, guest)
        assert (weight, cap) == (round(256 * told["weight"]["after"]), round(told["cap"]["after"])), guest
    assert {guest: lab.status(guest)["boot_id"] for guest in lab.guests} == before
