# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Plans that are cut because moves are stranded: worth their moves, and nothing is left that moves domains back."""

from __future__ import annotations

import random
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._plan import plan as planning
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils._plan.test_plan_properties import (
    GROUPS,
    REPAIRS,
    check_steps,
)
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    carried_out,
    domain,
    host,
    moves,
    snapshot,
)


def tight(seed: int) -> tuple[Json, Json]:
    """A few hosts whose memory is nearly full, and a policy with rules; the same for the same seed."""
    chance = random.Random(seed)
    names = [f"kvm{number}" for number in range(chance.randint(3, 6))]
    carriers = {
        name: host(threads=8, total=8000, usage=chance.choice([0.0, 0.1]), tags=[f"rack-{number % 3}"])
        for number, name in enumerate(names)
    }
    fill, tagged = chance.uniform(0.7, 0.9), chance.random() < 0.6
    guests: list[Json] = []
    for name in names:
        room, busy = 8000 * fill, chance.uniform(0.2, 1.4)
        while (mib := chance.choice([500, 1000, 1500, 2000, 2500, 3000])) <= room:
            room -= mib
            tags = [chance.choice(["db", "web", "app"])] if tagged and chance.random() < 0.35 else []
            cores, vcpus = round(chance.uniform(0.0, 2.0) * busy, 2), chance.choice([1, 2, 2, 4])
            guests.append(domain(f"d{len(guests):02}", name, cores, mib, vcpus=vcpus, tags=tags))
    policy = {
        "max_moves": chance.choice([None, None, 10]),
        "threshold": chance.choice([0.05, 0.2]),
        "minimum_gain": chance.choice([0.0, 0.1]),
        "max_moves_in": chance.randint(1, 3),
        "max_moves_out": chance.randint(1, 3),
        "max_moves_per_wave": None,
        "cpu_limit_strict": chance.random() < 0.3,
        "drained_hosts": names[:1] if chance.random() < 0.1 else [],
        "anti_affinity": [{"name": "db", "domains": GROUPS["db"]}] if chance.random() < 0.4 else [],
        "affinity": [{"name": "app", "domains": {"tag": "app"}}] if chance.random() < 0.3 else [],
        "failure_domains": [],
        "pins": [],
        "reserves": [],
    }
    return snapshot(carriers, *guests), policy


@pytest.fixture
def stranded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many moves were stranded each time that moves were ordered."""
    found: list[int] = []
    order = planning.order

    def counted(*given: t.Any) -> t.Any:
        result = order(*given)
        found.append(len(result.stranded))
        return result

    monkeypatch.setattr(planning, "order", counted)
    return found


def paid(found: Json) -> float:
    """What the moves of a plan cost by the default policy, in score."""
    return sum(0.005 + 0.0005 * move["cost"]["mib"] / 1024 for move in moves(found))


def test_a_cut_plan_is_worth_its_moves_and_the_next_run_moves_nothing(stranded: list[int]) -> None:
    cut, stuck = 0, 0
    for seed in range(350):
        data, policy = tight(seed)
        stranded.clear()
        found = plan(data, policy)
        if not any(stranded[:1]):
            continue
        cut += 1
        check_steps(data, policy, found)
        moved = {move["domain"] for move in moves(found)}
        most = policy["max_moves"] or len(data["domains"])
        assert len(moved) <= most
        if not REPAIRS & {move["resource"] for move in moves(found)}:
            assert not moves(found) or found["score"]["after"] + paid(found) < found["score"]["before"], seed
        stuck += not moves(found)
        again = moves(plan(carried_out(data, found), policy))
        assert not again or len(moved | {move["domain"] for move in again}) > most, seed
    assert cut > 80, "too few of these fleets strand moves"
    assert stuck < cut / 10, "most cut plans have moves"


def test_what_two_runs_find_is_found_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fleets = [tight(seed) for seed in (5, 163, 171, 244, 321, 391, 514, 802, 837, 1180)]
    together = [plan(*case)["score"]["after"] for case in fleets]
    monkeypatch.setattr(planning, "_STAGES", 1)
    monkeypatch.setattr(planning, "_TRIES", 1)
    alone = [plan(*case)["score"]["after"] for case in fleets]

    assert sum(together) < 0.7 * sum(alone)
