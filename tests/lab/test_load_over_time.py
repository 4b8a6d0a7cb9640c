# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Loads that change: what swings is left where it is, what is steadily too much is moved."""

from __future__ import annotations

import contextlib
import itertools
import threading
import typing as t
from functools import partial

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import AGENT_INTERVAL, Lab, wait_for
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import moves

pytestmark = pytest.mark.long

# Two hosts are enough: a third one without guests would be a good reason to move one there. Hosts of the lab share a
# few CPUs, and where others use these, guests want more than a host has; here it is about the difference between hosts.
POLICY = {"cooldown_seconds": 0, "ignore_hosts": ["kvm3"], "trigger": ["spread"], "cpu_limit": 10}
BY_THE_MOMENT = {"demand": "observation", "host_demand": "observation"}
HISTORY: dict[str, t.Any] = {"balance_history": 3, "balance_history_step": AGENT_INTERVAL}
HALVES = (("web-1", "web-2"), ("db-1", "db-2"))
SWING_SECONDS = 30
BUSY = 25


@contextlib.contextmanager
def swinging(lab: Lab) -> t.Iterator[t.Callable[[], int]]:
    """Have one half of the guests busy, then the other half, and so on; gives the number of changes so far."""
    end, changes = threading.Event(), 0

    def swing() -> None:
        nonlocal changes
        for busy, idle in itertools.cycle((HALVES, HALVES[::-1])):
            lab.loads(dict.fromkeys(busy, BUSY) | dict.fromkeys(idle, 0))
            changes += 1
            if end.wait(SWING_SECONDS):
                return

    thread = threading.Thread(target=swing)
    thread.start()
    try:
        yield lambda: changes
    finally:
        end.set()
        thread.join()
        lab.rest()


def swung_more_than(changes: t.Callable[[], int], number: int) -> bool:
    return changes() > number


def planned(lab: Lab, **policy: t.Any) -> list[tuple[str, str]]:
    """The moves that a run would make now: the guest and where it would go."""
    lab.playbook("rebalance", "--check", balance_policy={**POLICY, **policy}, **HISTORY)
    return [(move["name"], move["destination"]) for move in moves(lab.saved("plan.json"))]


@pytest.mark.usefixtures("agents")
def test_a_load_that_swings_is_left_alone_and_one_that_is_steadily_too_much_is_moved(lab: Lab) -> None:
    for guest in HALVES[1]:
        lab.migrate(guest, "kvm1", "kvm2")
    with swinging(lab) as changes:
        wait_for("three minutes of swinging load", lambda: changes() > 6, seconds=400, pause=1)
        by_the_moment, by_history = [], []
        for number in range(7, 11):
            # In the middle of a half, so that all that is observed is of one half.
            wait_for("the next half", partial(swung_more_than, changes, number), seconds=120, pause=1)
            lab.status(HALVES[0][0])
            by_history.append(planned(lab))
            by_the_moment.append(planned(lab, **BY_THE_MOMENT))
    assert [found for found in by_the_moment if found], "nothing would be moved by the moment either"
    assert by_history == [[]] * len(by_history)

    lab.loads(dict.fromkeys(HALVES[0], 60))

    def relieved() -> bool:
        lab.playbook("rebalance", balance_policy=POLICY, **HISTORY)
        return bool(moves(lab.saved("plan.json")))

    wait_for("a move from kvm1, which is steadily too full", relieved, seconds=300, pause=1)
    # Perhaps in exchange for guests that rest.
    assert set(HALVES[0]) & {move["name"] for move in moves(lab.saved("plan.json")) if move["source"] == "kvm1"}
    assert {guest: len(hosts) for guest, hosts in lab.placement().items()} == dict.fromkeys(lab.guests, 1)
