# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The allocation ``power_aware_best_fit_decreasing`` (PABFD): the biggest first, each where power rises least.

Definition: domains by maximum and memory, descending; each goes, with its maximum, on the host in use whose modelled
watts rise least by it, of those that have room for it and may carry it. Where there is none, a host comes into use: one
that is awake before one that is asleep, again the one that adds the fewest watts. A domain that finds no host is left
out, the others are placed all the same (parameter ``all_or_nothing``).

Complexity, for D domains and H hosts: D log D + D H.

Source: Beloglazov and Buyya, "Optimal online deterministic algorithms and adaptive heuristics for energy and
performance efficient dynamic consolidation of virtual machines in Cloud data centers" (CCPE 2012). Chosen here: hosts
in use always come before others, even where a sleeping one would add fewer watts, because waking one takes time; a host
that is not in use draws nothing before; one whose power is not known comes after those of its kind where it is; equal
rises go to the host with the least free CPU, then by name.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.best_fit import (
    BinT,
    ItemT,
    Packing,
    Parameters,
    conclude,
    decreasing,
    tier,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.registry import allocation

_UNKNOWN = float("inf")


@allocation("power_aware_best_fit_decreasing", Parameters)
def power_aware_best_fit_decreasing(packing: Packing[ItemT, BinT], parameters: Parameters) -> None:
    """Place the largest items first, each where power rises least."""
    for item in decreasing(packing):
        best: tuple[tuple[int, float, float, str], BinT] | None = None
        for bin in packing.bins:
            cpu, memory = bin.room(parameters.cpu_fill, parameters.memory_fill)
            if cpu >= item.cpu_max and memory >= item.memory:
                rank = (tier(bin), _rise(bin, item), cpu, bin.name)
                # The rules are asked last, because they are what takes time.
                if (best is None or rank < best[0]) and packing.refuses(item, bin) is None:
                    best = (rank, bin)
        if best is not None:
            packing.place(item, best[1], item.cpu_max)
    conclude(packing, parameters)


def _rise(bin: BinT, item: ItemT) -> float:
    """How many watts more the host draws with the item, as far as differences are no mere rounding."""
    if bin.power is None:
        return _UNKNOWN
    before = bin.power.watts(bin.cpu_used / bin.cores) if bin.in_use else 0.0
    return round(bin.power.watts((bin.cpu_used + item.cpu_max) / bin.cores) - before, 6)
