# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The allocation ``optimal``: the highest utility less weighted power that there is, for small fleets.

Definition: a mixed-integer program solved by CP-SAT of OR-tools. Each domain is on at most one host that may carry it;
on a host the minima and what is given beyond them fit the cores, and the memory fits; a host that carries anything
draws its watts, of which each straight part of its power table is a choice. It starts from what power_expand_min_max
finds. The answer is the best found in the time, with a bound that no answer can exceed.

Complexity: exponential. Tens of domains on a few hosts take seconds.

Choices: CP-SAT counts in whole numbers, so cores are counted in thousandths: minima are rounded up, maxima and cores of
hosts down, and the bound holds for what is so rounded. One worker and a fixed seed make the answer the same
every time, unless the time ran out: then it is what a machine as fast as this one found until then.

Source: Perron and Didier, CP-SAT, part of Google OR-tools (Python package ortools), which is needed for this strategy
only.
"""

from __future__ import annotations

import math
import typing as t
from dataclasses import dataclass, field

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.bins import AllocationPacking, Bin, Item
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.expansion import Expansion
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.improvement import expand
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.registry import Proof, allocation
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import number, option, whole

_PER_CORE = 1000
_PRECISION = 10**11
"""More than the objective can be, in the whole numbers in which CP-SAT counts it."""

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Parameters:
    """time_limit_seconds: when to stop. seed, workers: of the solver. More than one worker is faster, and two runs may
    then end with different answers of the same worth."""

    time_limit_seconds: float = option(10.0, number(0, above=True))
    seed: int = option(0, whole(0))
    workers: int = option(1, whole(1))


@allocation("optimal", Parameters)
def optimal(packing: AllocationPacking, parameters: Parameters) -> Proof:
    """Solve the mixed-integer program, and hand out the cores by expansion."""
    try:
        from ortools.sat.python import cp_model
    except ImportError as error:
        raise BalanceError("The strategy 'optimal' needs the Python package ortools on the control node.") from error
    start = AllocationPacking(packing.problem)
    expand(start, packing.power_weight, rounds=10)
    model = _Model(packing, start, cp_model.CpModel())
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = parameters.time_limit_seconds
    solver.parameters.num_workers = parameters.workers
    solver.parameters.random_seed = parameters.seed
    status = solver.solve(model.model)
    answers = [{item.name: item.bin.index for item in start.items if item.bin is not None}]
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        answers.insert(0, {name: index for (name, index), here in model.here.items() if solver.value(here)})
    # The expansion hands out the cores of each host, because it does not count in thousandths.
    expansions = [_expansion(AllocationPacking(packing.problem), answer) for answer in answers]
    best = max(range(len(answers)), key=lambda index: (round(expansions[index].value, 9), -index))
    final = _expansion(packing, answers[best])
    final.finish()
    objective = final.value - model.standing
    bound = max(objective, (solver.best_objective_bound + model.rounding) / model.scale)
    return Proof(bound=bound, optimal=status == cp_model.OPTIMAL)


def _expansion(packing: AllocationPacking, answer: dict[str, int]) -> Expansion:
    expansion = Expansion(packing, packing.power_weight)
    for item in expansion.items:
        if item.name in answer:
            expansion.put(item, expansion.bins[answer[item.name]])
    return expansion


def _up(value: float, unit: float) -> int:
    return math.ceil(value / unit - _ROUNDING)


def _down(value: float, unit: float) -> int:
    return math.floor(value / unit + _ROUNDING)


@dataclass(slots=True)
class _Model:
    """The program. Sizes are multiples of ``unit``, their greatest common divisor.

    here: is the item (name) in the bin (index)? standing: the cost of hosts that are in use anyway. rounding: the error
    of the objective from counting in whole numbers.
    """

    packing: AllocationPacking
    start: AllocationPacking
    model: t.Any
    here: dict[tuple[str, int], t.Any] = field(default_factory=dict)
    standing: float = 0.0
    scale: float = 1.0
    rounding: float = 0.0
    unit: float = 1.0
    terms: list[t.Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        packing, model = self.packing, self.model
        self.scale = _PRECISION / (self._most() or 1.0)
        self.unit = self._common_unit()
        for bin in packing.bins:
            self._add_bin(bin, self.start.bins[bin.index].items)
        for item in packing.items:
            model.add_at_most_one(
                self.here[item.name, bin.index] for bin in packing.bins if (item.name, bin.index) in self.here
            )
        model.maximize(sum(self.terms))

    def _most(self) -> float:
        """A bound for every term of the objective."""
        most = sum(item.worth_max for item in self.packing.items)
        if self.packing.power_weight > 0.0:
            for bin in self.packing.bins:
                if bin.power is not None:
                    steepest = max(price for *_part, price in bin.power.segments(bin.cores))
                    most += self.packing.power_weight * (bin.power.idle + steepest * bin.cores)
        return most

    def _common_unit(self) -> float:
        thousandth = 1 / _PER_CORE
        sizes = {_up(item.cpu_min, thousandth) for item in self.packing.items}
        sizes |= {_down(item.cpu_max, thousandth) for item in self.packing.items}
        for bin in self.packing.bins:
            offer = bin.offer
            sizes |= {_down(offer.cores, thousandth), _up(offer.cpu_used, thousandth)}
            if offer.power is not None and self.packing.power_weight > 0.0:
                sizes |= {round(end / thousandth) for _start, end, _w, _m in offer.power.segments(offer.cores)}
        return max(1, math.gcd(*sizes)) * thousandth

    def _gain(self, worth: float, variable: t.Any, most: int) -> None:
        """Add ``worth`` for each unit of the variable, which is at most ``most``."""
        self.terms.append(round(worth * self.scale) * variable)
        self.rounding += 0.5 * most

    def _add_bin(self, bin: Bin, placed: dict[str, Item]) -> None:
        packing, model, offer = self.packing, self.model, bin.offer
        use: t.Any = _up(offer.cpu_used, self.unit)
        memory: t.Any = 0
        variables = []
        for item in packing.items:
            if packing.refuses(item, bin) is not None:
                continue
            least, most = _up(item.cpu_min, self.unit), _down(item.cpu_max, self.unit)
            here = model.new_bool_var(f"{item.name} on {bin.name}")
            self.here[item.name, bin.index] = here
            variables.append((item, here))
            model.add_hint(here, item.name in placed)
            self._gain(item.worth_min, here, 1)
            use += least * here
            memory += math.ceil(item.memory) * here
            if most > least:
                more = model.new_int_var(0, most - least, f"{item.name} more")
                extra = _down(placed[item.name].cpu, self.unit) - least if item.name in placed else 0
                model.add_hint(more, max(0, extra))
                model.add(more <= (most - least) * here)
                self._gain(item.slope * self.unit, more, most - least)
                use += more
        model.add(memory <= math.floor(offer.memory_mib - offer.memory_used_mib))
        for group in sorted({group for item, _here in variables for group in item.apart}):
            model.add_at_most_one(here for item, here in variables if group in item.apart)
        self._add_power(bin, use, [here for _item, here in variables])

    def _add_power(self, bin: Bin, use: t.Any, heres: list[t.Any]) -> None:
        model, offer, weight = self.model, bin.offer, self.packing.power_weight
        cores = _down(offer.cores, self.unit)
        if weight <= 0.0 or offer.power is None:
            model.add(use <= cores)
            return
        opened: t.Any = 1
        if offer.in_use:
            self.standing += weight * offer.power.watts(offer.cpu_used / offer.cores)
        else:
            opened = model.new_bool_var(f"{bin.name} in use")
            for here in heres:
                model.add_implication(here, opened)
        model.add(use <= cores * opened)
        segments = offer.power.segments(offer.cores)
        if len(segments) == 1:
            _start, _end, watts, per_core = segments[0]
            self._gain(-weight * watts, opened, 1)
            self._gain(-weight * per_core * self.unit, use, cores)
            return
        parts, pieces = [], []
        for start, end, watts, per_core in segments:
            part = model.new_bool_var("")
            piece = model.new_int_var(0, cores, "")
            model.add(piece >= math.floor(start / self.unit + _ROUNDING) * part)
            model.add(piece <= math.ceil(end / self.unit - _ROUNDING) * part)
            self._gain(-weight * (watts - per_core * start), part, 1)
            self._gain(-weight * per_core * self.unit, piece, cores)
            parts.append(part)
            pieces.append(piece)
        model.add(sum(parts) == opened)
        model.add(sum(pieces) == use)
