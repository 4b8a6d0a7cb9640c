# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The predictor ``mean``: as much as on average.

The mean of a sum is the sum of the means: domains that take turns count as much as domains that are busy together.
"""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.virtops.balance.plugins.plugin_utils._demand.registry import Window, predictor


def _words(parameters: Window) -> str:
    return "on average"


@predictor("mean", Window, words=_words)
def mean(samples: Sequence[float], now: float, parameters: Window) -> float:
    """The mean of the samples."""
    return sum(samples) / len(samples)
