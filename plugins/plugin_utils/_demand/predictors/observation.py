# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The predictor ``observation``: what is wanted at this moment, whatever was wanted before."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.virtops.balance.plugins.plugin_utils._demand.registry import Window, predictor


def _words(parameters: Window) -> str:
    return "now"


@predictor("observation", Window, words=_words)
def observation(samples: Sequence[float], now: float, parameters: Window) -> float:
    """The present demand."""
    return now
