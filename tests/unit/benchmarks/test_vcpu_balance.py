# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What the benchmark of the vCPU rounds says, on hosts that are small enough for a test."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.benchmarks import vcpu_balance


@pytest.fixture(scope="module")
def rows() -> dict[tuple[int, str], dict[str, t.Any]]:
    return {(row["part"], row["rule"]): row for row in vcpu_balance.measure(["8x24"], hosts=6, rounds=30, seed=3)}


@pytest.mark.parametrize("part", [1, 2])
@pytest.mark.parametrize("figure", ["spread", "waiting"])
def test_spread_is_better_than_the_rule_of_the_predecessor(
    rows: dict[tuple[int, str], dict[str, t.Any]], part: int, figure: str
) -> None:
    before, seed, spread = (rows[part, rule][figure] for rule in ("(as it was)", "busiest_freest", "spread"))
    assert spread < 0.5 * seed < 0.5 * before


@pytest.mark.parametrize("part", [1, 2])
def test_spread_moves_less_than_a_half_of_what_lpt_moves(
    rows: dict[tuple[int, str], dict[str, t.Any]], part: int
) -> None:
    assert rows[part, "spread"]["repinned"] < 0.5 * rows[part, "lpt"]["repinned"]


def test_a_round_leaves_nothing_for_the_next(rows: dict[tuple[int, str], dict[str, t.Any]]) -> None:
    assert rows[1, "spread"]["rounds"] == 1


def test_vcpus_share_a_cpu() -> None:
    host = vcpu_balance.Host([vcpu_balance.Cpu(0, own=0.1)], [0.1, 1.0, 0.9], {0: 0, 1: 0, 2: 0})
    assert vcpu_balance.got(host) == pytest.approx([0.1, 0.4, 0.4])
    assert vcpu_balance.state(host) == {"spread": 0.0, "waiting": pytest.approx(0.0)}, "one CPU is too small for it"
