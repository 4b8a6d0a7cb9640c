# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Errors of the engine. The message is one sentence that says what is wrong and what to change."""

from __future__ import annotations


class BalanceError(Exception):
    """Anything that the engine refuses to work with; filters turn it into their own error."""


class PolicyError(BalanceError):
    """The policy has a wrong key, a wrong value or a selector that does not work."""


class SnapshotError(BalanceError):
    """The snapshot cannot be used: wrong shape, a newer schema, or a doubt about where domains run."""


class FleetError(BalanceError):
    """There is nothing to balance between: fewer than two hosts."""
