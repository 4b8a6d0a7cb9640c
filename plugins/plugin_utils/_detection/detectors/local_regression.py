# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The overload detector ``local_regression`` (LR): where the trend of the last samples leads within a migration's time.

    a, b minimise  sum_k (w_k (u_k - a - b k))^2  over the last n samples, k = 1 ... n
    w_k = (1 - ((n - k) / (n - 1))^3)^3,  w_1 = w_2 = w_3        overloaded if
    safety x (a + b (n + migration_time / step)) >= threshold

Source: the loess method of Cleveland ("Robust locally weighted regression and smoothing scatterplots", JASA 1979) as
Beloglazov and Buyya (CCPE 2012) use it, with safety 1.2 the best there. As in OpenStack Neat the weights enter squared
and the two oldest samples have the weight of the third; in the paper they enter once and the oldest has none. Missing
samples are left out, the others keep their places; at least half of the n must be there.
"""

from __future__ import annotations

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
from ansible_collections.virtops.balance.plugins.plugin_utils._statistics import line, tricube


@dataclass(frozen=True, slots=True)
class Parameters:
    """safety: what the prediction is multiplied by. samples: how many of the last ones the trend is made of.
    threshold: the use that must not be reached."""

    safety: float = option(1.2, number(0, above=True))
    samples: int = option(30, whole(3))
    threshold: float = option(1.0, number(0, above=True))


@detector("overload", "local_regression", Parameters)
def local_regression(
    history: History, step: float, migration_time: float, parameters: Parameters, state: t.Mapping[str, t.Any]
) -> Verdict:
    """Compare the prediction of the trend with the threshold."""
    window = recent(history, parameters)
    if isinstance(window, Verdict):
        return window
    a, b = line(window.samples, tricube(len(window.samples)))
    return predicted(window, a, b, migration_time / step, parameters)


def recent(history: History, parameters: Parameters) -> History | Verdict:
    """The last samples, or the verdict where they are too few."""
    window = History.of(history.samples[-parameters.samples :])
    if len(window.samples) < parameters.samples:
        return Verdict(None, {}, {"samples": len(window.known), "needed": parameters.samples})
    return too_short(window, (parameters.samples + 1) // 2) or window


def predicted(window: History, a: float, b: float, ahead: float, parameters: Parameters) -> Verdict:
    """The verdict on the line a + b x, so many steps after the last sample."""
    prediction = a + b * (len(window.samples) + ahead)
    threshold = parameters.threshold / parameters.safety
    numbers = {"prediction": prediction, "slope": b, "threshold": threshold, "samples": len(window.known)}
    decision = parameters.safety * prediction >= parameters.threshold
    return Verdict(decision, {}, numbers, threshold - prediction - SHORT)
