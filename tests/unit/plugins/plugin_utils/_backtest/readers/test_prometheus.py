# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.readers.prometheus import read_histories
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.samples import DomainSample, HostSample
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import SnapshotError

NOON = 1769860800.0
SNAPSHOT: dict[str, t.Any] = {"hosts": {"kvm1": {"state": "active"}}, "domains": {"u-1": {"name": "web-1"}}}


def history(**columns: list[float | None]) -> dict[str, t.Any]:
    return {"step_seconds": 300, "ends_at": "2026-01-31T12:05:00Z", **columns}


def test_values_have_the_times_at_which_their_steps_end() -> None:
    domains = {"u-1": history(cpu_cores=[0.5, None], cpu_ready=[0.1, None]), "u-2": history(cpu_cores=[None, 1.0])}
    found = read_histories({"kvm1": {"history": history(cpu=[0.2, None]), "domains": domains}}, SNAPSHOT)
    assert found.hosts == [HostSample(NOON, "kvm1", 0.2), HostSample(NOON + 300, "kvm1", None)]
    assert found.domains == [
        DomainSample(NOON, "kvm1", "u-1", "web-1", 0.5, 0.1),
        DomainSample(NOON + 300, "kvm1", "u-2", "u-2", 1.0, None),
    ]


def test_that_there_is_nothing_is_told_with_the_reason() -> None:
    histories: dict[str, t.Any] = {
        "kvm1": {"history": None, "history_problem": "Prometheus has no CPU data of this host.", "domains": {}}
    }
    with pytest.raises(SnapshotError) as error:
        read_histories(histories, SNAPSHOT)
    assert str(error.value) == (
        "Prometheus has no CPU of any domain in that time. kvm1: Prometheus has no CPU data of this host."
    )
