# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The allocation ``power_expand_min_max`` (PEMM): as expand_min_max, less what the power costs.

Definition: as expand_min_max, but what a host gains by a domain is the utility less power_weight times the watts that
it draws more, the idle ones included where it was not in use. So a host comes into use only where the domains on it are
worth its power, and a core is handed out only where it is worth its watts. A domain that is worth its power on no host
is left out. A larger power_weight saves energy, a smaller one favours performance, 0 is expand_min_max.

Complexity, for D domains and H hosts: that of expand_min_max times the straight parts of a power table (1 or 10).

Source: PowerExpandMinMax in Cardosa, Korupolu, Singh, "Shares and utilities based power consolidation in virtualized
server environments" (IM 2009); patents of the same authors: US 9,424,094, US 10,282,234, US 10,789,106. Left open there
and chosen here: power is modelled at the utilisation that the handed-out cores make (see _power_model.py), and a host
that is not in use draws nothing; the rest as in expand_min_max, but no host comes into use for a gain of nothing. A
domain alone is often not worth the idle watts of a host that several together are worth: finding that is left to the
improvement, which is ours (parameter ``rounds``, 0 = without; see _allocation/improvement.py).

Of 358 random fleets of 2 to 4 hosts (those of benchmarks/allocation.py, with three weights) 357 reach 0.96 of the
proved optimum or more, in the mean 0.998. The worst has 0.756: two hosts are in use there where one would do with other
domains, and neither closing a host nor filling one anew is a gain by itself.
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


@allocation("power_expand_min_max", Parameters)
def power_expand_min_max(packing: AllocationPacking, parameters: Parameters) -> None:
    """Place each item where utility less the cost of power rises most."""
    expand(packing, packing.power_weight, parameters.rounds)
