# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The policies that are compared. All are without cpu_overcommit, which decides in place of the load where fleets are
idle."""

from __future__ import annotations

import typing as t

Json = dict[str, t.Any]

NOTHING, MOMENT, HISTORY, SAVING = "nothing done", "by the moment", "default", "recommended"

_MOMENT: Json = {"demand": "observation", "host_demand": "observation", "quiet_minutes": 0}

BALANCE: dict[str, Json | None] = {
    NOTHING: None,
    MOMENT: {"cpu_overcommit": None, **_MOMENT},
    HISTORY: {"cpu_overcommit": None},
}
"""For made loads; None leaves every domain where it is."""

_FREE: Json = {
    "strategy": "consolidate",
    "cpu_overcommit": None,
    "memory_limit": 1.0,
    "max_moves": None,
    "cooldown_seconds": 0,
}
"""As free as the reference policy is."""

CONSOLIDATE: dict[str, Json] = {
    MOMENT: {**_FREE, **_MOMENT, "consolidation": {"spare_hosts": 0, "idle_rounds": 0}},
    HISTORY: {"strategy": "consolidate", "cpu_overcommit": None, "memory_limit": 1.0},
    SAVING: {
        **_FREE,
        "cpu_limit": 0.85,
        "max_moves_out": 20,
        "max_moves_in": 20,
        "max_moves_per_wave": None,
        "consolidation": {
            "spare_hosts": 0,
            "idle_rounds": 0,
            "overload": {"name": "threshold", "parameters": {"threshold": 0.85}},
            "underload": {"name": "threshold", "parameters": {"threshold": 0.9}},
            "placement": {"name": "power_aware_best_fit_decreasing", "parameters": {"cpu_fill": 0.8}},
        },
    },
}
"""For days of PlanetLab."""


def consolidating(who: str, hosts: int) -> Json | None:
    """The policy for so many hosts; None for who has none. Recommended are a fifth as many moves in a run as there are
    hosts: while a run lasts, no other one can relieve a host."""
    policy = CONSOLIDATE.get(who)
    return {**policy, "max_moves": max(1, hosts // 5)} if policy is not None and who == SAVING else policy
