# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""An allocation in the making: domains as items that strategies put on hosts as bins."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.problem import (
    DomainRequest,
    HostOffer,
    Problem,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.room_tree import Room, RoomTree
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason

ROUNDING = 1e-9
"""Sums of many parts: what is above a limit by less than this is at the limit."""

_SHOWN = 3


class Item:
    """A domain: what it asks for, what that is worth, and where it is. ``cpu`` is what it gets there, in cores.

    worth_min, worth_max: utility at the minimum and at the maximum. slope: utility for each core in between.
    """

    __slots__ = (
        "apart",
        "bin",
        "cpu",
        "cpu_max",
        "cpu_min",
        "hosts",
        "memory",
        "name",
        "reason",
        "slope",
        "worth_max",
        "worth_min",
    )

    def __init__(self, name: str, request: DomainRequest, problem: Problem) -> None:
        self.name, self.cpu_min, self.cpu_max, self.memory = name, request.cpu_min, request.cpu_max, request.memory_mib
        self.hosts = None if request.hosts is None else frozenset(request.hosts)
        self.apart = frozenset(request.apart)
        self.worth_min, self.worth_max = problem.worth(name, self.cpu_min), problem.worth(name, self.cpu_max)
        extent = self.cpu_max - self.cpu_min
        self.slope = (self.worth_max - self.worth_min) / extent if extent > 0.0 else 0.0
        self.bin: Bin | None = None
        self.cpu = 0.0
        self.reason: Reason | None = None

    @property
    def placed(self) -> bool:
        """Is it on a host?"""
        return self.bin is not None

    @property
    def density_min(self) -> float:
        """Utility for each core at the minimum; that above it where the minimum is nothing."""
        return self.worth_min / self.cpu_min if self.cpu_min > 0.0 else self.slope

    @property
    def density_max(self) -> float:
        """Utility for each core at the maximum."""
        return self.worth_max / self.cpu_max


class Bin:
    """A host and what is taken of it."""

    __slots__ = (
        "apart",
        "asleep",
        "cores",
        "cpu_used",
        "index",
        "items",
        "memory_used",
        "name",
        "offer",
        "power",
    )

    def __init__(self, name: str, index: int, offer: HostOffer) -> None:
        self.name, self.index, self.offer = name, index, offer
        self.cores, self.power, self.asleep = offer.cores, offer.power, offer.asleep
        self.cpu_used, self.memory_used = offer.cpu_used, offer.memory_used_mib
        self.items: dict[str, Item] = {}
        self.apart = dict.fromkeys(offer.apart, 1)

    @property
    def in_use(self) -> bool:
        """Does it carry anything?"""
        return bool(self.items) or self.offer.in_use

    def room(self, fill: float = 1.0, memory_fill: float = 1.0) -> Room:
        """Free cores and MiB where the host is to be filled to these fractions only."""
        return (
            self.cores * fill - self.cpu_used + ROUNDING,
            self.offer.memory_mib * memory_fill - self.memory_used + ROUNDING,
        )


def _efficiency(entry: tuple[str, HostOffer]) -> tuple[bool, bool, float, str]:
    name, offer = entry
    per_core = offer.power.full / offer.cores if offer.power else 0.0
    return (offer.asleep, offer.power is None, per_core, name)


class Work:
    """Items by name, and bins in the order in which hosts are to be filled.

    That order is: awake before asleep, then fewest watts for each core at full load, then by name. A host whose power
    is not known comes after those where it is.
    """

    __slots__ = ("_refused", "bins", "items", "power_weight", "problem")

    def __init__(self, problem: Problem) -> None:
        self.problem, self.power_weight = problem, problem.power_weight
        self.items = [Item(name, problem.domains[name], problem) for name in sorted(problem.domains)]
        ordered = sorted(problem.hosts.items(), key=_efficiency)
        self.bins = [Bin(name, index, offer) for index, (name, offer) in enumerate(ordered)]
        self._refused: dict[tuple[str, str], Reason | None] = {}

    def refuses(self, item: Item, bin: Bin) -> Reason | None:
        """Why the item may not be on the bin with what is there, whatever room there is."""
        for group in sorted(item.apart):
            if bin.apart.get(group, 0):
                return Reason("apart", f"{bin.name} has another domain of the group {group}")
        return self.never(item, bin)

    def never(self, item: Item, bin: Bin) -> Reason | None:
        """Why the item may not be on the bin, whatever else is there."""
        if item.hosts is not None and bin.name not in item.hosts:
            return Reason("hosts", f"{item.name} may not be on {bin.name}")
        key = (item.name, bin.name)
        if key not in self._refused:
            self._refused[key] = self.problem.refuses(*key)
        return self._refused[key]

    def place(self, item: Item, bin: Bin, cpu: float) -> None:
        """Have the item, which is nowhere, on the bin with so many cores."""
        item.bin, item.cpu = bin, cpu
        bin.items[item.name] = item
        bin.cpu_used += cpu
        bin.memory_used += item.memory
        for group in item.apart:
            bin.apart[group] = bin.apart.get(group, 0) + 1

    def remove(self, item: Item) -> None:
        """Have the item nowhere."""
        bin = item.bin
        if bin is None:
            return
        item.bin, item.cpu = None, 0.0
        del bin.items[item.name]
        # Summed anew, because what is added and taken off again leaves rounding behind.
        bin.cpu_used = bin.offer.cpu_used + sum(other.cpu for other in bin.items.values())
        bin.memory_used = bin.offer.memory_used_mib + sum(other.memory for other in bin.items.values())
        for group in item.apart:
            bin.apart[group] -= 1

    def resize(self, item: Item, cpu: float) -> None:
        """Give the item, where it is, so many cores."""
        if item.bin is not None:
            item.bin.cpu_used += cpu - item.cpu
            item.cpu = cpu

    def reason(self, item: Item, cpu: float) -> Reason:
        """Why the item, which is nowhere, is left out, if it was to have at least so many cores."""
        if all(self.refuses(item, bin) for bin in self.bins):
            said = sorted({refusal.message for bin in self.bins if (refusal := self.refuses(item, bin))})
            more = f" (and {len(said) - _SHOWN} more reasons)" if len(said) > _SHOWN else ""
            return Reason("refused", f"No host may carry it: {'; '.join(said[:_SHOWN])}{more}.")
        return Reason("room", f"No host that may carry it has room for {cpu:g} cores and {item.memory:g} MiB.")


class FirstFit:
    """Puts items on the first bin with room, found in O(log bins) (see RoomTree). ``fill``: of the cores of a host."""

    __slots__ = ("_fill", "_tree", "_work")

    def __init__(self, work: Work, fill: float = 1.0) -> None:
        self._work, self._fill = work, fill
        self._tree = RoomTree([bin.room(fill) for bin in work.bins])

    def place(self, item: Item, cpu: float) -> bool:
        """Put the item with so many cores on the first bin that has room and may carry it. Was there one?"""
        for index in self._tree.find((cpu, item.memory)):
            bin = self._work.bins[index]
            if self._work.refuses(item, bin) is None:
                self._work.place(item, bin, cpu)
                self._tree.update(index, bin.room(self._fill))
                return True
        return False

    def resize(self, item: Item, cpu: float) -> bool:
        """Give the item so many cores if the bin that it is on has room for it. Had it?"""
        bin = item.bin
        if bin is None or bin.room(self._fill)[0] < cpu - item.cpu:
            return False
        self._work.resize(item, cpu)
        self._tree.update(bin.index, bin.room(self._fill))
        return True

    def leave_out(self, item: Item, cpu: float) -> None:
        """Say why the item is nowhere."""
        item.reason = self._work.reason(item, cpu)
