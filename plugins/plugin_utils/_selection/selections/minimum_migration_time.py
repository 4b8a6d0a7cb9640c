# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The selection ``minimum_migration_time`` (MMT): the domain whose migration takes the least time.

    selected: the domain with the least memory to copy, since  time = memory / bandwidth

Source: Beloglazov and Buyya (CCPE 2012).
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


@selection("minimum_migration_time")
def minimum_migration_time(
    domains: MigratableDomains,
    step: float,
    migration_time: float,
    parameters: NoParameters,
    state: t.Mapping[str, t.Any],
) -> Choice:
    """Select the domain whose migration takes the least time."""
    name = least({name: domain.memory_mib for name, domain in domains.items()})
    return Choice(name, {}, {} if name is None else {"memory_mib": domains[name].memory_mib})
