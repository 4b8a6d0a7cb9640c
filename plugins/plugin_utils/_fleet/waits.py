# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Moves that failed and are not tried again yet: what hosts remember, and for how long this policy waits."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import datetime, timedelta

from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Refusal, Snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._times import clock, parse

LONGEST_SECONDS = 24 * 3600.0

Waits = t.Mapping[tuple[str, str], "Wait"]
"""By the UUID of the domain and the name of the destination."""


@dataclass(frozen=True, slots=True)
class Wait:
    """One move that failed ``times`` times, the last time at ``at``; it is not planned before ``until``."""

    reason: str
    times: int
    at: datetime
    until: datetime

    def told(self, now: datetime) -> str:
        """When it failed, why, and when it is tried again."""
        failed = "failed at" if self.times == 1 else f"failed {self.times} times, the last time at"
        why = f" ({self.reason})" if self.reason else ""
        return f"{failed} {clock(self.at, now)}{why}; it is tried again after {self.ends(now)}"

    def ends(self, now: datetime) -> str:
        """When it is tried again, in whole minutes."""
        late = self.until.second or self.until.microsecond
        return clock(self.until + timedelta(minutes=1) if late else self.until, now)


def waits(snapshot: Snapshot, policy: Policy, now: datetime | None) -> Waits:
    """The moves that are waited for: of domains that are still on the host that remembers it.

    Without a time nothing is waited for, because a wait must have an end. A failure from the future was remembered
    while the clock of the host was wrong, and is not waited for either.
    """
    if now is None or policy.retry_after == 0:
        return {}
    found: dict[tuple[str, str], Wait] = {}
    for host in snapshot.hosts.values():
        for refusal in host.refusals:
            domain = snapshot.domains.get(refusal.domain)
            wait = None if domain is None or domain.host != host.name else _wait(refusal, policy.retry_after, now)
            if wait is not None and now < wait.until:
                found[refusal.domain, refusal.destination] = wait
    return found


def _wait(refusal: Refusal, seconds: float, now: datetime) -> Wait | None:
    at = parse(refusal.at)
    if at is None or at > now:
        return None
    # More doublings than that are a day in any case.
    longest = min(seconds * 2.0 ** min(refusal.times - 1, 30), LONGEST_SECONDS)
    return Wait(refusal.reason, refusal.times, at, at + timedelta(seconds=longest))
