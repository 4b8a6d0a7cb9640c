# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Errors of the engine. The message is one sentence that says what is wrong and what to change."""

from __future__ import annotations


class BalanceError(Exception):
    """An error of the engine; filters turn it into an error of Ansible."""


class PolicyError(BalanceError):
    """The policy has a wrong key, a wrong value or a selector that does not work."""


class SnapshotError(BalanceError):
    """The snapshot cannot be used: wrong shape, a newer schema, or doubts about where domains run."""


class FleetError(BalanceError):
    """The fleet does not suit the request, for example because it has fewer than two hosts."""
