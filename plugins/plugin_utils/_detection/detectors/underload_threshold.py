# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The underload detector ``threshold``: the last sample is at most a fixed fraction.

    underloaded if  u_n <= threshold

Source: OpenStack Neat (Beloglazov and Buyya, CCPE 2015), with 0.5.
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
    """threshold: at or below this fraction of its CPU a host is underloaded."""

    threshold: float = option(0.5, number(0, 1))


@detector("underload", "threshold", Parameters)
def threshold(
    history: History, step: float, migration_time: float, parameters: Parameters, state: t.Mapping[str, t.Any]
) -> Verdict:
    """Compare the last sample with the threshold."""
    latest = history.latest
    if latest is None:
        return too_short(history, 1) or Verdict(None, {}, {})
    return Verdict(latest <= parameters.threshold, {}, {"usage": latest, "threshold": parameters.threshold})
