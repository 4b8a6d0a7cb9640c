# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The allocation ``expand_min_max`` (EMM): each domain goes where the fleet's utility rises most, power aside.

Definition: domains by utility for each core at the minimum, descending. Each is tried on every host: it gets its
minimum there, and what the host has left is handed out anew among all its domains by utility for each further core (see
_allocation/expansion.py). It goes on the host whose utility rises most. Where that is a loss on every host, or none has
room, it is left out.

Complexity, for D domains and H hosts: D log D + H log H + D H log D for the expansion, below the published H D^2 log D,
and H D^2 log D for each round of the improvement.

Source: ExpandMinMax in Cardosa, Korupolu, Singh, "Shares and utilities based power consolidation in virtualized server
environments" (IM 2009); patents of the same authors: US 9,424,094, US 10,282,234, US 10,789,106. Left open there and
chosen here: hosts in the order of the bins, and of equal gains the first host, which fills one host before the next;
ties between domains by name; a domain by which the utility neither rises nor falls is placed. The improvement
(parameter ``rounds``, 0 = without; see _allocation/improvement.py) is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.bins import AllocationPacking
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.improvement import expand
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.registry import allocation
from ansible_collections.virtops.balance.plugins.plugin_utils._options import option, whole


@dataclass(frozen=True, slots=True)
class Parameters:
    """rounds: the most rounds of the improvement."""

    rounds: int = option(10, whole(0))


@allocation("expand_min_max", Parameters)
def expand_min_max(packing: AllocationPacking, parameters: Parameters) -> None:
    """Place each item where utility rises most."""
    expand(packing, 0.0, parameters.rounds)
