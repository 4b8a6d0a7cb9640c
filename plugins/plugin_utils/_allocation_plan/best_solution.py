# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The best answer to an allocation problem, compared with leaving everything where it is.

Leaving everything in place is an answer too, and wins unless another one is worth more. So a second run, which starts
from the result of the first, changes nothing.
"""

from __future__ import annotations

import math
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation import registry as allocations
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.problem import Problem
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.registry import Answer
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.fewest_moves import settle
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.participants import Participants
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason

_BETTER = 1e-6


@dataclass(frozen=True, slots=True)
class Solution:
    """An answer, and the domains that stay on their host because it has no room for them elsewhere, with the reason."""

    problem: Problem
    answer: Answer
    stranded: dict[str, Reason]

    def moves(self, homes: Mapping[str, str]) -> int:
        """How many domains would move."""
        return sum(homes.get(label, host) != host for label, (host, _cpu) in self.answer.placed.items())

    def totals(self) -> dict[str, t.Any]:
        """Utility, watts and objective of the answer; the utility without the bonus that keeps domains running."""
        problem, answer = self.problem, self.answer
        utility = math.fsum(problem.domains[label].share * cpu for label, (_host, cpu) in answer.placed.items())
        return {
            "utility": round(utility, 6),
            "watts": None if answer.watts is None else round(answer.watts, 1),
            "watts_source": "modelled",
            "objective": round(utility - problem.power_weight * (answer.watts or 0.0), 6),
        }

    def host_totals(self, name: str) -> dict[str, t.Any] | None:
        """What is allocated on a host; None for a host that takes no part."""
        if name not in self.answer.hosts:
            return None
        offered, used = self.problem.hosts[name], self.answer.hosts[name]
        return {
            "cpu_cores": round(used["cpu_used"], 6),
            "cpu_offered_cores": round(offered.cores, 6),
            "memory_mib": round(used["memory_used_mib"]),
            "memory_offered_mib": round(offered.memory_mib),
            "watts": None if used["watts"] is None else round(used["watts"], 1),
            "domains": used["domains"],
        }

    def sentence(self) -> str:
        """A sentence about how much of the fleet is used."""
        hosts, placed = self.answer.hosts, len(self.answer.placed)
        used = sum(bool(host["domains"]) for host in hosts.values())
        sentence = f"{placed} domain{'s' * (placed != 1)} on {used} of {len(hosts)} hosts that can be used"
        watts = self.answer.watts
        return sentence + (f", which draw {watts:.0f} W (modelled)." if watts is not None else ".")


def best_solution(participants: Participants) -> Solution:
    """The answer that is worth most after the cost of its moves; of equal ones, the one with the fewest moves."""
    homes, move_gain = participants.homes, participants.settings.move_gain

    def better(one: Solution, other: Solution) -> bool:
        worths = [solution.answer.objective - move_gain * solution.moves(homes) for solution in (one, other)]
        return worths[0] > worths[1] + _BETTER + _BETTER * _BETTER * abs(worths[1])

    best = _solve(participants, {label: home for label, home in homes.items() if participants.may_stay(label)})
    free = _solve(participants, {})
    if free.answer.objective > best.answer.objective:
        for other in (_solve(participants, settle(free.problem, free.answer.placed, homes)), free):
            best = other if better(other, best) else best
    return best


def _solve(participants: Participants, pins: Mapping[str, str]) -> Solution:
    """Solve the problem. A domain that must run but finds no room stays on its host; the others fit around it."""
    settings = participants.settings
    stranded: dict[str, Reason] = {}
    while True:
        problem = participants.problem(pins, stranded)
        answer = allocations.allocate(problem, settings.strategy, settings.parameters)
        more = {
            label: reason
            for label, reason in answer.left_out.items()
            if label in participants.domains and participants.wanted[label].settings.must_run
        }
        if not more:
            return Solution(problem, answer, stranded)
        stranded.update(more)
