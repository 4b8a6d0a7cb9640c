# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The allocation ``best_fit_decreasing`` (BFD): the biggest first, each on the fullest host that has room.

Definition: domains by maximum and memory, descending; each goes, with its maximum, on the host in use with the least
free CPU (then the least free memory) that has room for it and may carry it. Where there is none, the smallest host with
room comes into use, one that is awake before one that is asleep. A domain that finds no host is left out, the others
are placed all the same (parameter ``all_or_nothing``).

Complexity, for D domains and H hosts: D log D + H log H to sort, O(log H) to find the first host with the CPU, and as
many steps as there are fuller-looking hosts without the memory: at worst D H.

Source: the vector bin packing of OpenStack Neat (Beloglazov and Buyya, "OpenStack Neat", CCPE 2015), with its fractions
of 0.8 of the CPU and 0.95 of the memory (parameters ``cpu_fill``, ``memory_fill``). Different here: it places nothing
where one domain does not fit. Chosen here: ties by name of host; the order of hosts is kept up to date after
every placement.
"""

from __future__ import annotations

import typing as t
from bisect import bisect_left, insort

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.best_fit import (
    TIERS,
    BinT,
    ItemT,
    Packing,
    Parameters,
    conclude,
    decreasing,
    tier,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.registry import allocation


@allocation("best_fit_decreasing", Parameters)
def best_fit_decreasing(packing: Packing[ItemT, BinT], parameters: Parameters) -> None:
    """Place the largest items first, each in the fullest bin with room."""
    fit = _BestFit(packing, parameters)
    for item in decreasing(packing):
        fit.place(item)
    conclude(packing, parameters)


class _BestFit(t.Generic[ItemT, BinT]):
    """The hosts of each tier by free CPU, free memory and name, ascending."""

    def __init__(self, packing: Packing[ItemT, BinT], parameters: Parameters) -> None:
        self._packing, self._parameters = packing, parameters
        self._by_name = {bin.name: bin for bin in packing.bins}
        self._tiers: list[list[tuple[float, float, str]]] = [[] for _tier in range(TIERS)]
        for bin in packing.bins:
            insort(self._tiers[tier(bin)], self._key(bin))

    def _key(self, bin: BinT) -> tuple[float, float, str]:
        return (*bin.room(self._parameters.cpu_fill, self._parameters.memory_fill), bin.name)

    def place(self, item: ItemT) -> None:
        """Put the item on the first host with room."""
        for hosts in self._tiers:
            for index in range(bisect_left(hosts, (item.cpu_max,)), len(hosts)):
                _cpu, memory, name = hosts[index]
                bin = self._by_name[name]
                if memory >= item.memory and self._packing.refuses(item, bin) is None:
                    del hosts[index]
                    self._packing.place(item, bin, item.cpu_max)
                    insort(self._tiers[0], self._key(bin))
                    return
