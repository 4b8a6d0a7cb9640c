# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What a run changes in a policy."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence


def for_run(
    policy: Mapping[str, t.Any],
    *,
    strategy: str = "",
    drain: Sequence[str] = (),
    restart: bool = False,
    forget: bool = False,
) -> dict[str, t.Any]:
    """Return the complete policy with the strategy of this run, where it has one; to empty the hosts in ``drain``
    beside those that the policy drains; with all domains allowed to be restarted where ``restart`` says so; and
    without waiting for moves that failed before where ``forget`` says so.
    """
    changes: dict[str, t.Any] = {}
    if strategy:
        changes["strategy"] = strategy
    if drain:
        changes["strategy"] = "drain"
        changes["drained_hosts"] = list(dict.fromkeys([*(policy.get("drained_hosts") or ()), *drain]))
    if restart:
        changes["restart"] = "domains"
    if forget:
        changes["retry_after_seconds"] = 0.0
    return {**policy, **changes}
