# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import FleetError
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.answers import Answers
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    answer,
    domain,
    host,
    refusal,
    snapshot,
)

BR7 = [{"type": "bridge", "source": "br0"}, {"type": "bridge", "source": "br7"}]
LAN = [{"type": "network", "source": "br7"}]
HASWELL = {"mode": "custom", "model": "Haswell", "features": ["vmx"]}


def fleet_of(*answers: Json) -> Fleet:
    """Three hosts; x and y are alike, z differs in all that a destination may be asked for, k is larger."""
    guests = [
        domain("x", "a", interfaces=BR7),
        domain("y", "a", interfaces=BR7),
        domain("z", "a", machine="pc", cpu=HASWELL, interfaces=LAN),
        domain("k", "a", mib=5000, interfaces=BR7),
        domain("here", "b", mib=1000),
    ]
    facts = Snapshot.from_mapping(snapshot({"a": host(), "b": host(), "c": host()}, *guests))
    return Fleet(facts, Policy.from_mapping({}), answers=Answers.from_data(list(answers), facts.domains))


@pytest.mark.parametrize(
    ("kind", "about", "refused"),
    [
        # Without a kind: this domain and this destination.
        (None, None, {"x"}),
        ("of a later version", "whatever", {"x"}),
        # Of a kind: all that need the same.
        ("machine", None, {"x", "y", "k", "here"}),
        ("cpu", None, {"x", "y", "k", "here"}),
        ("bridge", "br7", {"x", "y", "k"}),
        ("bridge", "br0", {"x", "y", "k", "here"}),
        # It is not among the interfaces that were observed, and was refused all the same.
        ("network", "br7", {"x", "z"}),
    ],
)
def test_how_far_a_refusal_holds(kind: str | None, about: str | None, refused: set[str]) -> None:
    fleet = fleet_of(refusal("x", "b", "b says no", kind=kind, about=about))
    against = fleet.answers.against_cpu if kind == "cpu" else fleet.answers.against
    other = fleet.answers.against if kind == "cpu" else fleet.answers.against_cpu
    assert {one.name for one in fleet.domains if against(one.facts, "b") == "b says no"} == refused
    assert [one.name for one in fleet.domains if against(one.facts, "c") or other(one.facts, "b")] == []


def test_what_is_in_the_domain_holds_for_every_destination() -> None:
    fleet = fleet_of(refusal("x", "b", "it has a device of its host", kind="domain"))
    assert fleet.answers.against_moving(fleet["x"].facts) == "it has a device of its host"
    assert fleet.answers.against_moving(fleet["y"].facts) is None


def test_no_answer_is_no_refusal() -> None:
    check = {"check": "cpu", "ok": None, "message": "b cannot compare CPUs", "kind": "cpu", "about": None}
    fleet = fleet_of(answer("x", "b", None, check), answer("y", "b", True))
    assert [one.name for one in fleet.domains if fleet.answers.against_cpu(one.facts, "b")] == []
    found = (fleet.answers.given or {})["x", "b"]
    assert (found.ok, found.unknown) == (None, ["b cannot compare CPUs"])


def test_a_uuid_is_read_however_it_is_written() -> None:
    uuid = "0a0b0c0d-0000-4000-8000-000000000001"
    facts = Snapshot.from_mapping(snapshot({"a": host(), "b": host()}, domain(uuid, "a")))
    found = Answers.from_data([refusal(uuid.upper(), "b", "b says no")], facts.domains)
    assert found.against(facts.domains[uuid], "b") == "b says no"


def refused(**values: t.Any) -> list[Json]:
    return [{"check": "bridge", "ok": False, "message": "no bridge", "kind": "bridge", "about": None, **values}]


def room(about: float, ok: bool = True) -> Json:
    return {"check": "memory", "ok": ok, "message": "memory", "kind": "memory", "about": about}


def test_the_memory_that_a_host_has_is_shared_by_all_that_come() -> None:
    # b said that it has 5100 MiB; by what was observed it has far more.
    fleet = fleet_of(answer("x", "b", True, room(5100)))
    b = next(one for one in fleet.hosts if one.name == "b")
    against = fleet.answers.against_room

    def refused() -> set[str]:
        return {one.name for one in fleet.domains if one.host is not b and against(one, b, fleet.domains)}

    assert refused() == set()
    fleet.move(fleet["x"], b)
    assert refused() == set()
    fleet.move(fleet["y"], b)
    assert refused() == {"k"}
    # What leaves makes room, but not while it is under way.
    c = next(one for one in fleet.hosts if one.name == "c")
    fleet.occupy(fleet["here"], c)
    assert refused() == {"k"}
    fleet.release(fleet["here"], b)
    assert refused() == set()


def test_the_least_of_several_figures_counts() -> None:
    one, other = answer("x", "b", True, room(50)), answer("y", "b", True, room(5000))
    for answers in ([one, other], [other, one]):
        fleet = fleet_of(*answers)
        found = fleet.answers.against_room(fleet["x"], fleet.hosts[1], fleet.domains)
        assert found == "may grow to 100 MiB of memory, and b answered that it has 50 MiB for it"


def test_an_answer_about_a_domain_that_is_gone_is_none() -> None:
    fleet = fleet_of(refusal("gone", "b", "b has no bridge br7", kind="bridge", about="br7"))
    assert [one.name for one in fleet.domains if fleet.answers.against(one.facts, "b")] == []


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("no list", "The answers must be a list of what domain_migrate_info returned, not 'no list'."),
        ([{"ok": True}], "One of the answers is none of domain_migrate_info: {'ok': true}."),
        ([answer("x", "b", True, {"ok": True})], "One of the checks of the answers is none: {'ok': true}."),
        ([answer("x", "b", False)], "The answer about x says no, and none of its checks does"),
        ([answer("x", "b", True, *refused())], "The answer about x says yes, and one of its checks says no"),
        ([{**answer("x", "b"), "checks": 5}], "The answer about x must have a list of checks, not 5."),
        ([{**answer("x", "b"), "checks": None}], "The answer about x must have a list of checks, not null."),
        (
            [{**answer("x", "b"), "ok": "false"}],
            "The answer about x has the ok 'false'; it must be true, false",
        ),
        ([{**answer("x", "b"), "checks": refused(ok=0)}], "The answer about x has the ok 0; it must be true, false"),
        ([refusal("x", "b", "no", kind="bridge", about=[])], "The answer about x has a check about []; that must be"),
        ([refusal("x", "b", "no", kind="network", about={})], "The answer about x has a check about {}; that must be"),
        ([refusal("x", "b", "no", kind="cpu", about=["x"])], "The answer about x has a check about ['x']; that must"),
        ([refusal("x", "b", "no", kind="machine", about=True)], "The answer about x has a check about true; that must"),
        ([answer("x", "b", True, room(float("nan")))], "The answer about x has a check about nan; that must be"),
        ([answer("x", "b", True, room(10**400))], "The answer about x has a check about 1000"),
    ],
)
def test_what_is_no_answer_is_told(data: t.Any, problem: str) -> None:
    with pytest.raises(FleetError) as error:
        Answers.from_data(data, {})
    assert str(error.value).startswith(problem)
