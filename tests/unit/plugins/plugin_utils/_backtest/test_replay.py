# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A replay acts as the playbook does, and its figures add up."""

from __future__ import annotations

import json
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.recording import Recording
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.replay import Replay
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.settings import Settings
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError, SnapshotError
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils._backtest.recordings import (
    STEP,
    domain,
    host,
    recording,
)

Json = dict[str, t.Any]
SLEEPY: Json = {
    "strategy": "consolidate",
    "cooldown_seconds": 0,
    "quiet_minutes": 0,
    "consolidation": {"spare_hosts": 0, "idle_rounds": 0},
}


def nothing(**more: t.Any) -> Json:
    """A plan in which nothing is done."""
    return {"verdict": "balanced", "waves": [], "restarts": [], "wake": [], "sleep": [], "marks": {}, **more}


def move(name: str, source: str, destination: str) -> Json:
    return {"domain": name, "source": source, "destination": destination, "why": "for a test"}


def wave(*moves: Json) -> Json:
    return {"moves": list(moves)}


class Script:
    """Decides what is written, and keeps what it was asked."""

    def __init__(self, *plans: Json) -> None:
        self.plans, self.asked = list(plans), list[Json]()

    def __call__(self, snapshot: Json, policy: Json) -> Json:
        self.asked.append(snapshot)
        return self.plans.pop(0) if self.plans else nothing()


def replayed(of: Recording, script: Script, **more: t.Any) -> Replay:
    found = Replay(of, {}, Settings(**{"bandwidth_mib_s": 10.0, **more}), decide=script)
    for _run in range(found.steps):
        found.step()
    return found


def even(steps: int, *names: str) -> list[t.Any]:
    return [domain(name, "a", [1.0] * steps) for name in names]


def test_moves_out_of_one_host_go_one_after_the_other_and_waves_too() -> None:
    hosts = [host("a", 8), host("b", 8), host("c", 8)]
    script = Script(
        nothing(waves=[wave(move("x", "a", "b"), move("z", "c", "b"), move("y", "a", "b")), wave(move("x", "b", "c"))])
    )
    found = replayed(recording(hosts, *even(4, "x", "y"), domain("z", "c", [1.0] * 4)), script)
    made = found.result("tested")["made"]
    assert [(m["name"], m["source"], m["destination"], m["at"][11:19], m["seconds"]) for m in made] == [
        ("x", "a", "b", "12:00:00", 100.0),
        ("z", "c", "b", "12:00:00", 100.0),
        ("y", "a", "b", "12:01:40", 100.0),
        ("x", "b", "c", "12:03:20", 100.0),
    ]
    assert script.asked[1]["domains"]["x"]["last_moved_at"] == "2026-01-31T12:05:00Z"
    assert {uuid: one["host"] for uuid, one in script.asked[1]["domains"].items()} == {"x": "c", "y": "b", "z": "b"}


def test_no_run_begins_while_another_one_works() -> None:
    script = Script(nothing(waves=[wave(*(move(name, "a", "b") for name in "vwxy"))]))
    found = Replay(
        recording([host("a", 8), host("b", 8)], *even(5, *"vwxy")), {}, Settings(bandwidth_mib_s=10.0), decide=script
    )
    assert [found.step()["verdict"] for _run in range(found.steps)] == ["balanced", "busy", "balanced", "balanced"]
    assert (found.result()["runs"], found.result()["runs_that_moved"]) == (3, 1)


def test_hosts_are_woken_and_planned_with_and_domains_come_after_that() -> None:
    hosts = [host("a"), host("b", asleep=[True] * 3)]
    script = Script(
        nothing(wake=[{"host": "b"}], marks={"a": {"idle_rounds": 7}}),
        nothing(waves=[wave(move("x", "a", "b"))], marks={"a": {"asleep": {}}, "b": {"idle_rounds": 1, "asleep": {}}}),
    )
    found = replayed(recording(hosts, *even(3, "x")), script, wake_seconds=50.0)
    first, second, third = script.asked
    assert first["hosts"]["b"]["asleep"] == {
        "since": "2026-01-31T12:00:00Z",
        "threads": 4,
        "memory_total_mib": 65536.0,
    }
    assert [asked["hosts"]["b"]["state"] for asked in (first, second)] == ["asleep", "active"]
    # Marks of the plan that was not carried out are not stored, and who sleeps is known without marks.
    assert (third["hosts"]["a"]["marks"], third["hosts"]["b"]["marks"]) == ({}, {"idle_rounds": 1})
    result = found.result()
    assert (result["wakes"], result["made"][0]["at"]) == (1, "2026-01-31T12:00:50Z")


def test_hosts_sleep_when_the_run_has_ended() -> None:
    hosts = [host("a"), host("b")]
    script = Script(nothing(waves=[wave(move("x", "a", "b"))], sleep=[{"host": "a"}, {"host": "b"}]))
    found = replayed(recording(hosts, *even(3, "x")), script)
    assert script.asked[1]["hosts"]["a"]["state"] == "asleep"
    assert script.asked[1]["hosts"]["a"]["asleep"]["since"] == "2026-01-31T12:01:40Z"
    assert script.asked[1]["hosts"]["b"]["state"] == "active"
    assert found.result()["sleeps"] == 1


def test_what_a_run_sees() -> None:
    hosts = [host("a", 4, own_cores=1.0, own_mib=536.0), host("b", 8, speed=2.0)]
    script = Script(nothing(), nothing(waves=[wave(move("x", "a", "b"))]), nothing())
    wanted = [2.0, 4.0, 4.0, 4.0]
    replayed(recording(hosts, domain("x", "a", wanted, facts={"tags": ["db"]})), script, history_minutes=10)
    first, second, third = script.asked
    host_a, x = second["hosts"]["a"], second["domains"]["x"]
    assert host_a["cpu"]["usage"] == 1.0
    assert host_a["memory"] == {"hugepages": [], "total_mib": 65536.0, "available_mib": 64000.0}
    assert host_a["history"] == {
        "step_seconds": STEP,
        "ends_at": "2026-01-31T12:05:00Z",
        "cpu": [0.75, 1.0],
        "own_cores": [1.0, 1.0],
    }
    assert (x["cpu_cores"], x["cpu_ready"], x["tags"]) == (3.0, 0.25, ["db"])
    assert x["history"]["cpu_cores"] == [2.0, 3.0]
    # In threads of the host where it is now, which are twice as fast, and no longer than asked for.
    assert third["domains"]["x"]["cpu_cores"] == 2.0
    assert third["domains"]["x"]["history"]["cpu_cores"] == [1.5, 2.0]
    assert first["domains"]["x"]["last_moved_at"] is None
    without = Script()
    replayed(recording(hosts, domain("x", "a", wanted)), without, history_minutes=0)
    assert without.asked[1]["hosts"]["a"]["history"] is without.asked[1]["domains"]["x"]["history"] is None


def test_runs_may_be_rarer_than_what_is_recorded() -> None:
    script = Script()
    found = replayed(recording([host("a"), host("b")], *even(8, "x")), script, every=3)
    assert [asked["taken_at"][11:16] for asked in script.asked] == ["12:00", "12:15", "12:30"]
    assert [len(asked["domains"]["x"]["history"]["cpu_cores"]) for asked in script.asked] == [1, 4, 7]
    assert len(found.result()["hosts"]["a"]) == 8
    assert found.result()["runs"] == found.steps == 3


def test_restarts_are_moves_too() -> None:
    script = Script(nothing(restarts=[move("x", "a", "b")]))
    assert replayed(recording([host("a"), host("b")], *even(2, "x")), script).result()["moves"] == 1


def test_mistakes_are_told() -> None:
    with pytest.raises(PolicyError, match="did you mean 'threshold'"):
        Replay(recording([host("a")], *even(2, "x")), {"treshold": 0.1})
    with pytest.raises(SnapshotError, match="needs at least 2"):
        Replay(recording([host("a")], *even(1, "x")))


def test_runs_may_look_back_for_any_number_of_minutes() -> None:
    settings = Settings(history_minutes=1e308)
    assert Replay(recording([host("a")], *even(3, "x")), {}, settings).world.recording.steps == 3


def test_the_very_planner_levels_and_is_calm() -> None:
    found = Replay(recording([host("a", 8), host("b", 8)], *even(12, *"stuvwx")))
    decisions = [found.step() for _run in range(found.steps)]
    assert [decision["verdict"] for decision in decisions[:2]] == ["move", "balanced"]
    result = found.result("default")
    # Three copies of 10 s that cost a tenth of a core, of 6 cores for 55 minutes.
    assert (result["policy"], result["moves"], result["unserved"]) == ("default", 3, round(3.0 / 19800.0, 6))
    assert [len(one.residents) for one in found.world.hosts.values()] == [3, 3]
    assert result["kwh"] == pytest.approx((200.0 * 3300.0 + 12.5 * 19797.0) / 3.6e6, abs=1e-6)


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    steps, names = draw(st.integers(3, 8)), ("a", "b", "c")
    hosts = [host(name, draw(st.sampled_from((2, 4, 8))), speed=draw(st.sampled_from((1.0, 1.5)))) for name in names]
    cores = st.one_of(st.none(), st.floats(0.0, 4.0).map(lambda value: round(value, 2)))
    domains = []
    for number in range(draw(st.integers(1, 7))):
        begin, end = draw(st.integers(0, 2)), steps - draw(st.integers(0, 2))
        place = draw(st.sampled_from(names))
        where = [place if begin <= time < end else None for time in range(steps)]
        wanted = [None if name is None else draw(cores) for name in where]
        domains.append(domain(f"d{number}", where, wanted, memory_mib=float(draw(st.integers(100, 20000)))))
    return recording(hosts, *domains)


POLICIES = st.sampled_from(
    [
        {},
        {"threshold": 0.05, "minimum_gain": 0.0, "cooldown_seconds": 0, "hold": 2},
        SLEEPY,
        {**SLEEPY, "consolidation": {"overload": "mad", "idle_rounds": 1}},
    ]
)


def nowhere_twice(found: Replay) -> None:
    world = found.world
    for uuid, one in world.domains.items():
        runs = one.facts.where[world.index] is not None
        assert [name for name, h in world.hosts.items() if uuid in h.residents] == ([one.host] if runs else [])
        assert one.host is None or world.hosts[one.host].awake
    assert all(uuid in world.domains for h in world.hosts.values() for uuid in h.residents)


def wanted_in_all(of: Recording) -> float:
    total = 0.0
    for one in of.domains.values():
        for time in range(of.steps - 1):
            first, last = one.wanted[time], one.wanted[time + 1]
            if one.where[time] is not None:
                known = [value for value in (first, last) if value is not None]
                total += sum(known) / len(known) * STEP if known else 0.0
    return total


@settings(max_examples=60, deadline=None)
@given(of=recordings(), policy=POLICIES)
def test_every_domain_is_on_one_host_that_is_awake_and_sums_add_up(of: Recording, policy: Json) -> None:
    found = Replay(of, policy, Settings(history_minutes=20, bandwidth_mib_s=50.0))
    nowhere_twice(found)
    for _run in range(found.steps):
        found.step()
        nowhere_twice(found)
    totals, result = found.world.totals, found.result()
    assert totals.wanted == pytest.approx(wanted_in_all(of))
    assert totals.wanted == pytest.approx(sum(one.wanted for one in found.world.domains.values()))
    assert totals.unserved == pytest.approx(sum(one.unserved for one in found.world.domains.values()), abs=1e-6)
    assert -1e-6 <= totals.unserved <= totals.wanted + 1e-6
    whole = len(of.hosts) * (of.steps - 1) * STEP
    assert 0.0 <= totals.full <= totals.awake <= whole + 1e-6
    assert totals.awake * 100.0 - 1e-3 <= result["kwh"] * 3.6e6 + 4.0 <= totals.awake * 200.0 + 8.0
    assert all(len(used) == of.steps for used in result["hosts"].values())


@settings(max_examples=30, deadline=None)
@given(of=recordings(), policy=POLICIES, data=st.data())
def test_a_replay_that_was_cut_goes_on_as_if_it_had_not_been(of: Recording, policy: Json, data: st.DataObject) -> None:
    wanted = Settings(history_minutes=20, bandwidth_mib_s=50.0, every=data.draw(st.sampled_from((1, 2))))
    whole = Replay(of, policy, wanted)
    lines = [json.dumps(whole.step()) for _run in range(whole.steps)]
    cut = data.draw(st.integers(0, whole.steps))
    again = Replay(of, policy, wanted, decided=[json.loads(line) for line in lines[:cut]])
    assert again.done == cut
    assert [json.dumps(again.step()) for _run in range(cut, again.steps)] == lines[cut:]
    assert json.dumps(again.result("same")) == json.dumps(whole.result("same"))


@settings(max_examples=30, deadline=None)
@given(of=recordings())
def test_a_policy_that_never_acts_leaves_domains_where_they_were(of: Recording) -> None:
    found = Replay(of, {"ignore_hosts": ["a", "b", "c"]})
    for _run in range(found.steps):
        found.step()
        index = found.world.index
        assert {uuid: one.host for uuid, one in found.world.domains.items()} == {
            uuid: one.where[index] for uuid, one in of.domains.items()
        }
    assert found.result()["made"] == []
