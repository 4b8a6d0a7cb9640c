# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The overload detector ``local_regression_robust`` (LRR): local_regression that outliers hardly move.

As local_regression, and then fitted once more with the weights

    w_k (1 - (r_k / s)^2)^2,  0 where |r_k| >= s        r_k = u_k - a - b k,  s = 6 median |r|

Source: Cleveland (JASA 1979) as Beloglazov and Buyya (CCPE 2012) use it. As published the weight of an outlier ends at
0; in OpenStack Neat it grows again beyond s. Where s is 0 the first line goes through most samples and is kept.
"""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._detection.detectors.local_regression import (
    Parameters,
    predicted,
    recent,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._detection.registry import History, Verdict, detector
from ansible_collections.virtops.balance.plugins.plugin_utils._statistics import bisquare, line, tricube


@detector("overload", "local_regression_robust", Parameters)
def local_regression_robust(
    history: History, step: float, migration_time: float, parameters: Parameters, state: t.Mapping[str, t.Any]
) -> Verdict:
    """Compare the robust prediction with the threshold."""
    window = recent(history, parameters)
    if isinstance(window, Verdict):
        return window
    weights = tricube(len(window.samples))
    a, b = line(window.samples, weights)
    lowered = bisquare(window.samples, weights, a, b)
    if lowered is not None:
        a, b = line(window.samples, lowered)
    return predicted(window, a, b, migration_time / step, parameters)
