# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Calm: run after run over a load that changes, each plan carried out, and no ping-pong."""

from __future__ import annotations

import random
import typing as t
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    domain,
    host,
    moves,
    snapshot,
)

ROUNDS = 200
EVERY = timedelta(minutes=5)
START = datetime(2026, 1, 31, tzinfo=UTC)
COOLDOWN = timedelta(seconds=1800)

Load = Callable[[int, int], tuple[float, float]]
"""Cores and CPU wait of a domain (by its number) in a round."""


class Moved(t.NamedTuple):
    round: int
    name: str
    at: datetime


def idle(number: int, name: str) -> float:
    """What a host itself uses of its CPU in a round."""
    return 0.0


def run(
    names: list[str], where: list[str], load: Load, policy: Json, own: Callable[[int, str], float] = idle
) -> Iterator[Moved]:
    """The moves of all rounds; ``where`` says where each domain is at first, and is kept up to date."""
    moved_at: dict[str, str] = {}
    uneven = 0
    for number in range(ROUNDS):
        now = START + number * EVERY
        guests = []
        for index, on in enumerate(where):
            cores, ready = load(number, index)
            name = f"d{index:02}"
            last = moved_at.get(name)
            guests.append(
                domain(name, on, cores=cores, cpu_ready=ready, mib=400 + 50 * (index % 7), last_moved_at=last)
            )
        marks = {"uneven_rounds": uneven}
        hosts = {name: host(threads=16, total=32000, usage=own(number, name), marks=marks) for name in names}
        found = plan(snapshot(hosts, *guests, taken_at=text(now)), policy)
        uneven = found["uneven_rounds"]
        for move in moves(found):
            where[int(move["name"][1:])] = move["destination"]
            moved_at[move["name"]] = text(now)
            yield Moved(number, move["name"], now)


def text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def noisy(seed: int, policy: Json, noise: float) -> list[Moved]:
    """The moves of a fleet whose domains use what they use on average, more or less."""
    chance = random.Random(seed)
    names = [f"kvm{i}" for i in range(6)]
    base = [chance.choice([0.3, 0.6, 1.0, 1.8]) for _index in range(48)]
    where = [chance.choice(names[:3]) for _index in range(48)]

    def load(number: int, index: int) -> tuple[float, float]:
        day = 0.75 + 0.25 * (number % 100) / 100  # all of them are busier at times
        return round(base[index] * day * chance.uniform(1 - noise, 1 + noise), 3), round(chance.uniform(0.0, 0.05), 3)

    return list(run(names, where, load, policy))


def later(found: list[Moved]) -> int:
    """How many of the moves were made after the fleet should have settled."""
    return sum(move.round >= 10 for move in found)


@pytest.mark.parametrize(
    ("policy", "noise"), [({}, 0.15), ({"target": 0.05, "minimum_gain": 0}, 0.15), ({"hold": 3}, 0.2)]
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_moves_nothing_once_the_fleet_has_settled(seed: int, policy: Json, noise: float) -> None:
    found = noisy(seed, policy, noise)

    assert found, "the fleet was uneven and nothing moved"
    assert later(found) == 0
    assert len(found) == len({move.name for move in found})


def test_hold_lets_only_lasting_differences_move_domains() -> None:
    # As noisy as this, hosts differ by more than the threshold now and then, but hardly ever in three rounds in a row.
    seeds = range(1, 7)
    at_once = sum(later(noisy(seed, {}, 0.3)) for seed in seeds)
    held = sum(later(noisy(seed, {"hold": 3}, 0.3)) for seed in seeds)

    assert at_once > 10
    assert held <= min(6, at_once / 4), "more than one move in 200 rounds"


@pytest.mark.parametrize("period", [1, 3, 7])
@pytest.mark.parametrize("hold", [1, 2])
def test_load_that_goes_to_and_fro_moves_no_domain_twice_within_a_cooldown(period: int, hold: int) -> None:
    # Something beside the domains keeps one of the two hosts busy, then the other, and so on.
    def own(number: int, name: str) -> float:
        return 0.6 if (name == "a") == (number // period % 2 == 0) else 0.0

    policy = {"hold": hold, "max_moves": None}
    found = list(run(["a", "b"], ["a", "b"] * 6, lambda _number, _index: (1.0, 0.0), policy, own))

    assert found
    last: dict[str, datetime] = {}
    for move in found:
        assert move.name not in last or move.at - last[move.name] >= COOLDOWN
        last[move.name] = move.at
