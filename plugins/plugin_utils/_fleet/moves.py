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


@dataclass(slots=True)
class Move:
    """One live migration. ``purpose`` is the constraint that it repairs, PARKING for a detour, OVERLOAD or UNDERLOAD
    where it relieves or empties its source, None where it makes the score better. ``waits``: what kept it out of the
    wave before its own."""

    domain: ProjectedDomain
    source: ProjectedHost
    destination: ProjectedHost
    purpose: str | None = None
    waits: Reason | None = None
