# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Of answers with the same value, the one that moves the fewest domains.

A strategy does not know where domains run. What it puts on one host can just as well be on another host of the same
kind, and a domain that it puts on another host can just as well stay if that costs nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.bins import (
    ROUNDING,
    AllocationPacking,
    Bin,
    Item,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.problem import HostOffer, Problem


def settle(problem: Problem, placed: Mapping[str, tuple[str, float]], homes: Mapping[str, str]) -> dict[str, str]:
    """The host of each domain: the placement ``placed`` (host and cores by domain), changed to need fewer moves.

    ``homes``: where domains are now. O(domains + hosts x domains of the hosts that are swapped).
    """
    packing = AllocationPacking(problem)
    bins = {bin.name: bin for bin in packing.bins}
    items = [item for item in packing.items if item.name in placed]
    for item in items:
        host, cpu = placed[item.name]
        packing.place(item, bins[host], cpu)
    for bin in packing.bins:
        _swap(packing, bin, bins, homes)
    for item in items:
        home = bins.get(homes.get(item.name, ""))
        if home is not None and home is not item.bin:
            _keep(packing, item, home)
    return {item.name: item.bin.name for item in items if item.bin is not None}


def _swap(packing: AllocationPacking, bin: Bin, bins: Mapping[str, Bin], homes: Mapping[str, str]) -> None:
    """Swap all items with those of the bin where most of them run now, if both hosts are alike."""
    origins = Counter(homes[name] for name in bin.items if homes.get(name) in bins)
    for name, _count in sorted(origins.items(), key=lambda origin: (-origin[1], origin[0]))[:1]:
        other = bins[name]
        if other is bin or not _alike(bin.offer, other.offer):
            return
        here, there = list(bin.items.values()), list(other.items.values())

        def stay(pairs: tuple[tuple[list[Item], Bin], ...]) -> int:
            return sum(homes.get(item.name) == at.name for items, at in pairs for item in items)

        if stay(((here, other), (there, bin))) <= stay(((here, bin), (there, other))):
            return
        _exchange(packing, here, there, bin, other)
        if not (_holds(packing, bin) and _holds(packing, other)):
            _exchange(packing, there, here, bin, other)


def _alike(one: HostOffer, other: HostOffer) -> bool:
    return (one.cores, one.power, one.cpu_used, one.asleep) == (other.cores, other.power, other.cpu_used, other.asleep)


def _exchange(packing: AllocationPacking, leaving: list[Item], coming: list[Item], bin: Bin, other: Bin) -> None:
    moving = [(item, other, item.cpu) for item in leaving] + [(item, bin, item.cpu) for item in coming]
    for item, _to, _cpu in moving:
        packing.remove(item)
    for item, to, cpu in moving:
        packing.place(item, to, cpu)


def _holds(packing: AllocationPacking, bin: Bin) -> bool:
    """Are all items of the bin permitted there?"""
    room = bin.room()
    return (
        min(room) >= 0.0
        and all(packing.never(item, bin) is None for item in bin.items.values())
        and all(count <= 1 for count in bin.apart.values())
    )


def _keep(packing: AllocationPacking, item: Item, home: Bin) -> None:
    """Move the item back home if there is room and it costs nothing."""
    cpu, memory = home.room()
    bin = item.bin
    if bin is None or cpu < item.cpu or memory < item.memory or packing.refuses(item, home) is not None:
        return
    before, cores = _cost(packing, bin) + _cost(packing, home), item.cpu
    packing.remove(item)
    packing.place(item, home, cores)
    if _cost(packing, bin) + _cost(packing, home) > before + ROUNDING:
        packing.remove(item)
        packing.place(item, bin, cores)


def _cost(packing: AllocationPacking, bin: Bin) -> float:
    """The weighted watts of the bin."""
    power = bin.power
    if power is None or not bin.in_use:
        return 0.0
    return packing.power_weight * power.watts(bin.cpu_used / bin.cores)
