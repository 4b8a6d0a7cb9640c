# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The allocation ``first_fit`` (BS, the baseline): the biggest first, each on the first host with room.

Definition: domains by maximum, descending; each goes, with its maximum, on the first host that has room for it and may
carry it. Shares do not matter. A domain that finds no such host is left out.

Complexity, for D domains and H hosts: D log D + H log H to sort, and O(log H) for each search where one resource is
scarce (see RoomTree), so D log D + H log H + D log H; at worst D H, as published.

Source: the baseline in Cardosa, Korupolu, Singh, "Shares and utilities based power consolidation in virtualized server
environments" (IM 2009); patents of the same authors: US 9,424,094, US 10,282,234, US 10,789,106. The baseline fills a
host to 90 % of its cores: here the parameter ``fill``. Left open there and chosen here: hosts in the order of the bins,
ties between domains by name, memory is never filled by fraction.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.bins import AllocationPacking, FirstFit
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.registry import allocation
from ansible_collections.virtops.balance.plugins.plugin_utils._options import number, option


@dataclass(frozen=True, slots=True)
class Parameters:
    """fill: the fraction of a host's cores that is given away."""

    fill: float = option(0.9, number(0, 1, above=True))


@allocation("first_fit", Parameters)
def first_fit(packing: AllocationPacking, parameters: Parameters) -> None:
    """Place the largest items first, each in the first bin with room."""
    fit = FirstFit(packing, parameters.fill)
    for item in sorted(packing.items, key=lambda item: (-item.cpu_max, item.name)):
        if not fit.place(item, item.cpu_max):
            fit.leave_out(item, item.cpu_max)
