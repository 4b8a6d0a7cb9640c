# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A planned live migration, and what it is for."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import (
    ProjectedDomain,
    ProjectedHost,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason

PARKING = "parking"
OVERLOAD = "overload"
UNDERLOAD = "underload"
PEAK = "peak"
CONTENTION = "contention"


@dataclass(slots=True)
class Move:
    """One live migration. ``purpose``: the constraint that it repairs, PARKING for a detour, OVERLOAD or UNDERLOAD if
    it relieves or empties its source, PEAK if it relieves it at its peaks, CONTENTION if domains have to wait there,
    None if it improves the score. ``forced``: limits give way for it. ``waits``: why it is not in the previous wave.
    """

    domain: ProjectedDomain
    source: ProjectedHost
    destination: ProjectedHost
    purpose: str | None = None
    forced: bool = False
    waits: Reason | None = None
