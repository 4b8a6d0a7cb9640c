# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

"""Private to the collection: the progress of a migration, as a line for the terminal."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._text import clean

# The least time between two lines, and between two lines with the same text.
EVERY_SECONDS = 3.0
SAME_EVERY_SECONDS = 30.0
# Longer than the names in tables, because these lines have no columns.
_NAME = 40

_PHASES = {
    "checking": "checking both hosts",
    "preparing": "preparing",
    "aborting": "out of time, ending the migration",
    "verifying": "checking both hosts again",
    "finishing": "restoring its settings",
}


def line(progress: t.Mapping[str, t.Any]) -> str:
    """Return one line, e.g. "web-1 kvm1 -> kvm3: 43 % of 96 MiB, 12.1 MiB/s, 4 s left, iteration 2".

    ``progress``: what the module domain_migrate writes into its progress file. It comes from another machine, so any
    key may be missing or have a wrong type.
    """
    names = [clean(progress.get(key) or "?", _NAME) for key in ("name", "source", "destination")]
    head = f"{names[0]} {names[1]} -> {names[2]}: "
    phase = str(progress.get("phase"))
    if phase in _PHASES:
        return head + _PHASES[phase]
    percent, total, rate, left, iteration = (
        _number(progress.get(key))
        for key in ("percent", "total_mib", "mib_per_second", "remaining_seconds", "iteration")
    )
    if percent is None:
        return head + "starting"
    parts = [f"{percent:.0f} %" + ("" if total is None else f" of {total:.0f} MiB")]
    if rate is not None:
        parts.append(f"{rate:.1f} MiB/s")
    if left is not None:
        parts.append(f"{left:.0f} s left")
    if iteration is not None:
        parts.append(f"iteration {iteration:.0f}")
    if progress.get("converging") is False:
        parts.append("the guest changes its memory as fast as it is sent")
    if phase == "post_copy":
        parts.append("post-copy")
    return head + ", ".join(parts)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


class Ticker:
    """Decides which lines are shown, so that a long migration does not fill the terminal."""

    def __init__(self) -> None:
        self._last: str | None = None
        self._shown_at = 0.0
        self._started_at: float | None = None

    def next(self, progress: t.Mapping[str, t.Any] | None, *, now: float) -> str | None:
        """Return the line to show at ``now`` (seconds of a monotonic clock), or None."""
        if self._started_at is None:
            self._started_at = self._shown_at = now
        if progress is None:
            return None
        text = line(progress)
        # The phases before and after the copy get a line only if they take long.
        quick = self._last is None and progress.get("percent") is not None
        wait = SAME_EVERY_SECONDS if text == self._last else EVERY_SECONDS
        if not quick and now - self._shown_at < wait:
            return None
        self._last, self._shown_at = text, now
        return text
