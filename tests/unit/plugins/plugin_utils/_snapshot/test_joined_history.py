# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import random
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.build import build_snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.joined_history import at_speed, join

Json = dict[str, t.Any]
NONE = None


def history(minute: int, *cores: float | None, step: int = 60, **more: t.Any) -> Json:
    """A history whose last step ends at 12:``minute``."""
    return {"step_seconds": step, "ends_at": f"2026-01-31T12:{minute:02}:00Z", "cpu_cores": list(cores), **more}


@pytest.mark.parametrize(
    ("histories", "expected"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([None, None], None, id="nobody"),
        pytest.param([None, history(3, 0.1, NONE)], history(3, 0.1, NONE), id="one"),
        pytest.param(
            [history(4, 0.3, 0.4), history(4, 0.1, 0.2, NONE, NONE)], history(4, 0.1, 0.2, 0.3, 0.4), id="moved once"
        ),
        pytest.param(
            [history(6, 0.6), history(5, 0.3, 0.4, NONE), history(6, 0.1, 0.2, NONE, NONE, NONE, NONE)],
            history(6, 0.1, 0.2, 0.3, 0.4, NONE, 0.6),
            id="moved twice; hosts were asked a step apart; a gap stays one",
        ),
        pytest.param(
            [history(3, 0.2, NONE, 0.4), history(3, 0.9, 0.3, 0.9)],
            history(3, 0.2, 0.3, 0.4),
            id="the first is believed",
        ),
        pytest.param(
            [history(4, 0.3), history(3, 0.1, 0.2, cpu_ready=[0.0, 0.1])],
            history(4, 0.1, 0.2, 0.3, cpu_ready=[0.0, 0.1, NONE]),
            id="a column that only one has",
        ),
        pytest.param([history(4, 0.3), history(4, 0.1, 0.2, step=30)], history(4, 0.3), id="steps of another length"),
        pytest.param([history(1), history(3)], history(3, NONE, NONE), id="no values"),
    ],
)
def test_join(histories: list[t.Any], expected: Json | None) -> None:
    assert join(histories) == expected


@pytest.mark.parametrize(
    "broken",
    [
        5,
        "history",
        {},
        {"step_seconds": 60, "ends_at": "2026-01-31T12:00:00Z"},
        history(3, 0.1, step=0),
        {**history(3, 0.1), "step_seconds": "60"},
        {**history(3, 0.1), "ends_at": "yesterday"},
        {**history(3, 0.1), "ends_at": None},
        {**history(3, 0.1), "cpu_ready": [0.1, 0.2]},
        {**history(3, 0.1), "cpu_ready": 5},
    ],
)
def test_what_is_malformed_is_left_out(broken: t.Any) -> None:
    assert join([broken]) is None
    assert join([broken, history(3, 0.5)]) == history(3, 0.5)
    assert join([history(3, 0.5), broken]) == history(3, 0.5)


def test_a_host_with_a_wrong_clock_makes_no_history_of_years() -> None:
    found = join([history(3, 0.5), {**history(3, 0.9), "ends_at": "2025-01-31T12:03:00Z"}])
    assert found is not None
    assert len(found["cpu_cores"]) == 1


def test_every_step_has_the_value_of_a_host_that_has_one() -> None:
    source = random.Random(3)
    for _case in range(200):
        # Where the domain was in each minute; it may have been seen on two hosts in one.
        truth = [source.choice("abc") for _minute in range(10)]
        hosts = {
            host: [round(source.random(), 3) if at == host or source.random() < 0.1 else None for at in truth]
            for host in "abc"
        }
        found = join([history(10, *hosts[host]) for host in "cab"])
        assert found is not None
        assert len(found["cpu_cores"]) == 10
        for minute, value in enumerate(found["cpu_cores"]):
            assert value is not None
            assert value in [hosts[host][minute] for host in "abc"]


def observed(*domains: Json, departed: t.Any = None) -> Json:
    observation = {"schema": 1, "taken_at": "2026-01-31T12:04:30Z", "host": {}, "domains": list(domains)}
    return {"observation": {**observation, **({} if departed is None else {"departed_domains": departed})}}


def guest(past: t.Any, **more: t.Any) -> Json:
    return {"uuid": "U", "name": "guest", "state": "running", "reason": "booted", "job": None, "history": past, **more}


def joined(observations: Json) -> t.Any:
    return build_snapshot(observations)["domains"]["u"]["history"]


def test_a_snapshot_joins_what_hosts_remember() -> None:
    found = joined(
        {
            "a": observed(departed={"u": history(4, 0.1, 0.9, NONE, NONE)}),
            "b": observed(guest(history(4, 0.4))),
            "c": observed(departed={"U": history(4, 0.2, 0.3, NONE), "other": history(4, 0.9)}),
        }
    )
    # In the second minute it was seen on a and c: the host that it left last is believed.
    assert found == history(4, 0.1, 0.2, 0.3, 0.4)


def test_cores_of_another_host_count_at_its_speed() -> None:
    def host(speed: float, *domains: Json, **more: t.Any) -> Json:
        about = {"cpu": {"max_mhz": speed}}
        return {"observation": {"schema": 1, "host": about, "domains": list(domains), **more}}

    left = history(3, 1.0, 0.3, NONE, cpu_ready=[0.0, 0.1, NONE])
    guest = {"uuid": "u", "history": history(3, 0.9)}
    seen = {"slow": host(2000, departed_domains={"u": left}), "fast": host(3000, guest)}
    joined = history(3, 0.666667, 0.2, 0.9, cpu_ready=[0.0, 0.1, NONE])
    assert build_snapshot(seen)["domains"]["u"]["history"] == joined
    unknown = build_snapshot({**seen, "slow": host(0, departed_domains={"u": left})})
    assert unknown["domains"]["u"]["history"]["cpu_cores"] == [1.0, 0.3, 0.9]


@pytest.mark.parametrize("broken", [None, 5, {"step_seconds": 60}, {"cpu_cores": "much"}])
def test_a_malformed_history_has_no_speed(broken: t.Any) -> None:
    assert at_speed(broken, 2.0) == broken


def test_a_domain_on_its_way_has_the_history_of_its_source() -> None:
    found = joined(
        {
            "a": observed(guest(history(4, 0.9), state="paused", reason="migration")),
            "b": observed(guest(history(4, 0.1, 0.2), job={"operation": "migration_out"})),
        }
    )
    assert found == history(4, 0.1, 0.2)


@pytest.mark.parametrize("departed", [None, [], "text", {"u": "text"}])
def test_observations_without_a_history(departed: t.Any) -> None:
    assert joined({"a": observed(guest(None), departed=departed)}) is None
    assert joined({"a": observed({key: value for key, value in guest(None).items() if key != "history"})}) is None


def test_another_source_takes_the_place_of_what_hosts_remember() -> None:
    observations = {
        "a": observed(departed={"u": history(4, 0.9)}),
        "b": observed(guest(history(4, 0.9))),
        "c": observed(),
    }
    source = {
        "a": {"history": {"cpu": [0.1]}, "history_problem": None, "domains": {"u": history(4, 0.1, 0.2, NONE)}},
        "b": {"history": None, "history_problem": "Not scraped.", "domains": {"U": history(4, 0.3)}},
    }
    found = build_snapshot(observations, histories=source)
    assert found["domains"]["u"]["history"] == history(4, 0.1, 0.2, 0.3)
    hosts = {name: (host["history"], host["history_problem"]) for name, host in found["hosts"].items()}
    assert hosts == {
        "a": ({"cpu": [0.1]}, None),
        "b": (None, "Not scraped."),
        "c": (None, "The source of the histories has no data about this host."),
    }
