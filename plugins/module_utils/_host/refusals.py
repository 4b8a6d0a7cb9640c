# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the moves that failed, as the host that the domain did not leave remembers them.

One refusal is ``{domain, destination, reason, at, times}``: the UUID of the domain, the name of the destination, why
the last try failed, when that was, and how often it failed in all. For how long nobody tries again is up to the policy
of the run that plans, at most a day.
"""

from __future__ import annotations

import typing as t
from datetime import datetime, timedelta, timezone

KEPT = timedelta(days=2)
"""How long a refusal is kept: twice as long as anybody waits for it, so that a new failure still counts the old one."""
MOST = 200
"""How many one host remembers, the newest first."""
MOST_CHARACTERS = 300

Refusal = dict[str, t.Any]


def after_failure(known: t.Iterable[Refusal], *, domain: str, destination: str, reason: str, at: str) -> list[Refusal]:
    """Return the refusals after one more failed move, the newest first, without those that are over."""
    kept = current(known, now=at)
    before = [one for one in kept if (one["domain"], one["destination"]) == (domain, destination)]
    told = reason if len(reason) <= MOST_CHARACTERS else reason[: MOST_CHARACTERS - 1] + "…"
    times = 1 + max((one["times"] for one in before), default=0)
    newest = {"domain": domain, "destination": destination, "reason": told, "at": at, "times": times}
    return [newest, *(one for one in kept if one not in before)][:MOST]


def after_success(known: t.Iterable[Refusal], *, domain: str, at: str) -> list[Refusal]:
    """Return the refusals after the domain has left the host, without those that are over."""
    return [one for one in current(known, now=at) if one["domain"] != domain]


def current(known: t.Iterable[Refusal], *, now: str) -> list[Refusal]:
    """Return those that are not over. One from the future was made while the clock of the host was wrong."""
    moment = _time(now)
    return [one for one in known if timedelta() <= moment - _time(one["at"]) <= KEPT]


def is_refusal(value: t.Any) -> bool:
    """Return whether it is what this file writes; further keys of a newer version do no harm."""
    if not isinstance(value, dict):
        return False
    if not all(isinstance(value.get(name), str) for name in ("domain", "destination", "reason", "at")):
        return False
    times = value.get("times")
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        return False
    try:
        moment = _time(value["at"])
        if moment.tzinfo is None:
            return False
        # Whoever plans adds the wait to it.
        moment.astimezone(timezone.utc) + KEPT
    except (ValueError, OverflowError):
        return False
    return True


def _time(text: str) -> datetime:
    # Python 3.9 does not know the Z.
    return datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
