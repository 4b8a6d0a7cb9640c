# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The overload detector ``threshold`` (THR): the last sample is above a fixed fraction.

    overloaded if  u_n > threshold

Source: Beloglazov and Buyya, "Optimal online deterministic algorithms and adaptive heuristics for energy and
performance efficient dynamic consolidation of virtual machines in Cloud data centers" (CCPE 2012), with 0.8.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._detection.registry import (
    History,
    Verdict,
    detector,
    too_short,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._options import number, option


@dataclass(frozen=True, slots=True)
class Parameters:
    """threshold: above this fraction of its CPU a host is overloaded."""

    threshold: float = option(0.8, number(0, 1))


@detector("overload", "threshold", Parameters)
def threshold(
    history: History, step: float, migration_time: float, parameters: Parameters, state: t.Mapping[str, t.Any]
) -> Verdict:
    """Compare the last sample with the threshold."""
    latest = history.latest
    if latest is None:
        return too_short(history, 1) or Verdict(None, {}, {})
    numbers = {"usage": latest, "threshold": parameters.threshold}
    return Verdict(latest > parameters.threshold, {}, numbers, parameters.threshold - latest)
