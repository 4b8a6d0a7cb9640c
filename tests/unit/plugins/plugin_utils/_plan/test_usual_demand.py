# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Whoever decides where a domain goes does it by what domains usually want, not by what they want at this moment."""

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._plan.best_host import best_host
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.maintenance_rounds import rounds
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    TAKEN_AT,
    Json,
    domain,
    host,
    snapshot,
    ways,
)


def guest(name: str, on: str, now: float, usual: float | None) -> Json:
    """A domain that uses ``now`` cores and used ``usual`` ones for an hour before; None = nobody knows."""
    past = {"step_seconds": 300, "ends_at": TAKEN_AT, "cpu_cores": [usual] * 12}
    return domain(name, on, now, vcpus=8, history=None if usual is None else past)


def sleeper(*, known: bool) -> Json:
    """One on a that idles and usually needs 6 cores; b is at 40 % as ever, and c at 45 %, which is rare."""
    return snapshot(
        {name: host() for name in "abc"},
        guest("sleeper", "a", 0.1, 6.0 if known else None),
        guest("steady", "b", 4.0, 4.0 if known else None),
        guest("rare", "c", 4.5, 1.0 if known else None),
    )


@pytest.mark.parametrize("strategy", ["balance", "consolidate", "drain"])
@pytest.mark.parametrize(("known", "host_"), [(True, "c"), (False, "b")])
def test_who_leaves_a_drained_host_goes_where_it_has_room_when_it_wakes(strategy: str, known: bool, host_: str) -> None:
    policy = {"strategy": strategy, "drained_hosts": ["a"], "cpu_overcommit": None}
    assert ways(plan(sleeper(known=known), policy))[0] == ("sleeper", "a", host_)


@pytest.mark.parametrize(("known", "host_"), [(True, "c"), (False, "b")])
def test_a_new_domain_goes_where_others_leave_room(known: bool, host_: str) -> None:
    data = snapshot(
        {name: host() for name in "bc"},
        guest("sleeper", "b", 0.1, 8.0 if known else None),
        guest("steady", "c", 2.0, 2.0 if known else None),
    )
    found = best_host(data, {"name": "new", "vcpus": 2, "memory_mib": 100}, {"cpu_overcommit": None})
    assert found["host"] == host_
    assert (found["refused"].get("b") is not None) == known


@pytest.mark.parametrize(("known", "together"), [(True, 1), (False, 2)])
def test_hosts_are_down_together_only_if_their_domains_fit_when_they_wake(known: bool, together: int) -> None:
    guests = [guest(f"{name}1", name, 0.1, 4.6 if known else None) for name in "abc"]
    data = snapshot({name: host() for name in "abc"}, *guests)
    assert len(rounds(data, list("abc"), {"cpu_overcommit": None})["rounds"][0]) == together
