# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The predictor ``n_sigma``: the mean and so many standard deviations.

Source: Bashir et al., "Take it to the limit: peak prediction-driven resource overcommitment in datacenters" (EuroSys
2021). Its own bound: the standard deviation of a sum is at most the sum of the standard deviations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._demand.registry import Window, predictor
from ansible_collections.virtops.balance.plugins.plugin_utils._options import number, option
from ansible_collections.virtops.balance.plugins.plugin_utils._statistics import mean_and_deviations


@dataclass(frozen=True, slots=True)
class Parameters(Window):
    """sigmas: how many standard deviations are added to the mean."""

    sigmas: float = option(2.0, number(0, 1000))


def _words(parameters: Parameters) -> str:
    return f"at the mean plus {parameters.sigmas:g} standard deviations"


@predictor("n_sigma", Parameters, words=_words)
def n_sigma(samples: Sequence[float], now: float, parameters: Parameters) -> float:
    """The mean plus so many standard deviations."""
    return mean_and_deviations(samples, parameters.sigmas)
