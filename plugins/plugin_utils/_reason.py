# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Why a domain may not be on a host."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a domain may not be on a host; ``message`` is a clause for the user that needs no other context.

    ``excess``: by how much a limit would be passed, as a share of the limit. Such a limit gives way where a domain has
    to leave its host and has no better place to go. None = the reason holds in any case.
    """

    constraint: str
    message: str
    excess: float | None = None

    def to_mapping(self) -> dict[str, str]:
        """As the plan lists it."""
        return {"constraint": self.constraint, "message": self.message}

    def passed(self) -> dict[str, t.Any]:
        """As the plan lists a limit that gives way."""
        return {**self.to_mapping(), "excess": round(self.excess or 0.0, 4)}
