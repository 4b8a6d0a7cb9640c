# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Shared by expand_min_max and power_expand_min_max: domains get their minimum, and the rest of a host by gain.

On a host every domain has its minimum. The remaining cores go to the domains in the order of utility per further core,
descending, each up to its maximum; domains with equal utility share equally. With a weight on power, the host is used
only as far as that is worth its watts: utility is concave in the cores in use and power is piecewise linear, so in each
piece the best use is where the next core is worth exactly its watts, or at an end of the piece; all pieces are tried.

Prefix sums over the domains of a host in that order give the value of the host with one more domain in O(log domains x
pieces); they are computed again only when a domain comes or leaves.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate, groupby

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.bins import (
    ROUNDING,
    AllocationPacking,
    Bin,
    Item,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason

GAIN = 1e-9
"""A smaller gain is none."""

NO_ROOM = float("-inf")


class ValuedBin:
    """A bin and its value: utility of its items less weighted watts, with the best distribution of its cores.

    ``opening``: the cost of bringing the host into use, if it has no domain yet.
    """

    __slots__ = (
        "_cores",
        "_keys",
        "_lengths",
        "_low",
        "_memory",
        "_memory_mib",
        "_parts",
        "_rest",
        "_slopes",
        "_weight",
        "_worth",
        "_worths",
        "bin",
        "items",
        "opening",
        "value",
    )

    def __init__(self, bin: Bin, weight: float) -> None:
        self.bin, self._weight = bin, weight
        offer = bin.offer
        self._cores, self._memory_mib = offer.cores, offer.memory_mib
        # Without a weight there is one piece, which draws nothing.
        self._parts = [(0.0, offer.cores, 0.0, 0.0)]
        self._rest = self.opening = 0.0
        if weight > 0.0 and offer.power is not None:
            self._parts = [
                (start, end, weight * watts, weight * per_core)
                for start, end, watts, per_core in offer.power.segments(offer.cores)
            ]
            if offer.in_use:
                self._rest = weight * offer.power.watts(offer.cpu_used / offer.cores)
            else:
                self.opening = weight * offer.power.idle
        self.set([])

    def set(self, items: list[Item]) -> None:
        """Set the items of the bin."""
        self.items = sorted(items, key=_order)
        extents = [item.cpu_max - item.cpu_min for item in self.items]
        gains = [item.slope * extent for item, extent in zip(self.items, extents, strict=True)]
        self._keys = [_order(item) for item in self.items]
        self._slopes = [-item.slope for item in self.items]
        self._lengths = [0.0, *accumulate(extents)]
        self._worths = [0.0, *accumulate(gains)]
        self._worth = sum(item.worth_min for item in self.items)
        self._low = self.bin.offer.cpu_used + sum(item.cpu_min for item in self.items)
        self._memory = self.bin.offer.memory_used_mib + sum(item.memory for item in self.items)
        self.value = self._best(None)[0] if items else 0.0

    def without(self, item: Item) -> ValuedBin:
        """A copy of the bin without one of its items."""
        other = ValuedBin(self.bin, self._weight)
        other.set([each for each in self.items if each is not item])
        return other

    def gain(self, item: Item) -> float:
        """How much the value of the bin rises with the item; NO_ROOM if it does not fit."""
        if self._memory + item.memory > self._memory_mib + ROUNDING:
            return NO_ROOM
        if self._low + item.cpu_min > self._cores + ROUNDING:
            return NO_ROOM
        return self._best(item)[0] - self.value

    def cores(self) -> list[tuple[Item, float]]:
        """The cores that each item gets."""
        left = max(0.0, self._best(None)[1] - self._low)
        found = []
        for _slope, group in groupby(self.items, key=lambda item: item.slope):
            tied = sorted(group, key=lambda item: (item.cpu_max - item.cpu_min, item.name))
            for index, item in enumerate(tied):
                extent = item.cpu_max - item.cpu_min
                more = min(extent, left / (len(tied) - index))
                left -= more
                found.append((item, item.cpu_max if more == extent else item.cpu_min + more))
        return found

    def _best(self, item: Item | None) -> tuple[float, float]:
        """The highest value, with ``item`` added if there is one, and the cores in use for it."""
        low, length, worth = self._low, self._lengths[-1], self._worth
        if item is not None:
            low += item.cpu_min
            length += item.cpu_max - item.cpu_min
            worth += item.worth_min
        # By rounding, the minima may be above the cores.
        low = min(low, self._cores)
        high = min(self._cores, low + length)
        best, use = NO_ROOM, low
        for start, end, drawn, price in self._parts:
            first, last = max(start, low), min(end, high)
            if first <= last:
                cores = min(max(low + self._worthwhile(item, price), first), last)
                value = self._spread(item, cores - low) - drawn - price * (cores - start)
                if value > best:
                    best, use = value, cores
        return best + worth + self._rest, use

    def _worthwhile(self, item: Item | None, price: float) -> float:
        """The number of cores above the minima that are worth at least ``price`` each."""
        length = self._lengths[bisect_right(self._slopes, -price)]
        if item is not None and item.slope >= price:
            length += item.cpu_max - item.cpu_min
        return length

    def _spread(self, item: Item | None, cores: float) -> float:
        """The utility of ``cores`` above the minima."""
        if item is None:
            return self._along(cores)
        extent = item.cpu_max - item.cpu_min
        place = bisect_left(self._keys, _order(item))
        before = self._lengths[place]
        if cores <= before:
            return self._along(cores)
        if cores <= before + extent:
            return self._worths[place] + item.slope * (cores - before)
        return self._along(cores - extent) + item.slope * extent

    def _along(self, cores: float) -> float:
        place = bisect_right(self._lengths, cores) - 1
        if place >= len(self._slopes):
            return self._worths[-1]
        return self._worths[place] - self._slopes[place] * (cores - self._lengths[place])


def _order(item: Item) -> tuple[float, str]:
    return (-item.slope, item.name)


class Expansion:
    """All bins, and the sum of their values. ``items`` are in the order in which they are placed: utility per core at
    the minimum, descending."""

    __slots__ = ("_packing", "at", "bins", "items", "value")

    def __init__(self, packing: AllocationPacking, weight: float) -> None:
        self._packing = packing
        self.bins = [ValuedBin(bin, weight) for bin in packing.bins]
        self.items = sorted(packing.items, key=lambda item: (-round(item.density_min, 9), item.name))
        self.at: dict[str, ValuedBin] = {}
        self.value = 0.0

    def allows(self, item: Item, valued: ValuedBin) -> bool:
        """May the item be in the bin, however much room it has?"""
        return self._packing.refuses(item, valued.bin) is None

    def never(self, item: Item, valued: ValuedBin) -> bool:
        """Is the item refused by the bin, whatever else is in it?"""
        return self._packing.never(item, valued.bin) is not None

    def put(self, item: Item, valued: ValuedBin) -> None:
        """Put an unplaced item into the bin."""
        self._packing.place(item, valued.bin, item.cpu_min)
        self.at[item.name] = valued
        self._set(valued, [*valued.items, item])

    def take(self, item: Item) -> ValuedBin | None:
        """Take the item out of its bin. Returns that bin."""
        valued = self.at.pop(item.name, None)
        if valued is not None:
            self._packing.remove(item)
            self._set(valued, [other for other in valued.items if other is not item])
        return valued

    def open(self, valued: ValuedBin) -> None:
        """Count a bin without items as in use, so that its cost does not reduce the gain of the first item."""
        self.value -= valued.opening
        valued.value = -valued.opening

    def clear(self, valued: ValuedBin) -> list[Item]:
        """Take all items out of the bin. Returns them."""
        items = list(valued.items)
        for item in items:
            self.take(item)
        self._set(valued, [])
        return items

    def _set(self, valued: ValuedBin, items: list[Item]) -> None:
        before = valued.value
        valued.set(items)
        self.value += valued.value - before

    def best(self, item: Item, avoid: ValuedBin | None = None) -> tuple[float, ValuedBin | None]:
        """The highest gain and its bin, the first of equal ones; None if the item fits nowhere."""
        best, found = NO_ROOM, None
        for valued in self.bins:
            if valued is not avoid:
                gain = valued.gain(item)
                if gain > best + GAIN and self.allows(item, valued):
                    best, found = gain, valued
                    if best > item.worth_max - GAIN:
                        break
        return best, found

    def add(self, item: Item, avoid: ValuedBin | None = None) -> None:
        """Put the item into the bin that gains most, unless that is a loss or brings a host into use for no gain."""
        gain, valued = self.best(item, avoid)
        if valued is not None and gain > (-GAIN if valued.items or valued.bin.in_use else GAIN):
            self.put(item, valued)

    def finish(self) -> None:
        """Give every placed item its cores, and note why the others are left out."""
        for valued in self.bins:
            for item, cpu in valued.cores():
                self._packing.resize(item, cpu)
        for item in self.items:
            if item.bin is None:
                item.reason = self._why_not(item)

    def _why_not(self, item: Item) -> Reason:
        gain, valued = self.best(item)
        if valued is None:
            return self._packing.reason(item, item.cpu_min)
        if gain <= -GAIN:
            return Reason("gain", f"It fits on {valued.bin.name}, but would lower the total utility by {-gain:g}.")
        return Reason("gain", f"It fits on {valued.bin.name}, but is not worth bringing this host into use.")
