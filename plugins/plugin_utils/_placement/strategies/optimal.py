# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The strategy ``optimal``: the lowest possible score plus price of moves, for small fleets.

Definition: the objective of ``balance`` is minimised at once, as a mixed-integer program solved by CP-SAT of OR-tools.
It acts when ``balance`` would, and starts from the placement of a descent. It does not stop at the target: any move
that gains more than its price is made. Where the fleet is level, and hosts have to be relieved all the same, it does
that as ``balance`` does.

The score is a sum of convex functions of the use of each host, which are not linear. Each is bounded from below by its
tangents: a few fixed ones, and those at every placement found so far (outer approximation: Duran and Grossmann, 1986;
Kelley's cutting planes, 1960). The program finds a placement, which gives the next tangents, until the program's
objective equals the true one or the time is over. A descent continues from each placement. The answer is the best
placement found, with a lower bound for all placements.

Choices: no host that was above a limit gets fuller, and no other host gets above a limit. Wishes are not part of the
program, so they loosen the bound; they count when placements are compared. Rules that the program does not contain are
evaluated for each placement, and a refused placement is excluded. Time is the deterministic time of CP-SAT (a unit is
about a second on a fast core) with one worker and a fixed seed: the same input gives the same plan everywhere.

Complexity: exponential.

Source: Perron and Didier, CP-SAT, part of Google OR-tools (Python package ortools), used by this strategy only.
"""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError, FleetError
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._placement import contention, peaks, trigger
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.descent import Descent, Where
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.floors import Floors
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.mip_model import Program
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.registry import Placement, placement
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.repair import repair
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import CONTENTION, LIMIT
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules

MOST_PAIRS = 20_000
_EQUAL = 1e-5  # of the score; finer than what whole numbers lose
_STEPS = 2
_LEAST = 0.005  # seconds that a round counts at least, so that the loop ends


@placement("optimal")
def optimal(fleet: Fleet, rules: Rules) -> Placement:
    """Repair, then minimise. Raises BalanceError without ortools, FleetError if the fleet is too large."""
    try:
        from ortools.sat.python import cp_model
    except ImportError as error:
        raise BalanceError("The strategy 'optimal' needs the Python package ortools on the control node.") from error
    policy, floors = fleet.policy, Floors(fleet, rules)
    why = trigger.reason(fleet, floors)
    result = repair(fleet, rules)
    result.trigger = why
    result.unreachable = floors.notes()
    result.least_score = floors.least_score(fleet)
    search = Descent(fleet, rules, floors)
    movable = [domain for residents in search.residents for domain in residents]
    movable += [domain for domain in fleet.domains if domain.bundle and not any(map(rules.fixed, domain.bundle))]
    if len(search.hosts) < 2 or not movable:
        return result
    if search.level(policy.accepted):
        if LIMIT in policy.trigger:
            peaks.relieve(fleet, rules, result)
        if CONTENTION in policy.trigger:
            contention.relieve(fleet, rules, floors, result)
        return result
    if len(movable) * len(search.hosts) > MOST_PAIRS:
        raise FleetError(
            f"The strategy 'optimal' is for small fleets: {len(movable)} domains that may move times "
            f"{len(search.hosts)} hosts is more than {MOST_PAIRS}. Use the strategy 'balance'."
        )
    program = Program(cp_model, search, sorted(movable, key=lambda domain: domain.index))
    search.run(target=0.0)
    best, bound = _minimise(search, program, policy.optimal_seconds)
    search.restore(best)
    found = _objective(search)
    bound = min(found, max(0.0, bound))
    proved = found - bound <= _EQUAL
    result.optimum = {"found": round(found, 6), "bound": round(bound, 6), "proved": proved}
    proof = "proved to be the lowest" if proved else f"no placement can be below {bound:.4f}"
    result.notes.append(f"Score plus price of moves of the placement found: {found:.4f}; {proof}.")
    return result


def _objective(search: Descent) -> float:
    return search.score.value() + search.cost()


def _minimise(search: Descent, program: Program, seconds: float) -> tuple[Where, float]:
    """The best placement found within the time, and the lower bound."""
    best, value, bound = search.placement(), _objective(search), 0.0
    program.learn()
    step = seconds / _STEPS
    while seconds > 0.0 and value - bound > _EQUAL:
        answer = program.solve(best, min(step, seconds))
        seconds -= max(answer.seconds, _LEAST)
        bound = max(bound, answer.bound)
        learnt = False
        if answer.where is not None:
            search.restore(answer.where)
            refused = _refused(search, program.domains)
            if refused is not None:
                program.exclude(refused)
            learnt = refused is not None or program.learn()
            if refused is None:
                search.run(target=0.0)
                program.learn()
                if _objective(search) < value:
                    best, value = search.placement(), _objective(search)
        if not learnt:
            if answer.final:
                break
            step *= 2.0  # nothing new was found, so it needs more time
    return best, bound


def _refused(search: Descent, domains: t.Iterable[ProjectedDomain]) -> ProjectedHost | None:
    """A host on which a rule refuses a domain that moved there; None if there is none."""
    fleet, rules = search.fleet, search.rules
    for domain in domains:
        if domain.moved and not domain.bundle:
            host = domain.host
            with fleet.away(domain, host):
                reason = rules.refuses(domain, host)
            if reason is not None:
                return host
    return None
