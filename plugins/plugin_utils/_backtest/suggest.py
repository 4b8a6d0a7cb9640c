# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Changes of a policy to be tried over a recording, and which of them nothing else beats.

The grid is small on purpose: the keys by which moves and unserved demand are traded against each other, each with the
few values that make a difference one can see.
"""

from __future__ import annotations

import itertools
import typing as t
from collections.abc import Mapping, Sequence

Json = dict[str, t.Any]

_DEMAND = ("demand", ("mean", "peak"))
_COOLDOWN = ("cooldown_seconds", (1800.0, 7200.0))
GRIDS: Mapping[str, Mapping[str, Sequence[t.Any]]] = {
    "balance": dict((("threshold", (0.1, 0.2, 0.4)), ("hold", (1, 3)), _DEMAND, _COOLDOWN)),
    "consolidate": dict((("quiet_minutes", (10.0, 30.0, 60.0)), _DEMAND, _COOLDOWN)),
}
"""What is tried, by strategy; all others have what ``balance`` has."""
_LEAST_POINTS = 0.0004
"""Whatever is less is shown as less than .001 %, and is not nothing."""
_SHORT = {"threshold": "t", "hold": "h", "quiet_minutes": "q", "cooldown_seconds": "c", "demand": ""}


def grid(policy: Json) -> dict[str, Json]:
    """Complete policies that differ from this complete one by the values of the grid, by names such as ``t0.4 h3 mean
    c30``: threshold, hold, demand, and the cooldown in minutes. One that would be the policy itself is left out."""
    keys = GRIDS.get(policy["strategy"], GRIDS["balance"])
    found = {}
    for values in itertools.product(*keys.values()):
        changes = dict(zip(keys, values, strict=True))
        name = " ".join(f"{_SHORT[key]}{_short(key, value)}" for key, value in changes.items())
        if "demand" in changes and changes["demand"] == policy["demand"]["name"]:
            del changes["demand"]
        elif "demand" in changes:
            changes["demand"] = {"name": changes["demand"], "parameters": {}}
        if "target" in policy and policy["target"] is not None and policy["target"] > changes.get("threshold", 1.0):
            changes["target"] = None
        complete = {**policy, **changes}
        if complete != policy:
            found[name] = complete
    return found


def _short(key: str, value: t.Any) -> str:
    if key == "cooldown_seconds":
        return f"{value / 60:g}"
    return value if isinstance(value, str) else f"{value:g}"


def front(results: Sequence[Mapping[str, t.Any]]) -> list[str]:
    """The names of the policies that no other one beats in moves without leaving more unserved, the one with the fewest
    moves first. Of those with the same figures, as they are shown, the first one counts."""
    known = [result for result in results if result.get("unserved") is not None]
    # Sorting is stable, so that of equals the first stays the first.
    ordered = sorted(known, key=lambda result: (result["moves"], _as_shown(result["unserved"])))
    found, least = [], float("inf")
    for result in ordered:
        if _as_shown(result["unserved"]) < least:
            found.append(str(result["policy"]))
            least = _as_shown(result["unserved"])
    return found


def _as_shown(fraction: float) -> float:
    """In per cent, with the digits that reports show: what looks the same is the same."""
    points = 100.0 * fraction
    return max(round(points, 1 if points >= 1 else 3), min(points, _LEAST_POINTS))
