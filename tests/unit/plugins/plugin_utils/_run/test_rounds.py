# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""How many rounds of questions a large uneven fleet takes, with recorded answers."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._run import agreement
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    answer,
    domain,
    host,
    moves,
    snapshot,
)

HOSTS, DRAINED, EACH = 200, 10, 20
POOL: Json = {"disks": [{"target": "vda", "source": "ssd/x", "type": "volume", "shared": True, "readonly": False}]}
SECRET: Json = {"secrets": ["key"]}


def is_new(number: int) -> bool:
    return number >= HOSTS // 2


def uneven_fleet(needs: t.Sequence[Json]) -> Json:
    """Ten hosts that are to be emptied of domains with these needs, one after the other. The last half of the hosts is
    new: they are empty, so that every plan likes them best, and have neither the pool nor the secret."""
    hosts = {
        f"kvm{number:03}": host(threads=32, total=100000, usage=0.0 if is_new(number) else 0.3)
        for number in range(HOSTS)
    }
    guests = [
        domain(
            f"d{number:03}",
            f"kvm{number // EACH:03}",
            **{"secrets": [], "disks": [], **needs[number % len(needs)]},
        )
        for number in range(DRAINED * EACH)
    ]
    return snapshot(hosts, *guests)


def told(data: Json, question: Json, *, kinds: bool) -> Json:
    """What a destination answers, with the kinds of refusals or, as if there were none, without."""
    guest, name = data["domains"][question["domain"]], question["destination"]
    new = is_new(int(name.removeprefix("kvm")))
    lacking = [
        *([("pool", "ssd", f"{name} has no storage pool ssd")] if new and guest["disks"] else ()),
        *([("secret", "key", f"{name} does not have the secret key")] if new and guest["secrets"] else ()),
    ]
    checks = [
        {"check": kind, "ok": False, "message": message, "kind": kind if kinds else None, "about": about}
        for kind, about, message in lacking
    ]
    return answer(question["domain"], name, not checks, *checks)


def agree(data: Json, *, kinds: bool) -> tuple[Json, list[int]]:
    """Plan, ask and plan again as the role does, as often as the policy says by itself. Return the last plan, and how
    many of the answers of each round were refusals."""
    policy = {"strategy": "drain", "drained_hosts": [f"kvm{number:03}" for number in range(DRAINED)]}
    answers: list[Json] = []
    found = plan(data, policy)
    refused = []
    for _round in range(found["policy"]["agree_rounds"]):
        questions = agreement.questions(found, data["domains"], answers)
        new = [told(data, one, kinds=kinds) for many in questions.values() for one in many]
        answers += new
        refused.append(sum(one["ok"] is False for one in new))
        found = plan(data, policy, answers=answers)
    return found, refused


@pytest.mark.parametrize(
    "needs",
    [
        pytest.param([{**POOL, **SECRET}, {}], id="every other one needs both"),
        pytest.param([POOL, SECRET, {}], id="some need the one, some the other"),
        pytest.param([POOL, SECRET, {**POOL, **SECRET}], id="all need something"),
    ],
)
def test_half_of_200_hosts_lack_what_many_domains_need(needs: list[Json]) -> None:
    data = uneven_fleet(needs)
    found, refused = agree(data, kinds=True)
    assert len(moves(found)) == DRAINED * EACH
    assert [move["agreed"] for move in moves(found)] == [True] * (DRAINED * EACH)
    assert (len(refused), refused[-1]) == (3, 0)
    # One by one, it is not even half way after as many rounds.
    found, refused = agree(data, kinds=False)
    assert sum(move["agreed"] is True for move in moves(found)) <= DRAINED * EACH // 2
    assert min(refused) >= DRAINED * EACH // 2
