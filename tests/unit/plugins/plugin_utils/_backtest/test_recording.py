# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What is wrong with a recording is told in one sentence each."""

from __future__ import annotations

import pickle
import typing as t
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.recording import (
    RecordedDomain,
    RecordedHost,
    Recording,
    check,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import SnapshotError

HOST = RecordedHost("a", 4, 8192.0)
DOMAIN = RecordedDomain("u", "web", 2, 1024.0, ["a", "a"], [1.0, None])
GOOD = Recording(datetime(2026, 1, 31, 12, tzinfo=UTC), 300.0, 2, {"a": HOST}, {"u": DOMAIN})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"steps": 1, "domains": {}}, "The recording has 1 times; it needs at least 2."),
        ({"step": 0.0}, "The times of the recording are 0 s apart; it must be more than 0."),
        ({"hosts": {}, "domains": {}}, "The recording has no host."),
        (
            {"hosts": {"a": replace(HOST, asleep=[False])}},
            "The recording has 1 values of asleep of host a, and 2 times.",
        ),
        (
            {"hosts": {"a": replace(HOST, own_cores=[1.0])}},
            "The recording has 1 values of own_cores of host a, and 2 times.",
        ),
        (
            {"domains": {"u": replace(DOMAIN, wanted=[1.0] * 3)}},
            "The recording has 3 values of wanted of domain web, and 2 times.",
        ),
        (
            {"domains": {"u": replace(DOMAIN, where=["b", None])}},
            "The recording has the domain web on b, but not that host.",
        ),
    ],
)
def test_what_is_wrong_is_told(change: dict[str, t.Any], told: str) -> None:
    with pytest.raises(SnapshotError) as caught:
        check(replace(GOOD, **change))
    assert str(caught.value) == told


def test_a_recording_can_be_sent_to_another_process() -> None:
    check(GOOD)
    assert pickle.loads(pickle.dumps(GOOD)) == GOOD
    assert GOOD.time(1) == datetime(2026, 1, 31, 12, 5, tzinfo=UTC)
