# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Which tests are not run for every change; CONTRIBUTING.md names them, `make test-long` runs them all."""

from __future__ import annotations

import os

import pytest

MARKS = ("long", "fault")


def skip_long(items: list[pytest.Item]) -> None:
    """Skip the tests marked ``long`` or ``fault``, unless LAB_LONG=1 asks for them."""
    if os.environ.get("LAB_LONG"):
        return
    for item in items:
        if any(map(item.get_closest_marker, MARKS)):
            item.add_marker(pytest.mark.skip(reason="takes minutes; LAB_LONG=1 runs it"))
