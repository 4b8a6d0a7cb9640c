# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Private to the collection: candidates -> the answer that is worth most, compared with what is.

To stay is an answer as well, and wins unless another one is worth more. So a second run, which starts from what the
first one made, changes nothing.
"""

from __future__ import annotations

import math
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation import registry as allocations
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.problem import Problem
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.registry import Answer
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.candidates import Candidates
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.fewest_moves import settle
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason

_BETTER = 1e-6


@dataclass(frozen=True, slots=True)
class Solution:
    """An answer, and the domains that had to stay where they are because it has no place for them, with the reason."""

    problem: Problem
    answer: Answer
    stranded: dict[str, Reason]

    def moves(self, homes: Mapping[str, str]) -> int:
        """How many domains would move."""
        return sum(homes.get(label, host) != host for label, (host, _cpu) in self.answer.placed.items())

    def figures(self) -> dict[str, t.Any]:
        """The figures of the answer; the utility without what keeps domains from being left out."""
        problem, answer = self.problem, self.answer
        utility = math.fsum(problem.domains[label].share * cpu for label, (_host, cpu) in answer.placed.items())
        return {
            "utility": round(utility, 6),
            "watts": None if answer.watts is None else round(answer.watts, 1),
            "watts_source": "modelled",
            "objective": round(utility - problem.power_weight * (answer.watts or 0.0), 6),
        }

    def host_figures(self, name: str) -> dict[str, t.Any] | None:
        """What of a host is handed out; None for one that takes no part."""
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
        """How much of the fleet is used, for a person."""
        hosts, placed = self.answer.hosts, len(self.answer.placed)
        used = sum(bool(host["domains"]) for host in hosts.values())
        sentence = f"{placed} domain{'s' * (placed != 1)} on {used} of {len(hosts)} hosts that can be used"
        watts = self.answer.watts
        return sentence + (f", which draw {watts:.0f} W (modelled)." if watts is not None else ".")


def best_solution(candidates: Candidates) -> Solution:
    """Return the answer that is worth most, moves counted; of equal ones that with the fewest moves."""
    homes, move_gain = candidates.homes, candidates.how.move_gain

    def better(one: Solution, other: Solution) -> bool:
        worths = [solution.answer.objective - move_gain * solution.moves(homes) for solution in (one, other)]
        return worths[0] > worths[1] + _BETTER + _BETTER * _BETTER * abs(worths[1])

    best = _solve(candidates, {label: home for label, home in homes.items() if candidates.may_stay(label)})
    free = _solve(candidates, {})
    if free.answer.objective > best.answer.objective:
        for other in (_solve(candidates, settle(free.problem, free.answer.placed, homes)), free):
            best = other if better(other, best) else best
    return best


def _solve(candidates: Candidates, pins: Mapping[str, str]) -> Solution:
    """Solve; what runs and must run, but finds no place, stays where it is, and the rest is solved around it."""
    how = candidates.how
    stranded: dict[str, Reason] = {}
    while True:
        problem = candidates.problem(pins, stranded)
        answer = allocations.allocate(problem, how.strategy, how.parameters)
        more = {
            label: reason
            for label, reason in answer.left_out.items()
            if label in candidates.domains and candidates.wishes[label].figures.must_run
        }
        if not more:
            return Solution(problem, answer, stranded)
        stranded.update(more)
