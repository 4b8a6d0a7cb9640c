# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Hosts are asked about the moves of a plan before it is shown and carried out, over the fleet of conftest.py."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.virtops.balance.tests.build.conftest import APART, Fleet
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import ways

ONE_EACH = {**APART, "max_moves_per_wave": 1}


def refuse(fleet: Fleet, name: str, host: str, message: str, **more: str | None) -> None:
    check = {"check": "names_free", "ok": False, "message": message, "kind": None, "about": None, **more}
    (fleet.place / f"refuse-{name}-{host}").write_text(json.dumps(check), encoding="utf-8")


def asked(fleet: Fleet) -> list[str]:
    return sorted((fleet.place / "asked").read_text(encoding="utf-8").splitlines())


def told(fleet: Fleet) -> list[tuple[str, bool | None]]:
    return [(m["name"], m["agreed"]) for wave in fleet.saved("plan.json")["waves"] for m in wave["moves"]]


def test_a_refused_pair_is_planned_around_in_the_same_run(fleet: Fleet) -> None:
    fleet.run("drain", "--check", drain_hosts="kvm1")
    name, source, refused = ways(fleet.saved("plan.json"))[0]
    assert [agreed for _name, agreed in told(fleet)] == [True, True, True]
    refuse(fleet, name, refused, f"{refused} already has another domain of this name")

    would = fleet.run("drain", "--check", drain_hosts="kvm1")
    planned = ways(fleet.saved("plan.json"))
    assert f"Asked and refused: {name} to {refused}: {refused} already has another domain of this name." in would
    assert (name, source, refused) not in planned
    assert len(planned) == 3
    assert fleet.log() == []

    fleet.run("drain", drain_hosts="kvm1")
    assert ways(fleet.saved("plan.json")) == planned
    assert fleet.on("kvm1") == []
    assert name not in fleet.on(refused)
    assert [agreed for _name, agreed in told(fleet)] == [True, True, True]
    # Plan and answers are a pair: the same snapshot with them gives the same plan again.
    assert {answer["ok"] for answer in fleet.saved("answers.json")} == {True, False}


def test_a_refusal_of_a_kind_is_learned_for_all_that_need_the_same(fleet: Fleet) -> None:
    fleet.run("drain", "--check", drain_hosts="kvm1", balance_policy={})
    name, _source, refused = ways(fleet.saved("plan.json"))[0]
    (other,) = {"kvm2", "kvm3"} - {refused}
    refuse(fleet, name, refused, f"{refused} cannot offer its CPU", check="cpu", kind="cpu")

    fleet.run("drain", drain_hosts="kvm1", balance_policy={})
    # Only one of the three was refused, and all have the same CPU.
    assert {line.split()[3] for line in fleet.log() if line.startswith("moved")} == {other}
    assert fleet.saved("outcome.json")["count"]["moved"] == 3


def test_the_memory_that_earlier_moves_free_and_take_is_told(fleet: Fleet) -> None:
    fleet.run("drain", "--check", drain_hosts="kvm1", balance_policy=ONE_EACH)
    moves = ways(fleet.saved("plan.json"))
    rooms = {line.split()[1]: int(line.split()[3]) for line in asked(fleet)}
    maximum = {uuid: d["memory"]["maximum_mib"] for uuid, d in fleet.saved("snapshot.json")["domains"].items()}
    for number, (name, _source, destination) in enumerate(moves):
        before = [one for one, _from, to in moves[:number] if to == destination]
        assert rooms[name] == -sum(maximum[one] for one in before)
    assert any(rooms.values())


def test_where_all_refuse_the_reason_is_theirs(fleet: Fleet) -> None:
    for host in ("kvm2", "kvm3"):
        refuse(fleet, "app-0", host, f"{host} has no bridge br7", check="bridge", kind="bridge", about="br7")
    said = fleet.run("drain", drain_hosts="kvm1", fails=True)
    assert fleet.on("kvm1") == ["app-0"]
    assert "app-0 is still on kvm1: kvm2: kvm2 has no bridge br7; kvm3: kvm3 has no bridge br7." in said


@pytest.mark.parametrize("rounds", [0, 1])
def test_no_more_rounds_than_the_policy_wants(fleet: Fleet, rounds: int) -> None:
    fleet.run("drain", "--check", drain_hosts="kvm1")
    name, _source, refused = ways(fleet.saved("plan.json"))[0]
    refuse(fleet, name, refused, "no")
    (fleet.place / "asked").unlink()

    said = fleet.run("drain", "--check", drain_hosts="kvm1", balance_policy={**APART, "agree_rounds": rounds})
    agreed = dict(told(fleet))
    if rounds:
        assert agreed[name] is None
        assert "could not be asked: the rounds of questions were used up (agree_rounds)" in said
        assert len(asked(fleet)) == 3
    else:
        assert set(agreed.values()) == {None}
        assert "NOT ASKED: no host was asked whether these moves can be made" in said
        assert not (fleet.place / "asked").exists()


def test_a_destination_that_could_not_be_asked_is_told(fleet: Fleet) -> None:
    check = {"check": "connection", "ok": None, "message": "Cannot connect to kvm3", "kind": None, "about": None}
    for name in fleet.on("kvm1"):
        (fleet.place / f"refuse-{name}-kvm3").write_text(json.dumps(check), encoding="utf-8")

    said = fleet.run("drain", drain_hosts="kvm1")
    assert "could not be asked: Cannot connect to kvm3" in said
    assert fleet.on("kvm1") == []


def test_a_source_that_cannot_ask_is_told(fleet: Fleet) -> None:
    (fleet.place / "kvm1" / "cannot-ask").touch()
    said = fleet.run("drain", drain_hosts="kvm1")
    assert "could not be asked: kvm1 could not ask: libvirt-python is missing" in said
    assert fleet.on("kvm1") == []


def test_an_allocation_is_agreed_to_as_well(fleet: Fleet) -> None:
    given: dict[str, t.Any] = {"balance_domains": {"app-0": {"cpu_min": 1, "cpu_max": 2, "hosts": ["kvm2", "kvm3"]}}}
    fleet.run("allocate", "--check", **given)
    ((name, source, refused),) = ways(fleet.saved("plan.json"))
    assert told(fleet) == [("app-0", True)]
    (other,) = {"kvm2", "kvm3"} - {refused}
    refuse(fleet, name, refused, "no such bridge")

    said = fleet.run("allocate", "--check", **given)
    assert f"Asked and refused: {name} to {refused}: no such bridge." in said
    assert ways(fleet.saved("plan.json")) == [(name, source, other)]
    assert told(fleet) == [("app-0", True)]
