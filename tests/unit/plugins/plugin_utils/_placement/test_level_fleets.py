# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Trigger and aim agree: a fleet that is uneven enough to act is level afterwards, and a level resource gives way."""

from __future__ import annotations

import random
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    carried_out,
    domain,
    host,
    moves,
    snapshot,
)

SIZES = (768_000, 256_000, 256_000)


def desktops(sizes: t.Sequence[int], per_host: int, mib: int, chance: random.Random | None = None) -> Json:
    """Equal domains, as many on each of hosts that differ in memory alone; ``chance`` varies what they use of a CPU."""
    hosts = {f"kvm{number}": host(threads=64, total=total) for number, total in enumerate(sizes)}
    guests = (
        domain(f"{on}-{index:02}", on, 0.5 if chance is None else chance.uniform(0.2, 0.8), mib)
        for on in hosts
        for index in range(per_host)
    )
    return snapshot(hosts, *guests)


def states(found: Json) -> list[tuple[float, float]]:
    """CPU and memory of the hosts after the plan."""
    return [(state["after"]["cpu"], state["after"]["memory"]) for state in found["hosts"].values()]


def test_a_level_cpu_gives_way_to_uneven_memory() -> None:
    data = desktops(SIZES, 13, 16_000)

    found = plan(data)

    assert found["verdict"] == "move"
    assert found["spread"]["before"]["memory"] == pytest.approx(0.5417, abs=1e-3)
    assert found["spread"]["after"]["memory"] <= 0.14
    assert found["spread"]["after"]["cpu"] <= 0.14
    assert len(moves(found)) <= 10
    again = plan(carried_out(data, found))
    assert (again["verdict"], moves(again)) == ("balanced", [])


def test_of_a_hundred_such_fleets_nearly_all_end_below_the_threshold() -> None:
    chance = random.Random(1)
    told = []
    for _fleet in range(100):
        sizes = [chance.choice((256_000, 384_000, 768_000)) for _host in range(chance.randint(3, 8))]
        mib = chance.choice((8_000, 16_000))
        data = desktops(sizes, int(0.8 * min(sizes) / mib), mib, chance)
        found = plan(data, {"max_moves": None})
        if max(found["spread"]["after"].values()) > 0.2:
            told.append(found["why"])
        else:
            again = plan(carried_out(data, found), {"max_moves": None})
            assert moves(again) == [], "a level fleet moves again"
    assert len(told) <= 5, told
