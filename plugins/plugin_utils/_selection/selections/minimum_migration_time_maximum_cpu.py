# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The selection ``minimum_migration_time_maximum_cpu``: of the domains that migrate quickest, the busiest.

    selected: the domain with the largest mean of its last n samples of CPU, of those with the least memory to copy

Source: OpenStack Neat (Beloglazov and Buyya, CCPE 2015). There memory comes in few sizes and equals are many; what is
resident hardly ever is equal, therefore the parameter ``within``. One with less than half of the n samples is left out.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._options import number, option, whole
from ansible_collections.virtops.balance.plugins.plugin_utils._selection.registry import (
    Choice,
    MigratableDomains,
    least,
    selection,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._statistics import recent_mean

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Parameters:
    """samples: how many of the last ones the mean is made of. within: domains whose memory is at most by this fraction
    above the least migrate as quickly; 0 = as published."""

    samples: int = option(5, whole(1))
    within: float = option(0.1, number(0))


@selection("minimum_migration_time_maximum_cpu", Parameters)
def minimum_migration_time_maximum_cpu(
    domains: MigratableDomains, step: float, migration_time: float, parameters: Parameters, state: t.Mapping[str, t.Any]
) -> Choice:
    """Select the busiest of the domains that migrate fastest."""
    limit = min((domain.memory_mib for domain in domains.values()), default=0.0) * (1.0 + parameters.within)
    means = {}
    for name, domain in domains.items():
        if domain.memory_mib <= limit + _ROUNDING:
            mean, _numbers = recent_mean(domain.cpu_cores, parameters.samples)
            if mean is not None:
                means[name] = mean
    chosen = least({name: -mean for name, mean in means.items()})
    numbers = {} if chosen is None else {"memory_mib": domains[chosen].memory_mib, "cpu_cores": means[chosen]}
    return Choice(chosen, {}, numbers)
