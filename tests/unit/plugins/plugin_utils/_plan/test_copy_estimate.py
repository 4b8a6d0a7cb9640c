# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What a migration copies: memory, and again what is written meanwhile."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.moves import Move
from ansible_collections.virtops.balance.plugins.plugin_utils._plan import copy_estimate
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import Json, domain, host, snapshot


def memory(dirty: float | None) -> Json:
    return {"maximum_mib": 2000, "current_mib": 2000, "rss_mib": 1000, "dirty_mib_s": dirty}


@pytest.mark.parametrize(
    ("dirty", "policy", "expected"),
    [
        (0, {}, (1000, 10)),
        (50, {}, (2000, 20)),
        (50, {"bandwidth_mib_s": 200}, (1333, 6.7)),
        (50, {"migration": {"bandwidth_mib_s": 100}, "bandwidth_mib_s": 200}, (2000, 20)),
        (80, {}, (4000, 40)),  # not five times: it is slowed down
        (5000, {}, (4000, 40)),
        (None, {}, (1250, 12.5)),  # 2 cores at 10 MiB/s
        (None, {"dirty_mib_s_per_core": 0}, (1000, 10)),
        (None, {"dirty_mib_s_per_core": 25}, (2000, 20)),
    ],
)
def test_one_move(dirty: float | None, policy: dict[str, t.Any], expected: tuple[float, float]) -> None:
    data = snapshot({"a": host(), "b": host()}, domain("x", "a", cores=2.0, memory=memory(dirty)))
    wanted = Policy.from_mapping(policy)
    fleet = Fleet(Snapshot.from_mapping(data), wanted)

    found = copy_estimate.of_move(fleet["x"], wanted)

    assert (round(found.mib), round(found.seconds, 1)) == expected


def test_hosts_send_side_by_side() -> None:
    guests = (domain(name, on, cores=0.0, mib=1000) for name, on in (("x", "a"), ("y", "a"), ("z", "b")))
    fleet = Fleet(Snapshot.from_mapping(snapshot({name: host() for name in "abc"}, *guests)), Policy())
    wave = [Move(guest, guest.home, fleet.hosts[2]) for guest in fleet.domains]

    assert copy_estimate.of_wave(wave, fleet.policy) == (3000, 20)
    assert copy_estimate.of_wave([], fleet.policy) == (0, 0)
