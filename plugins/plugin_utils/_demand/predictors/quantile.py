# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The predictor ``quantile``: what was enough in that share of the time.

It is the smallest sample that so many samples are not above (nearest rank).

The bound: in so many samples the first series is at most its quantile, and the second one is never above its maximum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils import _statistics
from ansible_collections.virtops.balance.plugins.plugin_utils._demand.registry import Window, predictor
from ansible_collections.virtops.balance.plugins.plugin_utils._options import fraction, option
from ansible_collections.virtops.balance.plugins.plugin_utils._text import ordinal


@dataclass(frozen=True, slots=True)
class Parameters(Window):
    """quantile: the share of the time, a fraction; 1 = the maximum."""

    quantile: float = option(0.95, fraction(above=True))


def _maximum(samples: Sequence[float], now: float, parameters: Parameters) -> float:
    return max(samples)


def _words(parameters: Parameters) -> str:
    if parameters.quantile >= 1.0:
        return "at most"
    return f"at the {ordinal(100.0 * parameters.quantile)} percentile"


@predictor("quantile", Parameters, bound=_maximum, words=_words)
def quantile(samples: Sequence[float], now: float, parameters: Parameters) -> float:
    """The quantile of the samples."""
    return _statistics.quantile(samples, parameters.quantile)
