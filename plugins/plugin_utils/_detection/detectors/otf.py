# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The overload detector ``otf`` (OTF): the host was overloaded for too large a part of its time.

    overloaded if  u_n >= threshold  and  (T_m + t_over) / (T_m + t) >= fraction

t are the steps since the counting began, t_over those of them with u >= threshold, T_m = migration_time / step: during
a migration the host stays overloaded.

Source: the overload time fraction of Beloglazov and Buyya ("Managing overloaded hosts for dynamic consolidation of
virtual machines in Cloud data centers under Quality of Service constraints", TPDS 2013). There a host is overloaded at
full use; measured use hardly ever gets there, therefore the parameter. t and t_over are the state, so they reach
further back than the history. Missing samples are not counted.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._detection.registry import (
    SHORT,
    History,
    Verdict,
    detector,
    overload_time,
    too_short,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._options import number, option, whole


@dataclass(frozen=True, slots=True)
class Parameters:
    """fraction: the part of the time that a host may be overloaded. threshold: the use from which it is.
    minimum_samples: with fewer there is no answer."""

    fraction: float = option(0.1, number(0, 1))
    threshold: float = option(0.9, number(0, 1))
    minimum_samples: int = option(10, whole(1))


@detector("overload", "otf", Parameters)
def otf(
    history: History, step: float, migration_time: float, parameters: Parameters, state: t.Mapping[str, t.Any]
) -> Verdict:
    """Compare the overload time with the permitted fraction."""
    steps, over = overload_time(history, parameters.threshold, state)
    counted = {"steps": steps, "overloaded_steps": over}
    if steps < parameters.minimum_samples or history.latest is None:
        return too_short(history, parameters.minimum_samples, counted) or Verdict(None, counted, counted)
    ahead = migration_time / step
    found = (ahead + over) / (ahead + steps)
    decision = history.latest >= parameters.threshold and found >= parameters.fraction
    numbers = {**counted, "fraction": found, "limit": parameters.fraction}
    # More in every step is more for good: a use that reaches the threshold comes to any fraction in time.
    return Verdict(decision, counted, numbers, parameters.threshold - history.latest - SHORT)
