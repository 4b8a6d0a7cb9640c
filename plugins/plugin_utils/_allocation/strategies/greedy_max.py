# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The allocation ``greedy_max`` (GM): the most valuable first, each at its maximum on the first host with room.

Definition: domains by utility at the maximum for each core of it, descending; each goes, with its maximum, on the first
host that has room for it and may carry it. A domain that finds no such host is left out.

Complexity, for D domains and H hosts: D log D + H log H to sort and O(log H) for each search where one resource is
scarce (see RoomTree); at worst D log D + H log H + D H, as published.

Source: GreedyMax in Cardosa, Korupolu, Singh, "Shares and utilities based power consolidation in virtualized server
environments" (IM 2009); patents of the same authors: US 9,424,094, US 10,282,234, US 10,789,106. Left open there and
chosen here: hosts in the order of the bins, ties between domains by name.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.bins import AllocationPacking, FirstFit
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.registry import NoParameters, allocation


@allocation("greedy_max")
def greedy_max(packing: AllocationPacking, _parameters: NoParameters) -> None:
    """Place the most valuable items first, each at its maximum."""
    fit = FirstFit(packing)
    for item in sorted(packing.items, key=lambda item: (-round(item.density_max, 9), item.name)):
        if not fit.place(item, item.cpu_max):
            fit.leave_out(item, item.cpu_max)
