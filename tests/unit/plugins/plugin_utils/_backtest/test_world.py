# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What becomes of hosts and domains while time passes, calculated by hand."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.recording import Recording
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.world import Copy, World
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils._backtest.recordings import (
    STEP,
    domain,
    host,
    recording,
)

TWO = [host("a"), host("b")]


def world(of: Recording, steps: int = 0, copies: t.Sequence[Copy] = ()) -> World:
    found = World(of, keep=24, limit=0.9)
    found.copies += copies
    for _step in range(steps):
        found.advance()
    return found


def copy(begin: float, end: float, source: str = "a", destination: str = "b") -> Copy:
    return Copy("x", source, destination, 1000.0, begin, end)


def test_a_domain_gets_what_it_wants() -> None:
    totals = world(recording(TWO, domain("x", "a", [2.0, 2.0])), 1).totals
    assert (totals.wanted, totals.unserved, totals.awake, totals.full, totals.above) == (600.0, 0.0, 600.0, 0.0, 0.0)
    assert totals.joules == pytest.approx((150.0 + 100.0) * STEP)


def test_what_is_wanted_changes_evenly() -> None:
    totals = world(recording(TWO, domain("x", "a", [0.0, 4.0])), 1).totals
    assert totals.wanted == pytest.approx(600.0)
    # In the last of five pieces 90 % are wanted, which is not above it.
    assert (totals.above, totals.full) == (0.0, 0.0)
    totals = world(recording(TWO, domain("x", "a", [2.0, 6.0], vcpus=8)), 1).totals
    assert totals.wanted == pytest.approx(1200.0)
    # In the five pieces 2.4, 3.2, 4.0, 4.8 and 5.6 of 4 cores.
    assert totals.unserved == pytest.approx((0.8 + 1.6) / 5 * STEP)
    assert totals.full == totals.above == pytest.approx(3 / 5 * STEP)


def test_what_is_wanted_may_be_held_until_the_next_time() -> None:
    held = World(recording(TWO, domain("x", "a", [2.0, 6.0, 0.0], vcpus=8)), keep=1, limit=0.9, held=True)
    held.advance()
    assert (held.totals.wanted, held.totals.unserved, held.totals.full) == (2.0 * STEP, 0.0, 0.0)
    held.advance()
    assert (held.totals.wanted, held.totals.unserved, held.totals.full) == (8.0 * STEP, 2.0 * STEP, STEP)


def test_a_host_that_has_too_little_gives_all_the_same_share() -> None:
    found = world(recording([host("a"), host("b")], domain("x", "a", [4.0, 4.0]), domain("y", "a", [2.0, 2.0])))
    found.record()
    found.advance()
    assert found.totals.unserved == pytest.approx(2.0 * STEP)
    assert found.totals.full == STEP
    assert list(found.domains["x"].cores) == [pytest.approx(8.0 / 3.0)]
    assert list(found.domains["y"].ready) == [pytest.approx(1.0 / 3.0)]
    assert found.hosts["a"].used == [1.0]
    assert found.domains["y"].unserved == pytest.approx(2.0 / 3.0 * STEP)


@pytest.mark.parametrize(
    ("hosts", "facts", "got"),
    [
        ([host("a", 8)], {"vcpus": 2}, 2.0),
        ([host("a", 8)], {"cap": 50}, 0.5),
        ([host("a", 8, speed=2.0)], {"vcpus": 1}, 2.0),
        ([host("a", own_cores=3.0)], {}, 1.0),
        ([host("a", own_cores=[3.0, None])], {}, 1.0),
        ([host("a", own_cores=9.0)], {}, 0.0),
        ([host("a", speed=0.5)], {"vcpus": 8}, 2.0),
    ],
)
def test_what_limits_a_domain(hosts: list[t.Any], facts: dict[str, t.Any], got: float) -> None:
    found = world(recording(hosts, domain("x", "a", [3.0, 3.0], **facts)))
    found.record()
    found.advance()
    assert found.domains["x"].cores[0] == pytest.approx(got)
    assert found.totals.wanted - found.totals.unserved == pytest.approx(got * STEP)


def test_what_is_not_known_is_not_made_up() -> None:
    found = world(recording(TWO, domain("x", "a", [None, None, 2.0])))
    found.record()
    found.advance()
    assert (list(found.domains["x"].cores), found.totals.wanted) == ([None], 0.0)
    found.advance()
    assert found.totals.wanted == 2.0 * STEP


def test_a_domain_that_is_copied_gets_less_until_it_is_on_the_other_host() -> None:
    found = world(recording(TWO, domain("x", "a", [2.0, 2.0])), 1, [copy(100.0, 200.0)])
    assert found.totals.unserved == pytest.approx(0.1 * 2.0 * 100.0)
    assert (found.domains["x"].host, found.domains["x"].moved_at) == ("b", 200.0)
    assert (list(found.hosts["a"].residents), list(found.hosts["b"].residents)) == ([], ["x"])
    # What it uses needs 25 watts a core: on one host or on the other.
    assert found.totals.joules == pytest.approx(2 * 100.0 * STEP + 25.0 * (2.0 * STEP - 20.0))


def test_a_copy_may_take_several_steps() -> None:
    found = world(recording(TWO, domain("x", "a", [2.0] * 4)), 1, [copy(200.0, 700.0)])
    assert (found.domains["x"].host, found.held_mib(found.hosts["b"])) == ("a", 1000.0)
    found.advance()
    found.advance()
    assert (found.domains["x"].host, found.copies) == ("b", [])
    assert found.totals.unserved == pytest.approx(0.2 * 500.0)


def test_a_domain_may_be_parked_on_the_way() -> None:
    hosts = [*TWO, host("c", power=None)]
    found = world(recording(hosts, domain("x", "a", [2.0, 2.0])), 1, [copy(0.0, 50.0), copy(100.0, 150.0, "b", "c")])
    assert (found.domains["x"].host, found.totals.joules) == ("c", None)
    assert found.totals.unserved == pytest.approx(0.2 * 100.0)


def test_a_domain_begins_where_it_really_began_or_where_most_room_is() -> None:
    hosts = [host("a", asleep=[True] * 3), host("b"), host("c", own_mib=5000.0)]
    begins = domain("x", [None, "a", "a"], [None, 1.0, 1.0])
    assert world(recording(hosts, begins), 1).domains["x"].host == "b"
    filled = domain("y", "b", [1.0] * 3, memory_mib=6000.0)
    assert world(recording(hosts, begins, filled), 1).domains["x"].host == "c"
    assert world(recording([host("a"), *hosts[1:]], begins), 1).domains["x"].host == "a"
    alone = world(recording([hosts[0], host("b", asleep=[True] * 3)], begins), 1)
    assert (alone.domains["x"].host, alone.hosts["a"].awake) == ("a", True)


def test_a_domain_that_ended_is_gone_and_so_is_its_copy() -> None:
    ends = domain("x", ["a", None, None, "b"], [1.0, None, None, 1.0])
    found = world(recording(TWO, ends), 0, [copy(0.0, 900.0)])
    found.record()
    found.advance()
    assert (found.domains["x"].host, found.copies, found.totals.wanted) == (None, [], STEP)
    found.record()
    found.advance()
    assert found.totals.wanted == STEP
    found.advance()
    assert found.domains["x"].host == "b"
    assert list(found.domains["x"].cores) == [1.0, None]


def test_a_host_sleeps_from_the_moment_on_unless_a_domain_is_there() -> None:
    found = world(recording(TWO, domain("x", "a", [1.0] * 3)))
    found.sleep("a", 10.0)
    found.sleep("b", 100.0)
    found.advance()
    assert [(one.awake, one.sleeps_at) for one in found.hosts.values()] == [(True, None), (False, None)]
    assert (found.totals.awake, found.totals.sleeps, found.hosts["b"].asleep_since) == (STEP + 100.0, 1, 100.0)
    found.wake("b")
    found.wake("a")
    assert (found.totals.wakes, found.hosts["b"].awake) == (1, True)


def test_a_host_sleeps_when_its_last_domain_has_left() -> None:
    found = world(recording(TWO, domain("x", "a", [1.0] * 4)), 0, [copy(0.0, 400.0)])
    found.sleep("a", 400.0)
    found.sleep("b", 400.0)
    found.advance()
    assert [one.awake for one in found.hosts.values()] == [True, True]
    found.advance()
    assert [one.awake for one in found.hosts.values()] == [False, True]
    assert found.totals.awake == pytest.approx(2 * STEP + 100.0 + STEP)


def test_only_so_much_is_remembered() -> None:
    found = World(recording(TWO, domain("x", "a", [1.0, 2.0, 3.0])), keep=2, limit=0.9)
    for _step in range(2):
        found.record()
        found.advance()
    found.record()
    assert (list(found.domains["x"].cores), list(found.hosts["a"].past)) == ([2.0, 3.0], [0.5, 0.75])
    assert found.hosts["a"].used == [0.25, 0.5, 0.75]
