# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""How a recording is replayed: what is not the policy's, but that of who runs it."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._options import flag, number, option, whole


@dataclass(frozen=True, slots=True)
class Settings:
    """every: there is a run at every n-th time of the recording.
    history_minutes: how far back runs can look; 0 = they decide by the moment alone.
    bandwidth_mib_s: how much one migration copies in a second; null = bandwidth_mib_s of the policy.
    held: what domains want stays as it is until the next time, and does not change evenly towards it.
    wake_seconds: how long a host takes from being woken until domains can come to it. It needs power meanwhile.
    """

    every: int = option(1, whole(1))
    history_minutes: float = option(120.0, number(0))
    bandwidth_mib_s: float | None = option(None, number(0, nullable=True, above=True))
    held: bool = option(False, flag)
    wake_seconds: float = option(60.0, number(0))
