# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import (
    FakeLibvirt,
    FakeLibvirtError,
)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            FakeLibvirtError(38, "Failed to connect socket: No such file or directory", 7),
            {
                "msg": "Cannot do it: Failed to connect socket: No such file or directory.",
                "libvirt_error": {"code": 38, "name": "SYSTEM_ERROR", "domain": 7},
            },
        ),
        (
            FakeLibvirtError(1, "it ended.\n", 7),
            {"msg": "Cannot do it: it ended.", "libvirt_error": {"code": 1, "name": "INTERNAL_ERROR", "domain": 7}},
        ),
        (
            FakeLibvirtError(1, "QEMU ended:\n  load of migration failed.\n", 10),
            {
                "msg": "Cannot do it: QEMU ended: load of migration failed.",
                "libvirt_error": {"code": 1, "name": "INTERNAL_ERROR", "domain": 10},
            },
        ),
        (
            FakeLibvirtError(9999, None),
            {"msg": "Cannot do it: None.", "libvirt_error": {"code": 9999, "name": None, "domain": 10}},
        ),
        (ValueError("odd"), {"msg": "Cannot do it: odd."}),
        (ValueError(), {"msg": "Cannot do it: no reason given."}),
    ],
)
def test_translate(error: Exception, expected: dict[str, object]) -> None:
    assert _errors.translate(FakeLibvirt(), error, doing="do it").to_result() == expected


@pytest.mark.parametrize("code", [29, 45, 79, 88, 94])
def test_a_refusal_says_what_to_change(code: int) -> None:
    message = _errors.translate(FakeLibvirt(), FakeLibvirtError(code, "refused"), doing="do it").message
    assert message.startswith("Cannot do it: refused (")
    assert message.endswith(").")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FakeLibvirtError(38, domain=7), True),
        (FakeLibvirtError(1, domain=7), True),
        (FakeLibvirtError(38, domain=10), False),
        (FakeLibvirtError(3, domain=7), False),
        (ValueError(), False),
    ],
)
def test_is_connection_lost(error: Exception, expected: bool) -> None:
    assert _errors.is_connection_lost(error) is expected
