# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Rounds of moving memory between real guests: one that starves, one that has plenty, one without a balloon."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import Lab, Machines, wait_for

HOST = "kvm1"
STARVING, RICH, STIFF = "starving", "rich", "stiff"
GUESTS: tuple[dict[str, t.Any], ...] = (
    {"name": STARVING, "memory_mib": 320},
    {"name": RICH, "memory_mib": 512},
    {"name": STIFF, "memory_mib": 96, "balloon": False},
)
# Of domain_memory, by default.
MARGIN = 64
OPTIONS: dict[str, t.Any] = {
    "domains": [STARVING, RICH, STIFF],
    "interval": 1,
    "low_mib": 64,
    "high_mib": 128,
    "step_mib": 100,
    "margin_mib": 48,
    "minimum_mib": 96,
}


@pytest.fixture
def guests(quiet: Lab) -> t.Iterator[Lab]:
    lab = quiet
    with lab.more_guests(*({**guest, "host": HOST, "address": lab.address(111 + n)} for n, guest in enumerate(GUESTS))):
        # Only memory that a guest has once written to is worth taking. This one has, and has no use for it now.
        idle = wait_for("the rich guest's figures", lambda: memory(lab, RICH)["usable"], seconds=120)
        lab.load(RICH, dirty=160)
        wait_for("the rich guest's use of its memory", lambda: memory(lab, RICH)["usable"] < idle - 150, seconds=300)
        lab.load(RICH, dirty=1)
        wait_for("a guest with plenty of memory", lambda: memory(lab, RICH)["usable"] > idle - 50, seconds=300)
        lab.virsh(HOST, "setmem", STARVING, "160M", "--live")
        lab.load(STARVING, dirty=40)
        wait_for("a guest that starves", lambda: memory(lab, STARVING)["usable"] < OPTIONS["low_mib"], seconds=300)
        yield lab


def memory(lab: Lab, guest: str) -> dict[str, int]:
    """Size of the balloon and what the guest could still use, in MiB."""
    found = dict(re.findall(r"(\w+) (\d+)", lab.virsh(HOST, "dommemstat", guest)))
    return {name: int(found.get(name, 0)) // 1024 for name in ("actual", "usable")}


def needs(lab: Lab, guest: str) -> int:
    now = memory(lab, guest)
    return now["actual"] - now["usable"]


def test_a_guest_that_starves_gets_what_another_does_not_need(guests: Lab) -> None:
    before = {guest: memory(guests, guest)["actual"] for guest in (STARVING, RICH)}
    boots = {guest: guests.status(guest)["boot_id"] for guest in (STARVING, RICH, STIFF)}
    # The host is short: what is given must be taken first.
    available = guests.module(HOST, "host_info", interval=1)["observation"]["host"]["memory"]["available_mib"]
    rounds = []

    def one_round() -> bool:
        result = guests.module(HOST, "host_memory_balance", host_reserve_mib=available + 16, **OPTIONS)
        rounds.append(result)
        return bool(memory(guests, STARVING)["actual"] > before[STARVING])

    wait_for("memory for the guest that starves", one_round, seconds=300, seen=rounds)

    changes = [change for result in rounds for change in result["changes"]]
    assert {change["name"] for change in changes} == {STARVING, RICH}
    assert changes[0]["name"] == RICH, "memory was given that the host did not have"
    assert all(change["after_mib"] >= OPTIONS["minimum_mib"] for change in changes)
    assert memory(guests, RICH)["usable"] >= OPTIONS["margin_mib"]
    assert {guest: guests.status(guest)["boot_id"] for guest in boots} == boots
    for result in rounds:
        left = {domain["name"]: domain["code"] for domain in result["left_alone"]}
        assert left.pop(STIFF) == "no_device"
        # Figures that are too old, or from before a balloon moved, are not acted on: slow machines take more rounds.
        assert set(left.values()) <= ({"stale"} if isinstance(guests, Machines) else set())
        assert not left.keys() & {change["name"] for change in result["changes"]}
    assert [STIFF in result["stderr"] for result in rounds] == [True] + [False] * (len(rounds) - 1)

    # What a guest needs is not taken from it, so this one has to need less before it can have its former size again.
    guests.load(STARVING, dirty=1)
    wait_for("a guest that needs less", lambda: needs(guests, STARVING) + MARGIN < before[STARVING])
    # The machines of `make test-machines` are smaller than what hosts keep by default.
    guests.module(HOST, "domain_memory", state="released", host_reserve_mib=0)
    wait_for("the former sizes", lambda: {guest: memory(guests, guest)["actual"] for guest in before} == before)
