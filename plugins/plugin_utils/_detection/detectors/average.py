# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The overload detector ``average``: the mean of the last samples is above a fixed fraction.

    overloaded if  (u_(n-k+1) + ... + u_n) / k > threshold

Source: OpenStack Neat (Beloglazov and Buyya, CCPE 2015), last_n_average_threshold. A missing sample is not counted;
at least half of the k must be there.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._detection.registry import History, Verdict, detector
from ansible_collections.virtops.balance.plugins.plugin_utils._options import number, option, whole
from ansible_collections.virtops.balance.plugins.plugin_utils._statistics import recent_mean


@dataclass(frozen=True, slots=True)
class Parameters:
    """threshold: above this mean a host is overloaded. samples: how many of the last ones are looked at."""

    threshold: float = option(0.8, number(0, 1))
    samples: int = option(5, whole(1))


@detector("overload", "average", Parameters)
def average(
    history: History, step: float, migration_time: float, parameters: Parameters, state: t.Mapping[str, t.Any]
) -> Verdict:
    """Compare the mean of the last samples with the threshold."""
    mean, numbers = recent_mean(history.samples, parameters.samples)
    if mean is None:
        return Verdict(None, {}, numbers)
    told = {**numbers, "mean": mean, "threshold": parameters.threshold}
    return Verdict(mean > parameters.threshold, {}, told, parameters.threshold - mean)
