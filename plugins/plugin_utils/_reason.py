# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Why a domain may not be on a host."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a domain may not be on a host; ``message`` is a clause for the user that needs no other context."""

    constraint: str
    message: str

    def to_mapping(self) -> dict[str, str]:
        """As the plan lists it."""
        return {"constraint": self.constraint, "message": self.message}
