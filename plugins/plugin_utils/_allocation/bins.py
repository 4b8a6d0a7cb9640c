# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""An allocation while it is made: strategies put items (domains) into bins (hosts)."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.problem import (
    DomainRequest,
    HostOffer,
    Problem,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.room_tree import Room, RoomTree
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason

ROUNDING = 1e-9
"""Tolerance of comparisons with a limit, because values are sums of many parts."""

_SHOWN = 3


class Item:
    """A domain: its request, the utility of that, and its bin. ``cpu``: the cores that it gets there.

    worth_min, worth_max: utility at the minimum and at the maximum. slope: utility of each core in between.
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
        """Utility per core at the minimum; if the minimum is 0, that of each core above it."""
        return self.worth_min / self.cpu_min if self.cpu_min > 0.0 else self.slope

    @property
    def density_max(self) -> float:
        """Utility per core at the maximum."""
        return self.worth_max / self.cpu_max


class Bin:
    """A host and how much of it is taken."""

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
        """Does it have any domain?"""
        return bool(self.items) or self.offer.in_use

    def room(self, fill: float = 1.0, memory_fill: float = 1.0) -> Room:
        """Free cores and MiB if the host is filled no further than these fractions."""
        return (
            self.cores * fill - self.cpu_used + ROUNDING,
            self.offer.memory_mib * memory_fill - self.memory_used + ROUNDING,
        )


def _efficiency(entry: tuple[str, HostOffer]) -> tuple[bool, bool, float, str]:
    name, offer = entry
    per_core = offer.power.full / offer.cores if offer.power else 0.0
    return (offer.asleep, offer.power is None, per_core, name)


class AllocationPacking:
    """Items by name, and bins in the order in which hosts are filled.

    Hosts that are awake come before hosts that are asleep, then those with the fewest watts per core at full load, then
    by name. Hosts without a power model come last in each group.
    """

    __slots__ = ("_refused", "bins", "items", "power_weight", "problem")

    def __init__(self, problem: Problem) -> None:
        self.problem, self.power_weight = problem, problem.power_weight
        self.items = [Item(name, problem.domains[name], problem) for name in sorted(problem.domains)]
        ordered = sorted(problem.hosts.items(), key=_efficiency)
        self.bins = [Bin(name, index, offer) for index, (name, offer) in enumerate(ordered)]
        self._refused: dict[tuple[str, str], Reason | None] = {}

    def refuses(self, item: Item, bin: Bin) -> Reason | None:
        """Why the item may not be in the bin with the present items, however much room it has."""
        for group in sorted(item.apart):
            if bin.apart.get(group, 0):
                return Reason("apart", f"{bin.name} has another domain of the group {group}")
        return self.never(item, bin)

    def never(self, item: Item, bin: Bin) -> Reason | None:
        """Why the item may not be in the bin, whatever else is in it."""
        if item.hosts is not None and bin.name not in item.hosts:
            return Reason("hosts", f"{item.name} may not be on {bin.name}")
        key = (item.name, bin.name)
        if key not in self._refused:
            self._refused[key] = self.problem.refuses(*key)
        return self._refused[key]

    def place(self, item: Item, bin: Bin, cpu: float) -> None:
        """Put an unplaced item into the bin and give it ``cpu`` cores."""
        item.bin, item.cpu = bin, cpu
        bin.items[item.name] = item
        bin.cpu_used += cpu
        bin.memory_used += item.memory
        for group in item.apart:
            bin.apart[group] = bin.apart.get(group, 0) + 1

    def remove(self, item: Item) -> None:
        """Take the item out of its bin."""
        bin = item.bin
        if bin is None:
            return
        item.bin, item.cpu = None, 0.0
        del bin.items[item.name]
        # Summed again, because adding and subtracting would accumulate rounding errors.
        bin.cpu_used = bin.offer.cpu_used + sum(other.cpu for other in bin.items.values())
        bin.memory_used = bin.offer.memory_used_mib + sum(other.memory for other in bin.items.values())
        for group in item.apart:
            bin.apart[group] -= 1

    def resize(self, item: Item, cpu: float) -> None:
        """Give a placed item ``cpu`` cores."""
        if item.bin is not None:
            item.bin.cpu_used += cpu - item.cpu
            item.cpu = cpu

    def reason(self, item: Item, cpu: float) -> Reason:
        """Why the item, which needs at least ``cpu`` cores, is in no bin."""
        if all(self.refuses(item, bin) for bin in self.bins):
            said = sorted({refusal.message for bin in self.bins if (refusal := self.refuses(item, bin))})
            more = f" (and {len(said) - _SHOWN} more reasons)" if len(said) > _SHOWN else ""
            return Reason("refused", f"No host may take it: {'; '.join(said[:_SHOWN])}{more}.")
        return Reason("room", f"No host that may take it has room for {cpu:g} cores and {item.memory:g} MiB.")


class FirstFit:
    """Puts items into the first bin with room, found in O(log bins) (see RoomTree). ``fill``: fraction of the cores."""

    __slots__ = ("_fill", "_packing", "_tree")

    def __init__(self, packing: AllocationPacking, fill: float = 1.0) -> None:
        self._packing, self._fill = packing, fill
        self._tree = RoomTree([bin.room(fill) for bin in packing.bins])

    def place(self, item: Item, cpu: float) -> bool:
        """Put the item with ``cpu`` cores into the first bin that has room and permits it. True if there is one."""
        for index in self._tree.find((cpu, item.memory)):
            bin = self._packing.bins[index]
            if self._packing.refuses(item, bin) is None:
                self._packing.place(item, bin, cpu)
                self._tree.update(index, bin.room(self._fill))
                return True
        return False

    def resize(self, item: Item, cpu: float) -> bool:
        """Give the item ``cpu`` cores if its bin has room for that. True if it has."""
        bin = item.bin
        if bin is None or bin.room(self._fill)[0] < cpu - item.cpu:
            return False
        self._packing.resize(item, cpu)
        self._tree.update(bin.index, bin.room(self._fill))
        return True

    def move(self, item: Item, cpu: float) -> bool:
        """Put a placed item with ``cpu`` cores into the first bin that has room for that. True if there is one."""
        home, before = item.bin, item.cpu
        if home is None:
            return False
        self._packing.remove(item)
        self._tree.update(home.index, home.room(self._fill))
        if self.place(item, cpu):
            return True
        self._packing.place(item, home, before)
        self._tree.update(home.index, home.room(self._fill))
        return False

    def leave_out(self, item: Item, cpu: float) -> None:
        """Note why the item is in no bin."""
        item.reason = self._packing.reason(item, cpu)
