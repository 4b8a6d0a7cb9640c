# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._domain import state as domain_state
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import (
    FakeDomain,
    FakeLibvirt,
    FakeLibvirtError,
)


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        (1, 1, ("running", "booted")),
        (1, 10, ("running", "postcopy")),
        (3, 2, ("paused", "migration")),
        (3, 11, ("paused", "starting_up")),
        (3, 14, ("paused", "api_error")),
        (3, 99, ("paused", None)),
        (2, 0, ("blocked", None)),
        (6, 1, ("crashed", "panicked")),
        (0, 0, ("unknown", None)),
        (99, 1, ("unknown", None)),
        (None, None, ("unknown", None)),
    ],
)
def test_names(state: int | None, reason: int | None, expected: tuple[str, str | None]) -> None:
    assert (domain_state.state_name(state), domain_state.reason_name(state, reason)) == expected


def job(
    operation: str, elapsed: float | None = None, remaining: int | None = None, dirty: float | None = None
) -> dict[str, t.Any]:
    return {
        "operation": operation,
        "elapsed_seconds": elapsed,
        "remaining_mib": remaining,
        "dirty_mib_s": dirty,
    }


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param({"type": 0}, None, id="none"),
        pytest.param({}, None, id="an answer without a type"),
        pytest.param(
            {"type": 2, "operation": 5, "time_elapsed": 3210, "data_remaining": 812 * 1024**2, "data_total": 1},
            job("migration_out", 3.2, 812),
            id="migration",
        ),
        pytest.param(
            {"type": 2, "operation": 5, "memory_dirty_rate": 640, "memory_page_size": 4096},
            job("migration_out", dirty=2.5),
            id="a migration that knows what the guest writes",
        ),
        pytest.param(
            {"type": 2, "operation": 5, "memory_dirty_rate": 0, "memory_page_size": 4096},
            job("migration_out"),
            id="a migration that does not know it yet",
        ),
        pytest.param({"type": 1, "operation": 9}, job("backup"), id="backup without figures"),
        pytest.param({"type": 2, "operation": 99}, job("unknown"), id="an operation of a newer version"),
        pytest.param(FakeLibvirtError(3), None, id="a hypervisor that knows no jobs"),
        pytest.param(FakeLibvirtError(84), job("migration_in"), id="the destination of a migration"),
        pytest.param(FakeLibvirtError(68), job("unknown"), id="held by something else"),
    ],
)
def test_read_job(answer: t.Any, expected: dict[str, t.Any] | None) -> None:
    assert domain_state.read_job(FakeLibvirt(), FakeDomain("web-1", "u", job=answer)) == expected


@pytest.mark.parametrize("error", [FakeLibvirtError(42), FakeLibvirtError(38, domain=7)])
def test_a_domain_or_connection_that_is_gone_rises(error: FakeLibvirtError) -> None:
    with pytest.raises(FakeLibvirtError):
        domain_state.read_job(FakeLibvirt(), FakeDomain("web-1", "u", job=t.cast("t.Any", error)))
