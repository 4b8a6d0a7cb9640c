# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.virtops.balance.benchmarks.planner import checker
from ansible_collections.virtops.balance.benchmarks.planner.engines import Request, every
from ansible_collections.virtops.balance.benchmarks.planner.engines.virtops import AS_HBAL
from ansible_collections.virtops.balance.benchmarks.planner.fleets import generate
from ansible_collections.virtops.balance.benchmarks.planner.hbal_format import score
from ansible_collections.virtops.balance.benchmarks.planner.snapshot import snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot

OURS = [name for name in every() if name.startswith("virtops")]


def test_engines_register_by_name() -> None:
    assert {"hbal", "optimal", "proxlb", "proxlb-repeated", "virtops"} <= set(every())
    assert all(engine.install for engine in every().values() if engine.module or engine.program)


@pytest.mark.parametrize("name", OURS)
def test_our_engine_ends_where_no_rule_is_broken(tmp_path: Path, name: str) -> None:
    fleet = generate(10, 100, "spread", 1)
    outcome = every()[name].run(fleet, Request(60, tmp_path, {"row": {"moves": 9, "memory_spread": 0.4}}))
    placement = outcome.placement(fleet)
    assert outcome.ordered
    assert checker.final(fleet, placement) == {}
    assert score(fleet, placement) < score(fleet, fleet.placement)
    if name == "virtops-hbal-moves":
        assert sum(map(len, outcome.waves)) <= 9


def test_as_hbal_weighs_what_hbal_weighs() -> None:
    """What hbal looks at counts the same for equal differences between hosts, all else nothing."""
    fleet = generate(10, 100, "clustered", 1)
    seen = Fleet(Snapshot.from_mapping(snapshot(fleet)), Policy.from_mapping(AS_HBAL))
    centre = [sum(seen.score.edges(resource)) / 2 for resource in range(4)]
    slopes = seen.score.slopes([use + 1e-9 for use in centre], leaving=True)
    assert slopes == pytest.approx((1.0, 1.0, 0.0, 1.0), abs=1e-6)
