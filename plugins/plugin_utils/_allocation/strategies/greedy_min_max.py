# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The allocation ``greedy_min_max`` (GMM): as greedy_max, but a domain may also run at its minimum.

Definition: every domain is offered twice, at its minimum and at its maximum, in the order of utility for each core of
the offer, descending. The first offer that fits on a host is taken: the first host with room that may carry it. Where
the minimum was taken, the maximum replaces it when its turn comes, on the same host if that has room, or else on the
first other host with room. What lies between the two is not given. A domain of which neither offer fits is left out.

Complexity, for D domains and H hosts: 2 D offers, so the same as greedy_max; at worst D log D + H log H + D H, as
published.

Source: GreedyMinMax in Cardosa, Korupolu, Singh, "Shares and utilities based power consolidation in virtualized server
environments" (IM 2009); patents of the same authors: US 9,424,094, US 10,282,234, US 10,789,106. Left open there and
chosen here: of two offers with the same utility for each core the maximum first (with a utility that is straight from
0, all offers of a domain are such, and the minimum first would crowd out the maxima), then by name; hosts in the order
of the bins. Different here: there only the same host is tried for the maximum. Where running at all has a value, all
minima come first and fill the first hosts, so that the others stayed empty: on 8 hosts with 24 domains GMM had 0.83 of
the utility of GM in the mean, and has 1.01 now.

It can still be below GM, by few percent: a minimum that is worth more for each core takes the room in which GM places
the maximum of a domain that is worth a little less, and what then is left over is given to nobody. That is the
definition; expand_min_max gives it away.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.bins import AllocationPacking, FirstFit
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.registry import NoParameters, allocation


@allocation("greedy_min_max")
def greedy_min_max(packing: AllocationPacking, _parameters: NoParameters) -> None:
    """Place the most valuable offers first, at the minimum or the maximum of an item."""
    fit = FirstFit(packing)
    offers = [(-round(item.density_max, 9), item.name, 0, item, item.cpu_max) for item in packing.items]
    offers += [(-round(item.density_min, 9), item.name, 1, item, item.cpu_min) for item in packing.items]
    for _density, _name, _kind, item, cpu in sorted(offers, key=lambda offer: offer[:3]):
        if item.bin is None:
            fit.place(item, cpu)
        elif cpu > item.cpu and not fit.resize(item, cpu):
            fit.move(item, cpu)
    for item in packing.items:
        if item.bin is None:
            fit.leave_out(item, item.cpu_min)
