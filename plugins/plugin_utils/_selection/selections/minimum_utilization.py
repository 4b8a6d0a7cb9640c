# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The selection ``minimum_utilization`` (MU): the domain that used the least CPU last.

Source: Beloglazov and Buyya (CCPE 2012). One whose use is not known is not selected.
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


@selection("minimum_utilization")
def minimum_utilization(
    domains: MigratableDomains,
    step: float,
    migration_time: float,
    parameters: NoParameters,
    state: t.Mapping[str, t.Any],
) -> Choice:
    """Select the domain with the lowest last sample."""
    known = {name: domain.latest for name, domain in domains.items() if domain.latest != float("inf")}
    name = least(known)
    return Choice(name, {}, {} if name is None else {"cpu_cores": known[name]})
