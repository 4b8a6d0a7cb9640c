# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The plan that the documentation works out by hand is the one that the engine makes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "docsite" / "rst" / "how_a_plan_is_made.rst").read_text(encoding="utf-8")
SNAPSHOT = json.loads((DOCS / "snapshots" / "demo.json").read_text(encoding="utf-8"))
POLICY = Policy.from_mapping({})
ROUNDED = 6e-5
"""Figures of the tables have four digits, and products are rounded once more."""
RESOURCES = ["CPU wanted", "Memory", "CPU wanted and not got", "vCPUs per thread"]


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(Snapshot.from_mapping(SNAPSHOT), POLICY)


def table(text: str) -> dict[str, list[float]]:
    """The rows of a table of figures by their name: three hosts, centre (limits have none), cost, weight, product."""
    found = {}
    for row in text.split("   * - ")[1:]:
        figures = re.findall(r"^     - ([\d.]+)$", row, re.MULTILINE)
        if figures:
            found[row.splitlines()[0]] = [float(figure) for figure in figures]
    return found


def assert_score(text: str, fleet: Fleet, said: str) -> None:
    """What a table says is what the fleet has, and the sum of its products is the score that is said."""
    shown, score, weights = table(text), fleet.score, POLICY.weights
    assert list(shown) == [*RESOURCES, "Above limits"]
    for number, (name, weight) in enumerate(
        zip(RESOURCES, (weights.cpu, weights.memory, weights.cpu_ready, weights.vcpus), strict=True)
    ):
        uses = [host.use[number] for host in fleet.hosts]
        centre, cost = sum(score.edges(number)) / 2, sum(score.tangent(use, number)[0] for use in uses)
        assert shown[name] == pytest.approx([*uses, centre, cost, weight, weight * cost], abs=ROUNDED), name
    excess = [
        max(0, host.use[0] - POLICY.cpu_limit) + max(0, host.use[1] - POLICY.memory_limit) for host in fleet.hosts
    ]
    assert shown["Above limits"] == pytest.approx([*excess, sum(excess), 1.0, sum(excess)], abs=ROUNDED)
    assert f"{sum(figures[-1] for figures in shown.values()):.3f}" == f"{score.value():.3f}" == said
    assert f"**{said}**" in text


def test_what_domains_want(fleet: Fleet) -> None:
    rows = re.findall(r"^(\S+) +([\d.]+) +([\d.]+) +([\d.]+)$", PAGE, re.MULTILINE)

    assert sorted(rows) == sorted(
        (domain.name, f"{domain.facts.cpu_cores:.3f}", f"{domain.facts.cpu_ready:.3f}", f"{domain.demand[0]:.3f}")
        for domain in fleet.domains
    )


def test_scores_and_steps(fleet: Fleet) -> None:
    before, after = PAGE.split("After the moves:")
    made = plan(SNAPSHOT, {})
    hosts = {host.name: host for host in fleet.hosts}
    domains = {domain.name: domain for domain in fleet.domains}
    steps = re.findall(r"^(\d) +(\S+) +(kvm\d) +([\d.]+)$", after, re.MULTILINE)

    assert_score(before, fleet, "32.360")
    assert [(int(number), name, host) for number, name, host, _score in steps] == [
        (move["number"], move["name"], move["destination"]) for wave in made["waves"] for move in wave["moves"]
    ]
    for _number, name, host, score in steps:
        fleet.move(domains[name], hosts[host])
        assert f"{fleet.score.value():.3f}" == score
    assert_score(after, fleet, "0.053")
    assert [f"{made['score'][when]:.3f}" for when in ("before", "after")] == ["32.360", "0.053"]
