# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A target that can be reached is reached as cheaply as is found."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._placement import cheapest_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.descent import Descent
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.floors import Floors
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    domain,
    host,
    moves,
    snapshot,
)

CPU = {"weights": {"memory": 0, "vcpus": 0}, "exclude": {"names": ["stays"]}}
BIG, SMALL, STAYS = (
    domain("big", "a", cores=3.0, mib=4000),
    domain("small", "a", cores=2.0, mib=500),
    domain("stays", "a", cores=3.0),
)
WISH = {"pins": [{"domains": {"names": ["big"]}, "hosts": ["b"], "must": False}]}


def two(*domains: Json) -> Json:
    return snapshot({"a": host(), "b": host()}, *(dict(guest) for guest in domains))


@pytest.mark.parametrize(
    ("policy", "movers"),
    [
        ({"threshold": 0.6, "target": 0.5}, ["small"]),  # 8 to 0 becomes 6 to 2
        ({"threshold": 0.6, "target": 0.3}, ["big"]),  # 5 to 3: small is not enough
        ({"threshold": 0.6, "target": 0.0}, ["big"]),  # no target, so what gains most
        ({"threshold": 0.6, "target": 0.5, **WISH}, ["big"]),  # it also is where it should be
    ],
)
def test_a_cheaper_domain_moves_where_it_is_enough(policy: Json, movers: list[str]) -> None:
    found = plan(two(BIG, SMALL, STAYS), {**CPU, **policy})

    assert [move["name"] for move in moves(found)] == movers


@pytest.mark.parametrize(
    ("moved", "left"),
    [
        (["big", "small"], ["big"]),  # 3 to 5; without small 5 to 3
        (["big"], ["big"]),  # small would be cheaper, and not enough
        (["big", "small", "tiny"], ["big"]),
    ],
)
def test_moves_that_are_not_needed_are_taken_back(
    moved: list[str], left: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cheapest_plan, "_FACTORS", [])
    data = two(BIG, SMALL, STAYS, domain("tiny", "a", cores=0.1, mib=100))
    policy = {**CPU, "threshold": 0.6, "target": 0.3}
    fleet = Fleet(Snapshot.from_mapping(data), Policy.from_mapping(policy))
    rules = Rules(fleet)
    search = Descent(fleet, rules, Floors(fleet, rules))
    start = search.placement()
    for name in moved:
        search.put(fleet[name], fleet.hosts[1])

    cheapest_plan.cheapen(search, start)

    assert [guest.name for guest in fleet.domains if guest.moved] == left


def test_no_more_is_copied_for_a_wider_target() -> None:
    guests = [domain(f"d{i:02}", "abc"[i % 3 % 2], cores=0.1 + i % 7 / 5, mib=100 + i * 37 % 900) for i in range(30)]
    copied: list[float] = []
    for target in (0.4, 0.3, 0.2, 0.1, 0.05):
        data = snapshot({name: host(threads=20, total=20000) for name in "abc"}, *(dict(guest) for guest in guests))
        found: dict[str, t.Any] = plan(data, {"threshold": 0.4, "target": target, "max_moves": None, "minimum_gain": 0})
        assert found["spread"]["after"]["cpu"] <= target
        assert found["spread"]["after"]["memory"] <= target
        copied.append(sum(move["cost"]["mib"] for move in moves(found)))
    assert copied == sorted(copied)
