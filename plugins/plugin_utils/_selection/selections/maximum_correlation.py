# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The selection ``maximum_correlation`` (MC): the domain whose load goes most with that of the others.

    selected: the domain with the largest R^2 when its history is regressed, with a constant, on those of the others

The higher the multiple correlation of the loads of a host, the likelier they overload it together.

Source: Beloglazov and Buyya (CCPE 2012), after Verma et al. ("Server workload analysis for power minimization using
consolidation", USENIX ATC 2009). A step where the sample of one is missing is left out for all. A constant history goes
with nothing. Where the steps are no more than the domains, every R^2 would be 1, and there is no answer.
"""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._selection.registry import (
    Choice,
    MigratableDomains,
    NoParameters,
    least,
    selection,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._statistics import explained


@selection("maximum_correlation")
def maximum_correlation(
    domains: MigratableDomains,
    step: float,
    migration_time: float,
    parameters: NoParameters,
    state: t.Mapping[str, t.Any],
) -> Choice:
    """Select the domain whose CPU use correlates most with that of the others."""
    names = sorted(domains)
    length = min((len(domains[name].cpu_cores) for name in names), default=0)
    rows = zip(*(domains[name].cpu_cores[len(domains[name].cpu_cores) - length :] for name in names), strict=True)
    common = [tuple(float(cores) for cores in row if cores is not None) for row in rows if None not in row]
    numbers: dict[str, t.Any] = {"samples": len(common), "needed": len(names) + 1}
    if len(names) < 2 or len(common) < len(names) + 1:
        return Choice(None, {}, numbers)
    found = dict(zip(names, explained(list(zip(*common, strict=True))), strict=True))
    name = least({name: -value for name, value in found.items()})
    return Choice(name, {}, {**numbers, "r_squared": found})
