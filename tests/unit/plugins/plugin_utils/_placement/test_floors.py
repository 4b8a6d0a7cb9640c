# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A difference that one domain alone makes is told, and does not make run after run move others."""

from __future__ import annotations

import random

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


def with_a_giant(chance: random.Random, *, hosts: int = 4, giant_mib: int = 14_000) -> Json:
    """Equal hosts of 20 GB, each with small domains; one has a giant besides."""
    names = [f"kvm{number}" for number in range(hosts)]
    guests = [domain(f"{on}-{i}", on, chance.uniform(0.1, 0.4), 400 + 60 * (i % 5)) for on in names for i in range(7)]
    return snapshot(
        {name: host(threads=32, total=20_000) for name in names}, *guests, domain("giant", "kvm0", 0.3, giant_mib)
    )


def noisy(data: Json, chance: random.Random) -> Json:
    """The same domains, which use a little more or less."""
    guests = [
        {**guest, "cpu_cores": guest["cpu_cores"] * chance.uniform(0.8, 1.2)} for guest in data["domains"].values()
    ]
    return snapshot({name: host(threads=32, total=20_000) for name in data["hosts"]}, *guests)


@pytest.mark.parametrize("seed", range(5))
def test_a_giant_is_told_and_no_run_after_the_first_moves_anything(seed: int) -> None:
    chance = random.Random(seed)
    data = with_a_giant(chance, hosts=chance.randint(3, 6))

    first = plan(data)

    assert "giant" not in {move["name"] for move in moves(first)}
    told = [
        note for note in first["notes"] if note.startswith("kvm0 cannot be levelled: with giant alone it is at 70 %")
    ]
    assert len(told) == 1
    data = carried_out(data, first)
    for _run in range(20):
        again = plan(noisy(data, chance))
        assert (again["verdict"], moves(again)) == ("stuck", []), again["why"]
        assert again["why"].endswith("No move can make that less.")
        assert told[0].split(":")[0] in " ".join(again["notes"])


def test_what_is_beside_a_giant_still_leaves() -> None:
    data = with_a_giant(random.Random(1))
    beside = [
        guest["name"] for guest in data["domains"].values() if guest["host"] == "kvm0" and guest["name"] != "giant"
    ]

    found = plan(data)

    assert found["verdict"] == "move"
    assert {move["name"] for move in moves(found)} <= set(beside)
    assert found["hosts"]["kvm0"]["after"]["memory"] < found["hosts"]["kvm0"]["before"]["memory"]


def test_the_others_are_levelled_among_each_other() -> None:
    # The giant alone keeps kvm0 far above the others; of these one has all there is.
    guests = [domain(f"d{i}", "kvm1", 0.2, 1_200) for i in range(8)]
    hosts = {f"kvm{number}": host(threads=32, total=20_000) for number in range(4)}
    data = snapshot(hosts, *guests, domain("giant", "kvm0", 0.3, 16_000))

    found = plan(data)

    after = [found["hosts"][name]["after"]["memory"] for name in ("kvm1", "kvm2", "kvm3")]
    assert max(after) - min(after) <= 0.1
    assert {move["source"] for move in moves(found)} == {"kvm1"}
    assert moves(plan(carried_out(data, found))) == []


def test_one_that_fits_a_larger_host_is_no_giant() -> None:
    hosts = {"small": host(threads=32, total=20_000), "large": host(threads=32, total=80_000)}
    data = snapshot(hosts, domain("big", "small", 0.3, 14_000), domain("x", "large", 0.3, 8_000))

    found = plan(data)

    assert "big" in {move["name"] for move in moves(found)}
    assert not any("cannot be levelled" in note for note in found["notes"])
