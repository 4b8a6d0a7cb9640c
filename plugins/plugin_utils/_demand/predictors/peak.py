# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The predictor ``peak``: the larger of ``quantile`` and ``n_sigma``, but no more than there ever was.

The quantile of few samples says little about what comes; mean and deviation say little about a load that is mostly
idle.
Source: Bashir et al. (EuroSys 2021), where the maximum of several predictors was cheap and the safest. Different here:
the mean and two deviations of a load that is either high or low are above the maximum, which nothing speaks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._demand.registry import Window, predictor
from ansible_collections.virtops.balance.plugins.plugin_utils._options import fraction, number, option
from ansible_collections.virtops.balance.plugins.plugin_utils._statistics import mean_and_deviations, quantile


@dataclass(frozen=True, slots=True)
class Parameters(Window):
    """quantile: as of quantile. sigmas: as of n_sigma."""

    quantile: float = option(0.95, fraction(above=True))
    sigmas: float = option(2.0, number(0, 1000))


def _bound(samples: Sequence[float], now: float, parameters: Parameters) -> float:
    return max(samples)


def _words(parameters: Parameters) -> str:
    return "at peak"


@predictor("peak", Parameters, bound=_bound, words=_words)
def peak(samples: Sequence[float], now: float, parameters: Parameters) -> float:
    """The larger of the two, at most the maximum."""
    n_sigma = min(mean_and_deviations(samples, parameters.sigmas), max(samples))
    return max(quantile(samples, parameters.quantile), n_sigma)
