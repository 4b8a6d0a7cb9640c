# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._report.plan_table import plan_table
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import domain, host, snapshot

GOLDEN = """\
MOVE 2 domains in 1 wave: about 2 s, 235 MiB to copy.
CPU use differs by 45 points between kvm1 and kvm2; the policy accepts 20.

NOTES
  kvm4 is unknown: no domain is moved from or to it. (ssh: timed out)

HOST  CPU %                    MEMORY %                 DOMAINS
kvm1   45 ->  15 [##........]    3 ->   1 [..........]    3 ->  1
kvm2    0 ->  15 [##........]    0 ->   1 [..........]    0 ->  1
kvm3    0 ->  15 [##........]    0 ->   1 [..........]    0 ->  1
kvm4  unknown
score  1.335 -> 0.000 (0 = all hosts alike, below every limit)
CPU % is what domains want now: no history is known.

NOT ASKED: no host was asked whether these moves can be made.

WAVE 1: 2 moves, about 2 s, 235 MiB
   1  d0  kvm1 -> kvm2     118 MiB 1.2 s  kvm1 45 -> 30, kvm2 0 -> 15 % CPU
   2  d1  kvm1 -> kvm3     118 MiB 1.2 s  kvm1 30 -> 15, kvm3 0 -> 15 % CPU"""


def test_golden() -> None:
    hosts = {name: host() for name in ("kvm1", "kvm2", "kvm3")}
    hosts["kvm4"] = {"state": "unknown", "problem": "ssh: timed out"}
    data = snapshot(hosts, *(domain(f"d{i}", "kvm1", cores=1.5) for i in range(3)))
    assert plan_table(plan(data)) == GOLDEN


def test_limits_are_told() -> None:
    hosts = {"kvm1": host(), "kvm2": host(), "kvm3": host(networks=[])}
    guests = [
        domain(f"d{i}", "kvm1", cores=1.5, interfaces=[{"type": "network", "source": "default"}]) for i in range(4)
    ]
    lines = plan_table(plan(snapshot(hosts, *guests), {"max_moves_in": 1})).splitlines()
    reasons = "kvm3 has no active network default; kvm2 takes at most 1 domain a wave"
    assert f"not elsewhere or earlier: {reasons}" in " ".join(" ".join(lines).split())


def test_long_names_fit() -> None:
    hosts = {f"{'h' * 30}{i}": host() for i in range(2)}
    guests = [domain(f"{'d' * 30}{i}", "h" * 30 + "0", cores=2.0) for i in range(4)]
    table = plan_table(plan(snapshot(hosts, *guests)))
    assert "\n      125 MiB 1.2 s, hhh" in table
    assert max(map(len, table.splitlines())) <= 100


def test_nothing_to_move() -> None:
    data = snapshot({"a": host(), "b": host()}, domain("x", "a"))
    assert plan_table(plan(data)).splitlines()[:2] == [
        "BALANCED: nothing to move.",
        "CPU use differs by 10 points between hosts at most, memory use by 1; the policy accepts 20.",
    ]


def test_names_cannot_harm_the_terminal() -> None:
    evil = "\x1b[2J\u202e" + "n" * 200
    hosts = {"h" * 90: host(), "\x1bhost": host()}
    blocked = [{"code": "tpm", "message": "x\n" * 100}]
    guests = [
        domain(evil, "h" * 90, cores=3.0),
        domain("d1", "h" * 90, cores=3.0),
        domain("d2", "h" * 90, cores=3.0, blockers=blocked),
    ]
    table = plan_table(plan(snapshot(hosts, *guests)))
    assert "\x1b" not in table
    assert "\u202e" not in table
    assert "\\x1b[2J\\u202ennnnnnnnnn…" in table
    assert max(map(len, table.splitlines())) <= 100


def test_refused_with_reasons() -> None:
    guests = [
        domain("big", "a", cores=3.0, mib=4000),
        domain("tpm", "a", cores=4.0, blockers=[{"code": "tpm", "message": "has a TPM"}]),
    ]
    table = plan_table(plan(snapshot({"a": host(), "b": host(used=6000), "c": host(state="unknown")}, *guests)))
    assert table.startswith("STUCK: nothing can be moved.\n")
    assert (
        "NOT MOVED\n  tpm on a: has a TPM\n  big on a\n    b: may grow to 4000 MiB of memory, and b has 3000 MiB left"
        in table
    )


def test_large_fleets_are_cut() -> None:
    data = snapshot({f"h{i:03d}": host() for i in range(60)}, *(domain(f"d{i}", "h000", cores=1.0) for i in range(4)))
    lines = plan_table(plan(data)).splitlines()
    assert "… and 20 more" in lines
    assert any(line.startswith("h000") for line in lines)


@pytest.mark.parametrize("thing", [None, [], {}, {"schema": 1, "waves": []}])
def test_not_a_plan(thing: t.Any) -> None:
    with pytest.raises(BalanceError, match="needs a plan"):
        plan_table(thing)
