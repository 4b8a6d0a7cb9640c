# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: one round of spreading vCPUs over the CPUs of a host, decided from figures alone.

A vCPU is *pinned* to one CPU, or *free*: the kernel moves it among several CPUs. Free ones are part of the CPUs' own
load and stay as they are, unless they are to be pinned. No I/O, no clock, no randomness: same figures, same decision.

The algorithm C(spread): free vCPUs that are to be pinned are placed largest first on the emptiest CPU (LPT, Graham
1969, https://doi.org/10.1137/0117039). Then the vCPU of the fullest CPU whose move, or exchange for another, evens the
loads most (by the sum of their squares) is moved, until the spread is at most the target or nothing gains enough.

The algorithm C(busiest_freest) makes one move: a freest CPU without vCPUs gets the first vCPU of the busiest one, where
that holds several; otherwise, where the busiest is above the busy limit and the freest below, it gets the least used
vCPU of the busiest if it stays below the limit.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

# What a busy sibling takes from a thread of the same core, as a share of the sibling's load.
SIBLING_SHARE = 0.5

_ROUNDING = 1e-9

SPREAD = "spread"
BUSIEST_FREEST = "busiest_freest"
ALGORITHMS = (SPREAD, BUSIEST_FREEST)


@dataclass(frozen=True)
class Cpu:
    """One CPU that may be used. RV(own) is the part of it (0..1) that this round cannot move away."""

    number: int
    own: float = 0.0
    siblings: frozenset[int] = frozenset()
    cell: int = 0


@dataclass(frozen=True)
class Vcpu:
    """One vCPU. RV(ran) and RV(wanted) are in cores; what it waited for a CPU is in the second only.

    RV(cpu) is the one CPU that it is pinned to, None = it is free; RV(last) where it ran last; RV(allowed) where it
    may be pinned.
    """

    uuid: str
    name: str
    number: int
    ran: float
    wanted: float
    cpu: int | None
    last: int | None
    allowed: frozenset[int]

    @property
    def key(self) -> tuple[str, str, int]:
        return self.name, self.uuid, self.number


@dataclass(frozen=True)
class Options:
    """How to decide; loads are in cores.

    Acts where a CPU is above RV(busy_above) and its load is more than RV(threshold) above another's, and goes on to
    RV(target), half of the threshold by default. The CPU that a vCPU goes to must stay emptier by RV(gain) than the one
    that it leaves was, and that one must get emptier by half of RV(gain).
    """

    algorithm: str = SPREAD
    threshold: float = 0.25
    target: float | None = None
    busy_above: float = 0.5
    gain: float = 0.1
    pin_free: bool = False
    cross_numa: bool = False

    @property
    def goal(self) -> float:
        return self.threshold / 2 if self.target is None else self.target


class Repin(t.NamedTuple):
    """Pin RV(vcpu) to RV(cpu)."""

    vcpu: Vcpu
    cpu: int


@dataclass(frozen=True)
class Decision:
    """What to do, and the load of each CPU by number before and after."""

    repins: tuple[Repin, ...]
    before: dict[int, float]
    after: dict[int, float]
    why: str

    @property
    def spread(self) -> tuple[float, float]:
        return _spread(self.before), _spread(self.after)


def decide(cpus: t.Sequence[Cpu], vcpus: t.Sequence[Vcpu], options: Options) -> Decision:
    """Decide one round. A vCPU on a CPU that is not among RV(cpus) stays where it is and counts nowhere."""
    layout = _Layout(cpus, vcpus, options)
    before = layout.loads()
    cells = sorted({cpu.cell for cpu in cpus})
    pools = [[cpu.number for cpu in cpus if cpu.cell == cell] for cell in cells]
    if options.cross_numa and len(pools) > 1:
        # Cell by cell first: a vCPU that stays near its memory is worth more than the last bit of spread.
        pools.append([cpu.number for cpu in cpus])
    reasons = []
    for pool in map(sorted, pools):
        if options.pin_free:
            layout.place_free(pool)
        spread = layout.spread(pool)
        reasons.append((-spread, (layout.seed_move if options.algorithm == BUSIEST_FREEST else layout.even)(pool)))
    repins, after = layout.repins(), layout.loads()
    why = min(reasons)[1] if reasons else "There is no CPU that may be used."
    if repins:
        what = "1 vCPU is" if len(repins) == 1 else f"{len(repins)} vCPUs are"
        why = f"{what} pinned anew: the spread of the loads goes from {_spread(before):.2f} to {_spread(after):.2f}."
    return Decision(repins, before, after, why)


def _spread(loads: t.Mapping[int, float]) -> float:
    return max(loads.values()) - min(loads.values()) if loads else 0.0


class _Layout:
    """Which vCPU is where, with the loads that follow from it."""

    def __init__(self, cpus: t.Sequence[Cpu], vcpus: t.Sequence[Vcpu], options: Options) -> None:
        self._options = options
        self._seed = options.algorithm == BUSIEST_FREEST
        self._cpus = {cpu.number: cpu for cpu in cpus}
        self._vcpus = sorted(vcpus, key=lambda vcpu: vcpu.key)
        self._on: dict[int, list[Vcpu]] = {number: [] for number in self._cpus}
        self._at: dict[Vcpu, int] = {}
        self._siblings = {
            cpu.number: [] if self._seed else sorted(cpu.siblings.intersection(self._cpus).difference([cpu.number]))
            for cpu in cpus
        }
        self._load = dict.fromkeys(self._cpus, 0.0)
        for cpu in cpus:
            self._add(cpu.number, cpu.own)
        self._free_own = {cpu.number: cpu.own for cpu in cpus}
        for vcpu in self._vcpus:
            if vcpu.cpu in self._cpus:
                self._put(vcpu, vcpu.cpu)

    def repins(self) -> tuple[Repin, ...]:
        return tuple(
            Repin(vcpu, self._at[vcpu]) for vcpu in self._vcpus if vcpu in self._at and self._at[vcpu] != vcpu.cpu
        )

    def loads(self) -> dict[int, float]:
        return {number: round(self._load[number], 6) for number in sorted(self._cpus)}

    def spread(self, pool: t.Sequence[int]) -> float:
        loads = [self._load[number] for number in pool]
        return max(loads) - min(loads)

    def place_free(self, pool: t.Sequence[int]) -> None:
        """Pin the free vCPUs that ran last in this pool, largest first."""
        free = [vcpu for vcpu in self._vcpus if vcpu.cpu is None and vcpu not in self._at and vcpu.last in pool]
        for vcpu in free:
            # Until now it was part of what the CPU where it ran had to bear.
            last = t.cast("int", vcpu.last)
            self._add(last, -min(vcpu.ran, self._free_own[last]))
            self._free_own[last] -= min(vcpu.ran, self._free_own[last])
        for vcpu in sorted(free, key=lambda vcpu: (-self._size(vcpu), vcpu.key)):
            targets = [number for number in pool if number in vcpu.allowed]
            if targets:
                self._put(vcpu, min(targets, key=lambda number: (self._load[number], len(self._on[number]), number)))

    def even(self, pool: t.Sequence[int]) -> str:
        """Even the loads of a pool, and say why nothing is done where nothing is."""
        fullest = max(self._load[number] for number in pool)
        spread = self.spread(pool)
        if spread <= self._options.threshold:
            return f"The loads of the CPUs differ by {spread:.2f}; {self._options.threshold:g} is accepted."
        if fullest <= self._options.busy_above:
            return f"The fullest CPU has a load of {fullest:.2f}; CPUs are relieved above {self._options.busy_above:g}."
        # Each step lessens the sum of the squares by the square of the gain at least, so this ends.
        while self.spread(pool) > self._options.goal and self._improve(pool):
            pass
        return f"The loads of the CPUs differ by {spread:.2f}, but no move gains {self._options.gain:g}."

    def seed_move(self, pool: t.Sequence[int]) -> str:
        limit = self._options.busy_above
        busiest = max(pool, key=lambda number: (self._load[number], -number))
        freest = min(pool, key=lambda number: (self._load[number], number))
        held = self._on[busiest]
        movable = [vcpu for vcpu in held if freest in vcpu.allowed]
        if busiest == freest or len(held) < 2 or not movable:
            return f"The busiest CPU ({busiest}) holds no vCPU that it could spare."
        if not self._on[freest]:
            self._move(movable[0], freest)
        elif self._load[busiest] > limit > self._load[freest]:
            least = min(movable, key=lambda vcpu: (self._size(vcpu), vcpu.key))
            if self._load[freest] + self._size(least) < limit:
                self._move(least, freest)
        return f"The busiest CPU has a load of {self._load[busiest]:.2f}, the freest of {self._load[freest]:.2f}."

    # The algorithm of the predecessor looks at what vCPUs got, and at no siblings.
    def _size(self, vcpu: Vcpu) -> float:
        return vcpu.ran if self._seed else vcpu.wanted

    def _add(self, number: int, cores: float) -> None:
        self._load[number] += cores
        for sibling in self._siblings[number]:
            self._load[sibling] += SIBLING_SHARE * cores

    def _put(self, vcpu: Vcpu, number: int) -> None:
        self._at[vcpu] = number
        self._on[number].append(vcpu)
        self._add(number, self._size(vcpu))

    def _move(self, vcpu: Vcpu, number: int) -> None:
        source = self._at[vcpu]
        self._on[source].remove(vcpu)
        self._add(source, -self._size(vcpu))
        self._put(vcpu, number)

    def _improve(self, pool: t.Sequence[int]) -> bool:
        """Make the best single move from the fullest CPU that has a good one; where none has, the best exchange."""
        sources = [number for number in pool if self._load[number] > self._options.busy_above]
        sources.sort(key=lambda number: (-self._load[number], number))
        for candidates in (self._moves, self._exchanges):
            for source in sources:
                best = min(candidates(source, pool), default=None, key=lambda found: found[:2])
                if best is not None:
                    for vcpu, number in best[2]:
                        self._move(vcpu, number)
                    return True
        return False

    def _moves(self, source: int, pool: t.Sequence[int]) -> t.Iterator[_Candidate]:
        for target in self._emptier(source, pool):
            for vcpu in self._on[source]:
                if target in vcpu.allowed:
                    gain = self._gain(source, target, self._size(vcpu))
                    if gain is not None:
                        yield -gain, (*vcpu.key, target), [(vcpu, target)]

    def _exchanges(self, source: int, pool: t.Sequence[int]) -> t.Iterator[_Candidate]:
        for target in self._emptier(source, pool):
            for vcpu in self._on[source]:
                if target not in vcpu.allowed:
                    continue
                for other in self._on[target]:
                    if source in other.allowed:
                        gain = self._gain(source, target, self._size(vcpu) - self._size(other))
                        if gain is not None:
                            key = (*vcpu.key, target, *other.key)
                            yield -gain, key, [(vcpu, target), (other, source)]

    def _emptier(self, source: int, pool: t.Sequence[int]) -> list[int]:
        ceiling = self._load[source] - self._options.gain
        return [number for number in pool if self._load[number] < ceiling]

    def _gain(self, source: int, target: int, amount: float) -> float | None:
        """By how much the sum of squares falls when RV(amount) goes over, None where that gains too little.

        No CPU that gets fuller by it, the target's siblings included, may come near the source as it was.
        """
        load, ceiling = self._load, self._load[source] - self._options.gain + _ROUNDING
        moved = amount * (1 - SIBLING_SHARE) if source in self._siblings[target] else amount
        if moved < self._options.gain / 2 or load[target] + moved > ceiling:
            return None
        for sibling in self._siblings[target]:
            if sibling != source and load[sibling] + amount * SIBLING_SHARE > ceiling:
                return None
        return 2 * amount * (load[source] - load[target] - moved)


_Candidate = tuple[float, tuple[t.Any, ...], list[tuple[Vcpu, int]]]
