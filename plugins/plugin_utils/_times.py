# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Times of the data model: RFC 3339, UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def parse(text: str) -> datetime | None:
    """The time that ``text`` says, in UTC, or None where it is not RFC 3339 with a time zone."""
    try:
        moment = datetime.fromisoformat(text)
        return None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def stamp(moment: datetime) -> str:
    """A time in UTC as the data model has it: 2026-01-31T12:00:00Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(moment: datetime, now: datetime) -> str:
    """A time in UTC as people read it: 12:30 UTC, with the date where it is not the day of ``now``."""
    same_day = moment.astimezone(UTC).date() == now.astimezone(UTC).date()
    return moment.astimezone(UTC).strftime("%H:%M UTC" if same_day else "%Y-%m-%d %H:%M UTC")
