# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError, SnapshotError
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.build import build_snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot

Json = dict[str, t.Any]
OUT = {"operation": "migration_out"}
IN = {"operation": "migration_in"}


def observed(*domains: Json, taken_at: str = "2026-01-31T12:00:00Z", **host: t.Any) -> Json:
    return {"observation": {"schema": 1, "taken_at": taken_at, "host": host, "domains": list(domains)}}


def guest(uuid: str = "u", state: str = "running", reason: str = "booted", job: Json | None = None) -> Json:
    return {"uuid": uuid, "name": f"name-{uuid}", "state": state, "reason": reason, "job": job, "blockers": []}


def test_two_hosts() -> None:
    found = build_snapshot(
        {
            "b": observed(guest("V"), taken_at="2026-01-31T12:00:03Z", uuid="h2"),
            "a": observed(guest("u"), uuid="h1", cpu={"threads": 4}),
        },
        groups={"a": ["z", "y"]},
        tags={"b": ["rack"]},
        migration_uris={"a": "qemu+ssh://a/system"},
        may_sleep=["a"],
        power_models={"a": {"idle_watts": 60, "max_watts": 140}},
    )
    assert (found["hosts"]["b"]["may_sleep"], found["hosts"]["b"]["power_model"]) == (False, None)
    assert found["taken_at"] == "2026-01-31T12:00:03Z"
    assert list(found["hosts"]) == ["a", "b"]
    assert found["hosts"]["a"] == {
        "state": "active",
        "problem": None,
        "tags": [],
        "groups": ["y", "z"],
        "migration_uri": "qemu+ssh://a/system",
        "may_sleep": True,
        "power_model": {"idle_watts": 60, "max_watts": 140},
        "speed": None,
        "uuid": "h1",
        "cpu": {"threads": 4},
        "inactive_domains": None,
    }
    assert {uuid: (d["host"], d["destination"]) for uuid, d in found["domains"].items()} == {
        "u": ("a", None),
        "v": ("b", None),
    }
    assert found["doubts"] == []
    Snapshot.from_mapping(found)
    texts = {"a": {"observation": json.dumps(observed(guest("u"))["observation"])}}
    assert list(build_snapshot(texts)["domains"]) == ["u"]


def test_a_host_that_remembers_it_is_drained_is() -> None:
    drained = {"since": "2026-01-31T12:00:00Z", "purpose": "a new disk"}
    found = build_snapshot(
        {"a": observed(guest(), marks={"drained": drained}), "b": observed(marks={"drained": None}), "c": observed()}
    )
    assert {name: host["state"] for name, host in found["hosts"].items()} == {
        "a": "drained",
        "b": "active",
        "c": "active",
    }


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        (None, "There is no result of host_info for this host."),
        ({"unreachable": True, "msg": "ssh:\n timed out"}, "ssh: timed out"),
        ({"unreachable": True}, "The host did not answer."),
        ({"failed": True, "msg": "no libvirt"}, "no libvirt"),
        ({"skipped": True}, "The host did not answer at the start of the run, so it has no lease."),
        ({}, "The result has no observation."),
        ({"observation": "{"}, "The host's observation is not valid JSON."),
        ({"observation": {"schema": 2}}, "The host's observation has schema 2, but this version"),
        ({"observation": {"schema": 1, "host": {}}}, "The host's observation lacks 'host' or 'domains'."),
        (observed({"uuid": None}), "The host's observation has a domain without a UUID."),
    ],
)
def test_host_without_a_usable_observation(result: t.Any, problem: str) -> None:
    host = build_snapshot({"a": result})["hosts"]["a"]
    assert host["state"] == "unknown"
    assert host["problem"].startswith(problem)


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        (guest(job=OUT), guest(state="paused", reason="migration")),
        (guest(job=OUT), guest(state="paused", reason="starting_up")),
        (guest(job=OUT), guest(state="paused", reason="migration", job=IN)),
        (guest(state="paused", reason="postcopy", job=OUT), guest(state="running", reason="postcopy", job=IN)),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_in_flight(source: Json, destination: Json, order: int) -> None:
    found = build_snapshot(dict([("a", observed(destination)), ("b", observed(source))][::order]))
    assert found["doubts"] == []
    assert found["domains"]["u"]["host"] == "b"
    assert found["domains"]["u"]["destination"] == "a"
    assert found["domains"]["u"]["job"] == OUT


@pytest.mark.parametrize(
    "seen",
    [
        [guest(), guest()],
        [guest(job=OUT), guest()],
        [guest(job=OUT), guest(job=OUT)],
        [guest(), guest(state="paused", reason="migration")],
        [guest(job=OUT), guest(state="paused", reason="user")],
        [guest(job=OUT), guest(state="paused", reason="migration"), guest(state="paused", reason="migration")],
    ],
)
def test_domain_on_two_hosts(seen: list[Json]) -> None:
    found = build_snapshot({f"kvm{number}": observed(domain) for number, domain in enumerate(seen)})
    (doubt,) = found["doubts"]
    assert doubt["kind"] == "domain_on_two_hosts"
    assert doubt["hosts"] == [f"kvm{number}" for number in range(len(seen))]
    assert doubt["domain"] == "u"
    assert "'name-u'" in doubt["message"]
    assert "kvm0" in doubt["message"]


WAY = {"source": "kvm0", "destination": "kvm1"}


def left_and_arrived(note: Json | None, *, arrived: str = "running") -> str:
    left = {**guest(state="paused", reason="migration"), "unfinished_move": note}
    seen = [left, {**guest(state=arrived, reason="migrated"), "unfinished_move": note}]
    (doubt,) = build_snapshot({f"kvm{number}": observed(domain) for number, domain in enumerate(seen)})["doubts"]
    return str(doubt["message"])


def test_which_copy_is_stale_is_told_as_long_as_both_are_there() -> None:
    message = left_and_arrived(WAY)
    assert message.startswith("Domain 'name-u' (u) runs on kvm1, and kvm0 still holds the paused copy of it")
    assert "Never resume that copy" in message
    assert "virsh undefine --keep-nvram name-u" in message


@pytest.mark.parametrize("note", [None, {"source": "kvm1", "destination": "kvm0"}, {**WAY, "destination": "kvm2"}])
def test_which_copy_is_stale_is_not_guessed(note: Json | None) -> None:
    assert "find out which one is right" in left_and_arrived(note)
    assert "find out which one is right" in left_and_arrived(WAY, arrived="paused")


def test_host_uuid_twice() -> None:
    (doubt,) = build_snapshot({"a": observed(uuid="X"), "b": observed(uuid="x"), "c": observed()})["doubts"]
    assert (doubt["kind"], doubt["hosts"]) == ("host_uuid_twice", ["a", "b"])
    assert "Hosts a and b report the same host UUID x" in doubt["message"]


def test_interrupted_migration_is_a_blocker() -> None:
    found = build_snapshot({"a": observed(guest(state="paused", reason="migration"))})["domains"]["u"]
    assert found["host"] == "a"
    assert [blocker["code"] for blocker in found["blockers"]] == ["interrupted_migration"]
    running = build_snapshot({"a": observed(guest(state="paused", reason="migration", job=IN))})["domains"]["u"]
    assert running["blockers"] == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "A snapshot must be a mapping, not null."),
        ({}, "The snapshot has no key 'schema', so it was not made by this collection, or not all of it is there."),
        ({"schema": True}, "The snapshot has the schema true, which is none: it must be 1."),
        (
            {"schema": 2},
            "The snapshot has schema 2, but this version of the collection knows 1: update the collection.",
        ),
        ({"schema": 1, "hosts": []}, "must have the mappings 'hosts' and 'domains'"),
        ({"schema": 1, "hosts": {"a": None}, "domains": {}}, "Host 'a' of the snapshot must be a mapping, not null."),
        ({"schema": 1, "hosts": {"a": {"state": "on"}}, "domains": {}}, "has the state 'on'"),
        ({"schema": 1, "hosts": {}, "domains": {"u": {}}}, "Domain 'u' of the snapshot has no host."),
        ({"schema": 1, "hosts": {}, "domains": {"u": {"host": "a"}}}, "on host 'a', which it does not contain."),
    ],
)
def test_bad_snapshots(data: t.Any, message: str) -> None:
    with pytest.raises(SnapshotError) as caught:
        Snapshot.from_mapping(data)
    assert message in str(caught.value)


def test_nulls_are_unknown() -> None:
    nothing: Json = {
        "schema": 1,
        "taken_at": None,
        "hosts": {"a": {"state": "active"}},
        "domains": {"u": {"host": "a"}},
    }
    found = Snapshot.from_mapping(nothing)
    assert found.hosts["a"].bridges is None
    assert found.hosts["a"].usable_models is None
    assert found.domains["u"].interfaces is None
    assert found.domains["u"].cpu_cores is None
    nonsense = {**nothing, "domains": {"u": {"host": "a", "cpu_cores": float("nan"), "vcpus": 0, "cpu_ready": -1}}}
    domain = Snapshot.from_mapping(nonsense).domains["u"]
    assert (domain.cpu_cores, domain.vcpus, domain.cpu_ready) == (None, None, None)


def test_observations_must_be_a_mapping() -> None:
    with pytest.raises(SnapshotError, match="must be a mapping of host names"):
        build_snapshot([])
    with pytest.raises(SnapshotError, match="host 'a' has 'rack'"):
        build_snapshot({"a": None}, tags={"a": "rack"})


MODEL = {"idle_watts": 60, "max_watts": 140}
MEASURED = {"watts": 200.0, "source": "measured", "cpu_watts": 90.0, "cpu_source": "measured"}
NOTHING = dict.fromkeys(MEASURED)


@pytest.mark.parametrize(
    ("drawn", "model", "usage", "expected"),
    [
        pytest.param(NOTHING, MODEL, 0.5, {**NOTHING, "watts": 100.0, "source": "modelled"}, id="modelled"),
        pytest.param(
            NOTHING, [100] * 5 + [200] * 6, 0.45, {**NOTHING, "watts": 150.0, "source": "modelled"}, id="table"
        ),
        pytest.param(MEASURED, MODEL, 0.5, MEASURED, id="measured"),
        pytest.param(
            {**NOTHING, "cpu_watts": 90.0, "cpu_source": "measured"},
            MODEL,
            0.5,
            {"watts": 100.0, "source": "modelled", "cpu_watts": 90.0, "cpu_source": "measured"},
            id="the one modelled, the other measured",
        ),
        pytest.param(NOTHING, None, 0.5, NOTHING, id="no model"),
        pytest.param(NOTHING, MODEL, None, NOTHING, id="no load"),
    ],
)
def test_every_watt_is_measured_or_modelled(drawn: Json, model: t.Any, usage: float | None, expected: Json) -> None:
    seen = {"a": observed(uuid="h1", cpu={"usage": usage}, power=drawn)}
    assert build_snapshot(seen, power_models={"a": model})["hosts"]["a"]["power"] == expected


def test_a_power_model_that_is_wrong() -> None:
    with pytest.raises(BalanceError, match="The power model of a"):
        build_snapshot({"a": observed(uuid="h1")}, power_models={"a": [1, 2, 3]})


def said(state: str, seen_by: str | None, problem: str | None = None) -> Json:
    return {"changed": False, "power": {"state": state, "seen_by": seen_by, "problem": problem}}


ON = "c cannot be reached. It is not asleep: its BMC says that it is on."
SILENT = "Failed to connect to the host via ssh."


@pytest.mark.parametrize(
    ("remembered", "power", "state", "problem"),
    [
        pytest.param(True, None, "asleep", None, id="nobody was asked"),
        pytest.param(True, said("asleep", "bmc"), "asleep", None, id="and it is off"),
        pytest.param(True, said("unknown", None, "x"), "asleep", None, id="and nobody can tell"),
        pytest.param(True, {"failed": True, "msg": "x"}, "asleep", None, id="and the question was wrong"),
        pytest.param(True, said("unknown", "bmc", ON), "unknown", ON, id="but it is on"),
        pytest.param(
            True, said("awake", "libvirt"), "unknown", "It was put to sleep, but is awake.", id="but it is up"
        ),
        pytest.param(False, None, "unknown", SILENT, id="silent"),
        pytest.param(
            False,
            said("asleep", "bmc"),
            "unknown",
            f"It is off according to its bmc, and no run has put it to sleep. {SILENT}",
            id="off, and nobody knows why",
        ),
        pytest.param(False, said("unknown", "bmc", ON), "unknown", SILENT, id="broken"),
    ],
)
def test_asleep_is_who_was_put_to_sleep_and_is_not_on(
    remembered: bool, power: Json | None, state: str, problem: str | None
) -> None:
    known = {"since": "2026-01-31T11:00:00Z", "threads": 4, "memory_total_mib": 1024}
    seen = {
        "a": observed(uuid="h1", marks={"asleep": {"c": known} if remembered else {}}),
        "c": {"unreachable": True, "msg": SILENT},
    }
    host = build_snapshot(seen, power_states={} if power is None else {"c": power})["hosts"]["c"]
    assert (host["state"], host["problem"]) == (state, problem)
    if state == "asleep":
        who = "bmc" if power == said("asleep", "bmc") else None
        assert host["asleep"] == {**known, "seen_by": who}
