# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The overload detector ``iqr`` (IQR): the more a host's use varies, the earlier it counts as overloaded.

    IQR = Q3 - Q1        overloaded if  u_n >= 1 - safety x IQR

The quartiles are the samples at the places 0.25 (n + 1) and 0.75 (n + 1) of the sorted history, rounded half up.

Source: Beloglazov and Buyya (CCPE 2012), with safety 1.5 the best there; the places of the quartiles are those of
OpenStack Neat; CloudSim asks for 12 samples. The published threshold has no lower end; the parameter ``floor`` gives it
one. A constant history has IQR 0 and is overloaded at full use only. Missing samples are left out.
"""

from __future__ import annotations

import math
import typing as t
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._detection.registry import (
    SHORT,
    History,
    Verdict,
    detector,
    too_short,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._options import number, option, whole


@dataclass(frozen=True, slots=True)
class Parameters:
    """safety: how much the spread lowers the threshold. minimum_samples: with fewer there is no answer.
    floor: the threshold is never below this; in a plan never below cpu_fill either."""

    safety: float = option(1.5, number(0))
    minimum_samples: int = option(12, whole(1))
    floor: float = option(0.0, number(0, 1))


@detector("overload", "iqr", Parameters)
def iqr(
    history: History, step: float, migration_time: float, parameters: Parameters, state: t.Mapping[str, t.Any]
) -> Verdict:
    """Compare the last sample with a threshold that falls with the interquartile range."""
    short = too_short(history, parameters.minimum_samples)
    if short is not None:
        return short
    known = history.known
    ordered = sorted(known)
    spread = _quartile(ordered, 0.75) - _quartile(ordered, 0.25)
    threshold = max(parameters.floor, 1.0 - parameters.safety * spread)
    numbers = {"usage": known[-1], "threshold": threshold, "iqr": spread, "samples": len(known)}
    return Verdict(known[-1] >= threshold, {}, numbers, threshold - known[-1] - SHORT)


def _quartile(ordered: list[float], part: float) -> float:
    place = math.floor(part * (len(ordered) + 1) + 0.5) - 1
    return ordered[max(0, min(place, len(ordered) - 1))]
