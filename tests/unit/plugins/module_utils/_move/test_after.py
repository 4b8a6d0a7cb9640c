# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._move import after
from ansible_collections.virtops.balance.plugins.module_utils._move.libvirt_migration import Convergence, Outcome

MIB = 1024**2
STATS = {"data_total": 512 * MIB, "data_remaining": 256 * MIB, "memory_bps": MIB}
LEFT = ", 256.0 of 512.0 MiB being left at 1.0 MiB/s"
FAST = " while the guest changed its memory at the same rate"
# Two iterations in a row in which it did.
DIVERGING = Convergence(iteration=3, diverging=2, measured=True)
CATCHING_UP = Convergence(iteration=3, diverging=0, measured=True)


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        ({"returned": True, "aborted": True}, "it did not finish within 9 seconds (timeout_seconds), so the migration"),
        (
            {"returned": True, "aborted": True, "stats": STATS},
            f"(timeout_seconds){LEFT}, so the migration was aborted.",
        ),
        (
            {"returned": True, "aborted": True, "stats": STATS, "convergence": DIVERGING},
            f"(timeout_seconds){LEFT}{FAST}, so the migration was aborted.",
        ),
        (
            {"returned": True, "aborted": True, "stats": STATS, "convergence": CATCHING_UP},
            f"(timeout_seconds){LEFT}, so the migration was aborted.",
        ),
        (
            {"aborted": True},
            "(timeout_seconds), and the migration could not be aborted: it is stuck and was left alone.",
        ),
        ({}, "(timeout_seconds), and the migration could not be aborted: it is stuck and was left alone."),
        (
            {"post_copied": True},
            "its post-copy phase sent nothing for 60 seconds. That phase cannot be aborted without killing the domain",
        ),
        ({"returned": True, "post_copied": True, "error": BalanceError("It broke.")}, "It broke."),
        ({"returned": True}, "libvirt reported success, but the domain is not there."),
    ],
)
def test_why_it_ended_is_told(seen: dict[str, t.Any], sentence: str) -> None:
    needs = t.cast("t.Any", types.SimpleNamespace(timeout_seconds=9))
    assert sentence in after.cause(needs, Outcome(**seen))
