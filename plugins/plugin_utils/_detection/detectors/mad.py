# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The overload detector ``mad`` (MAD): the more a host's use varies, the earlier it counts as overloaded.

    MAD = median |u_i - median(u)|        overloaded if  u_n >= 1 - safety x MAD

Source: Beloglazov and Buyya (CCPE 2012), with safety 2.5 the best there; CloudSim asks for 12 samples. The published
threshold has no lower end: a use that jumps between 0 and 1 makes it 0 and below. The parameter ``floor`` gives it one.
A constant history has MAD 0 and is overloaded at full use only. Missing samples are left out.
"""

from __future__ import annotations

import statistics
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

    safety: float = option(2.5, number(0))
    minimum_samples: int = option(12, whole(1))
    floor: float = option(0.0, number(0, 1))


@detector("overload", "mad", Parameters)
def mad(
    history: History, step: float, migration_time: float, parameters: Parameters, state: t.Mapping[str, t.Any]
) -> Verdict:
    """Compare the last sample with a threshold that falls with the median absolute deviation."""
    short = too_short(history, parameters.minimum_samples)
    if short is not None:
        return short
    known = history.known
    middle = statistics.median(known)
    deviation = statistics.median(abs(sample - middle) for sample in known)
    threshold = max(parameters.floor, 1.0 - parameters.safety * deviation)
    numbers = {"usage": known[-1], "threshold": threshold, "mad": deviation, "samples": len(known)}
    return Verdict(known[-1] >= threshold, {}, numbers, threshold - known[-1] - SHORT)
