# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Which moves go on after one that did not happen."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._plan.left_out import left_out
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.outcome import outcome
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils import fleets
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import Json

# The move of wave 1: x goes from a to b.
STAYED = {"failed": True, "outcome": "on_source", "msg": "QEMU refused it."}
UNKNOWN = {"failed": True, "outcome": "unknown", "msg": "b does not answer."}


def snapshot(**big: int) -> Json:
    """Domains are named after the host that they are on; x and y are on a. Hosts have 10000 MiB."""
    where = {"x": "a", "y": "a", "b1": "b", "c1": "c", "d1": "d"}
    racks = {"a": "rack-1", "b": "rack-2", "c": "rack-3", "d": "rack-1"}
    hosts = {name: fleets.host(tags=[rack]) for name, rack in racks.items()}
    return fleets.snapshot(hosts, *(fleets.domain(name, on, 0.1, big.get(name, 1000)) for name, on in where.items()))


def move(number: int, way: str) -> Json:
    name, source, destination = way.split()
    return {"number": number, "domain": name, "name": name, "source": source, "destination": destination}


def planned(*second: str, policy: Json | None = None) -> Json:
    waves = [["x a b"], list(second)]
    numbers = iter(range(1, 9))
    return {
        "waves": [
            {"number": number, "moves": [move(next(numbers), way) for way in wave]}
            for number, wave in enumerate(waves, 1)
        ],
        "policy": policy or {},
    }


def why(result: Json | None, *second: str, policy: Json | None = None, **big: int) -> dict[int, str]:
    made = planned(*second, policy=policy)
    results = [] if result is None else [{"move": made["waves"][0]["moves"][0], **result}]
    return left_out(made, results, snapshot(**big), 2)


@pytest.mark.parametrize("way", ["c1 c d", "c1 c b", "y a c", "y a b"])
def test_what_needs_nothing_of_it_goes_on(way: str) -> None:
    assert why(STAYED, way) == {}


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("x b c", "x is not on b, because an earlier move of it did not happen"),
        ("c1 c a", "x has not left a"),
        ("b1 b d", "it was to leave b, and x has not arrived there"),
    ],
)
@pytest.mark.parametrize("result", [STAYED, {"skipped": True, "outcome": "on_source"}, {"left_out": "no room"}])
def test_what_needs_it_is_left_out(result: Json, way: str, reason: str) -> None:
    assert why(result, way) == {2: reason}


@pytest.mark.parametrize("result", [UNKNOWN, {"unreachable": True}, {"skipped": True, "outcome": "gone"}, None])
def test_where_it_is_not_known_where_it_runs_it_counts_on_both_hosts(result: Json | None) -> None:
    assert why(result, "c1 c b") == {2: "x has not left b"}
    assert why(result, "x b c") == {2: "it is not known where x runs"}
    assert why(result, "c1 c d") == {}


def test_what_a_rule_forbids_now_is_left_out() -> None:
    apart = [{"name": "copies", "domains": {"names": ["x", "c1"]}, "per": "rack-"}]
    # The plan has x leave the rack of a and d before c1 comes there.
    reason = why(STAYED, "c1 c d", policy={"failure_domains": apart})[2]
    assert reason.startswith("d cannot take it now: ")
    assert why(STAYED, "c1 c d") == {}


def test_what_has_to_stay_with_it_stays() -> None:
    together = {"affinity": [{"name": "pair", "domains": {"names": ["x", "y"]}}]}
    assert why(STAYED, "y a c", "d1 d c", policy=together) == {2: "it has to stay with x, which did not move"}


def test_moves_of_one_wave_count_on_both_their_hosts() -> None:
    found = why(STAYED, "c1 c d", "y a d", c1=6000, y=6000)
    assert list(found) == [3]
    assert found[3].startswith("d cannot take it now: ")


def test_nothing_is_left_out_where_all_went_well() -> None:
    assert why({"changed": True}, "c1 c a", "x b c", "b1 b d") == {}


def test_what_needs_a_move_that_was_left_out_is_left_out_too() -> None:
    made = planned("b1 b d")
    made["waves"].append({"number": 3, "moves": [move(3, "d1 d c"), move(4, "c1 c b"), move(5, "y a c")]})
    first, second = (wave["moves"][0] for wave in made["waves"][:2])
    results = [{"move": first, **STAYED}, {"move": second, "left_out": "x has not arrived"}]
    assert left_out(made, results, snapshot(), 3) == {
        3: "it was to leave d, and b1 has not arrived there",
        4: "b1 has not left b",
    }


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (STAYED, {1: "x has not left a"}),
        (UNKNOWN, {1: "x has not left a", 3: "x has not left b"}),
        ({"changed": True}, {}),
    ],
)
def test_of_the_restarts_only_what_needs_a_failed_move_is_left_out(result: Json, expected: dict[int, str]) -> None:
    """They are made after the last wave, and need no equal CPU."""
    made = planned()
    made["waves"] = made["waves"][:1]
    made["restarts"] = [move(1, "c1 c a"), move(2, "y a d"), move(3, "d1 d b")]
    data = snapshot()
    data["domains"]["y"]["cpu"] = {"mode": "host-model", "model": "Skylake", "features": []}
    assert left_out(made, [{"move": made["waves"][0]["moves"][0], **result}], data, 2) == expected


def test_a_restart_without_room_is_left_out() -> None:
    made = planned()
    made["waves"], made["restarts"] = made["waves"][:1], [move(1, "c1 c d"), move(2, "y a d")]
    found = left_out(made, [{"move": made["waves"][0]["moves"][0], **STAYED}], snapshot(c1=6000, y=6000), 2)
    assert list(found) == [2]
    assert found[2].startswith("d cannot take it now: ")


def test_the_outcome_says_why() -> None:
    data = fleets.snapshot(
        {name: fleets.host(threads=4) for name in "abc"},
        *(fleets.domain(f"d{number}", "a", 0.9, 1024, vcpus=2) for number in range(4)),
    )
    made = plan(data, {"accept_blockers": []})
    first, second = fleets.moves(made)[:2]
    found = outcome(made, [{"move": first, **STAYED}, {"move": second, "left_out": "d1 has not left a"}], data)
    assert [one["outcome"] for one in found["moves"][:2]] == ["failed", "not_started"]
    assert found["moves"][1]["reason"] == "d1 has not left a"
    more = len(fleets.moves(made)) - 1
    told = f"{more} more planned move{'s were' if more > 1 else ' was'} not started; run it again."
    assert t.cast("str", found["problem"]) == f"QEMU refused it. {told}"
