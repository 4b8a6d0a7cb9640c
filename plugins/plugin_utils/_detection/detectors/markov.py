# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The overload detector ``markov`` (MHOD): a Markov chain says whether waiting would break the agreed overload time.

The thresholds cut the use into states 0 ... N, N being overload. From state i the next state is j with probability
p_ij. A policy m gives the probability m_i to migrate in state i. Starting in state c, the expected number of steps in
each state before the migration is

    L = e_c (I - (I - diag(m)) P)^-1

and a policy is feasible if it keeps the overload time fraction, T_m = migration_time / step, t and y_N the steps so far
altogether and in overload:

    (T_m + y_N + L_N) / (T_m + t + L_0 + ... + L_N) <= fraction

Wanted is the feasible policy with the largest sum of L. Only asked in state N with p_NN > 0; overloaded (migrate now)
if no policy is feasible. Policies are tried on a grid, every m_i a multiple of policy_step.

The p_ij are estimated by the multisize sliding window: p_ij(w) is the part of j among the last w transitions out of i.
Of the windows, ascending, the last is taken up to which the variance of the last w values of p_ij(w) is at most
p_ij (1 - p_ij) / w.

Source: Beloglazov and Buyya (TPDS 2013), the windows after Luiz, Perkusich and Lima ("Multisize sliding window in
workload estimation for dynamic power management", IEEE Transactions on Computers 2010). The published closed forms of L
are for two and three states; the matrix form above is the same for any number. Different here: before a window is full,
p_ij(w) is the part of the transitions that there are, and each row of P is scaled to the sum 1, because its elements
may come from different windows. A state that was never left has a row of zeros: what comes after it is not counted. A
missing sample breaks the chain; no transition is counted over it. t and y_N are the state, P is made from the history.
"""

from __future__ import annotations

import itertools
import typing as t
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._detection.registry import (
    SHORT,
    History,
    Verdict,
    detector,
    overload_time,
    too_short,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import number, option, sequence, whole
from ansible_collections.virtops.balance.plugins.plugin_utils._statistics import counts, solve

_MOST_POLICIES = 20_000
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Parameters:
    """fraction: the part of the time that a host may be overloaded. states: the thresholds between the states,
    ascending; from the last on the host is overloaded. minimum_samples: with fewer there is no answer. windows: how
    many transitions are looked at, ascending. policy_step: of the grid of policies."""

    fraction: float = option(0.1, number(0, 1))
    states: tuple[float, ...] = option((0.9,), sequence(number(0, 1, above=True), empty=False))
    minimum_samples: int = option(10, whole(2))
    windows: tuple[int, ...] = option((30, 40, 50, 60, 70, 80, 90, 100), sequence(whole(2), empty=False))
    policy_step: float = option(0.5, number(0, 1, above=True))


@detector("overload", "markov", Parameters)
def markov(
    history: History, step: float, migration_time: float, parameters: Parameters, state: t.Mapping[str, t.Any]
) -> Verdict:
    """Find the best policy of the Markov chain, and whether it migrates now."""
    _check(parameters)
    steps, over = overload_time(history, parameters.states[-1], state)
    counted = {"steps": steps, "overloaded_steps": over}
    short = too_short(history, parameters.minimum_samples, counted)
    if short is not None:
        return short
    # More in every step is more for good: of a host that is in overload for good no fraction is kept.
    room = parameters.states[-1] - history.known[-1] - SHORT
    chain = [None if sample is None else state_of(sample, parameters.states) for sample in history.samples]
    overload = len(parameters.states)
    numbers: dict[str, t.Any] = {**counted, "state": chain[-1]}
    if chain[-1] != overload:
        return Verdict(False, counted, numbers, room)
    matrix = transitions(chain, overload + 1, parameters.windows)
    numbers["transitions"] = matrix
    if matrix[overload][overload] <= 0.0:
        return Verdict(False, counted, numbers, room)
    ahead = migration_time / step
    best: tuple[float, float, Sequence[float]] | None = None
    for policy in _policies(overload + 1, parameters.policy_step):
        visits = expected_visits(matrix, policy, overload)
        if visits is None:
            continue
        waiting = sum(visits)
        fraction = (ahead + over + visits[overload]) / (ahead + steps + waiting)
        if fraction <= parameters.fraction + _ROUNDING and (best is None or waiting > best[0] + _ROUNDING):
            best = (waiting, fraction, policy)
    if best is not None:
        numbers.update(steps_to_migration=best[0], fraction=best[1], policy=list(best[2]))
    return Verdict(best is None, counted, numbers, room)


def state_of(sample: float, thresholds: Sequence[float]) -> int:
    """The state of one sample: how many of the ascending thresholds it reaches."""
    return sum(sample >= threshold for threshold in thresholds)


def transitions(chain: Sequence[int | None], states: int, windows: Sequence[int]) -> list[list[float]]:
    """The estimated probabilities p_ij; a row of zeros for a state that was never left."""
    left: list[list[int]] = [[] for _state in range(states)]
    for before, after in itertools.pairwise(chain):
        if before is not None and after is not None:
            left[before].append(after)
    matrix = []
    for went in left:
        row = [_estimate(counts(went, to), windows) if went else 0.0 for to in range(states)]
        total = sum(row)
        matrix.append([value / total for value in row] if total > 0.0 else row)
    return matrix


def expected_visits(matrix: Sequence[Sequence[float]], policy: Sequence[float], start: int) -> list[float] | None:
    """L of a policy from the state ``start``; None where the migration may never come."""
    size = len(matrix)
    # x A = e  is  A^T x = e
    turned = [[(i == j) - (1.0 - policy[i]) * matrix[i][j] for i in range(size)] for j in range(size)]
    visits = solve(turned, [float(i == start) for i in range(size)])
    return None if visits is None or min(visits) < -_ROUNDING else visits


def _estimate(seen: list[int], windows: Sequence[int]) -> float:
    """p_ij from counts of j among the first k transitions out of i, by the window that the variances select."""
    chosen = _part(seen, len(seen) - 1, windows[0])
    for window in windows:
        if len(seen) - 1 < window:
            break
        values = [_part(seen, end, window) for end in range(len(seen) - window, len(seen))]
        mean = sum(values) / window
        variance = sum((value - mean) ** 2 for value in values) / (window - 1)
        if variance > values[-1] * (1.0 - values[-1]) / window:
            break
        chosen = values[-1]
    return chosen


def _part(seen: list[int], end: int, window: int) -> float:
    begin = max(0, end - window)
    return (seen[end] - seen[begin]) / (end - begin)


def _policies(size: int, step: float) -> t.Iterator[tuple[float, ...]]:
    grid = [min(1.0, place * step) for place in range(_grid(step))]
    return itertools.product(grid, repeat=size)


def _grid(step: float) -> int:
    """How many values each m_i takes: 0, step, 2 step, ... and 1."""
    whole_steps = int(1.0 / step + _ROUNDING)
    return whole_steps + 1 + (whole_steps * step < 1.0 - _ROUNDING)


def _check(parameters: Parameters) -> None:
    for key, values in (("states", parameters.states), ("windows", parameters.windows)):
        if any(high <= low for low, high in itertools.pairwise(values)):
            raise PolicyError(f"{key} must ascend: {', '.join(f'{value:g}' for value in values)}.")
    policies = _grid(parameters.policy_step) ** (len(parameters.states) + 1)
    if policies > _MOST_POLICIES:
        raise PolicyError(
            f"policy_step {parameters.policy_step:g} with {len(parameters.states) + 1} states makes {policies} "
            f"policies to try, more than {_MOST_POLICIES}: take a larger step or fewer states."
        )
