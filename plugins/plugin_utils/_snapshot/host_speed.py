# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What one thread of each host does, against one of the slowest host.

What the inventory says counts (balance_host_speed). Where it says nothing of any host, the highest clock rate of their
CPUs decides if that of all of them is known, because it tells little beside a guess. Rates that differ by a few per
cent are those of equal machines with unlike parts, and count as equal: a fleet of such hosts is planned as ever.
"""

from __future__ import annotations

import math
import typing as t
from collections.abc import Mapping

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import SnapshotError
from ansible_collections.virtops.balance.plugins.plugin_utils._text import shown

EQUAL = 0.05
"""Rates up to this fraction above the lowest of a class are in that class."""
_DIGITS = 3


def host_speeds(hosts: Mapping[str, Mapping[str, t.Any]], given: Mapping[str, t.Any]) -> dict[str, float | None]:
    """The speed of each host of a snapshot; None where nothing is known, which counts as 1. ``given``: what the
    inventory says, null where it says nothing. Raises SnapshotError if that is no number above 0."""
    said = {name: _given(name, given.get(name)) for name in hosts}
    if any(speed is not None for speed in said.values()):
        return said
    known = {name: _megahertz(host) for name, host in hosts.items() if host.get("state") != "unknown"}
    rates = sorted({rate for rate in known.values() if rate is not None})
    if not rates or None in known.values():
        return said
    classes: dict[float | None, float] = {}
    lowest = rates[0]
    for rate in rates:
        if rate > lowest * (1.0 + EQUAL):
            lowest = rate
        classes[rate] = round(lowest / rates[0], _DIGITS)
    return {name: classes.get(known.get(name)) for name in hosts}


def _given(name: str, value: t.Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        # From the command line, or an inventory in INI format, a number may come as a text.
        speed = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        speed = math.nan
    if not 0.0 < speed < math.inf:
        raise SnapshotError(
            f"balance_host_speed of {name} is {shown(value)}; it must be a number above 0, such as 1.25: what one of "
            "its threads does, against one of a host of speed 1."
        )
    return speed


def _megahertz(host: Mapping[str, t.Any]) -> float | None:
    """The highest clock rate of a host; of one that sleeps, that of before."""
    about = host.get("asleep" if host.get("state") == "asleep" else "cpu")
    rate = about.get("max_mhz") if isinstance(about, Mapping) else None
    return float(rate) if isinstance(rate, (int, float)) and not isinstance(rate, bool) and rate > 0 else None
