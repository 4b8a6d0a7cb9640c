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
    return Fleet(facts, Policy.from_mapping({}), answers=Answers.from_data(list(answers), facts))


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
    told = {one.name: found for one in fleet.domains if (found := against(one.facts, "b")) is not None}
    # Whoever was not asked is told about whom the host answered.
    assert told == {name: "b says no" if name == "x" else "b answered about x: b says no" for name in refused}
    assert [one.name for one in fleet.domains if against(one.facts, "c") or other(one.facts, "b")] == []


IMAGES = {"path": "/srv/images", "type": "nfs4", "source": "filer:/images", "root": "/", "identity": None}
HUGE = 1048576


def disks(*sources: str, **more: t.Any) -> list[Json]:
    kinds = ("file" if source.startswith("/") else "volume" for source in sources)
    return [
        {"target": "vda", "source": source, "type": kind, "shared": True, "readonly": False, **more}
        for source, kind in zip(sources, kinds, strict=True)
    ]


def pages(mib: int, size: int | None = HUGE) -> Json:
    return {"hugepages": True, "hugepage_sizes": [{"size_kib": size, "mib": mib}]}


def bound(cpus: list[int], cells: list[int] | None = None) -> Json:
    return {"bound": {"cpus": cpus, "cells": cells or []}}


@pytest.mark.parametrize(
    ("kind", "about", "asked", "alike", "unlike"),
    [
        pytest.param(
            "pool",
            "ssd",
            {"disks": disks("ssd/x")},
            [{"disks": disks("hdd/y", "ssd/y")}, {"disks": disks("ssd/y", readonly=True)}],
            # A directory may have the name of a pool.
            [{"disks": disks("hdd/y")}, {"disks": disks("/ssd/y")}, {"disks": None}, {}],
            id="pool",
        ),
        pytest.param(
            "volume",
            "ssd/base",
            {"disks": disks("ssd/base")},
            [{"disks": disks("ssd/y", "ssd/base")}],
            [{"disks": disks("ssd/y")}, {"disks": disks("hdd/base")}, {}],
            id="volume",
        ),
        pytest.param(
            "mounts",
            "/srv/images/web",
            {"disks": disks("/srv/images/web/x")},
            [
                {"disks": disks("/srv/images/db/y", "/srv/images/web/y")},
                {"disks": disks("/srv/images/web/y"), "host": "d"},
            ],
            [
                {"disks": disks("/srv/images/y")},
                # What it only reads may be a copy.
                {"disks": disks("/srv/images/web/y", readonly=True)},
                # Under the same path these hosts have something else, or it is not known what.
                {"disks": disks("/srv/images/web/y"), "host": "e"},
                {"disks": disks("/srv/images/web/y"), "host": "c"},
                {},
            ],
            id="mounts",
        ),
        pytest.param(
            "secret",
            "client.libvirt secret (ceph)",
            {"secrets": ["client.libvirt secret (ceph)", "s"]},
            [{"secrets": ["client.libvirt secret (ceph)"]}],
            [{"secrets": ["s"]}, {"secrets": []}, {"secrets": None}, {}],
            id="secret",
        ),
        pytest.param(
            "hugepages",
            HUGE,
            pages(1024),
            [pages(100), pages(9000)],
            [
                pages(1024, 2048),
                pages(1024, None),
                {"hugepages": True},
                {"hugepages": True, "hugepage_sizes": None},
                {},
            ],
            id="huge pages of a size",
        ),
        pytest.param(
            "hugepages",
            None,
            pages(1024, None),
            [pages(100, None)],
            [pages(1024), {}],
            id="huge pages of the default size",
        ),
        pytest.param(
            "free_hugepages",
            HUGE,
            pages(1024),
            [pages(1024), pages(9000)],
            [pages(1023), pages(1024, 2048), pages(1024, None), {"hugepages": True}, {}],
            id="free huge pages",
        ),
        pytest.param(
            "free_hugepages",
            None,
            pages(1024, None),
            [pages(2048, None)],
            [pages(512, None), pages(2048)],
            id="free huge pages of the default size",
        ),
        pytest.param(
            "pins",
            "8-9,12",
            bound([0, 8, 9, 12]),
            [bound([9]), bound([1, 12])],
            [bound([0, 10]), bound([], [8]), {"bound": None}, {}],
            id="pins",
        ),
        pytest.param(
            "numa",
            "2",
            bound([], [0, 2]),
            [bound([], [2])],
            [bound([], [0]), bound([2]), {"bound": {"cpus": None, "cells": None}}, {}],
            id="numa",
        ),
    ],
)
def test_what_one_domain_was_refused_holds_for_all_that_need_the_same(
    kind: str, about: str | int | None, asked: Json, alike: list[Json], unlike: list[Json]
) -> None:
    needs = {
        "x": asked,
        **{f"yes-{i}": of for i, of in enumerate(alike)},
        **{f"no-{i}": of for i, of in enumerate(unlike)},
    }
    guests = [domain(name, "a", **of) for name, of in needs.items()]
    hosts = {
        "a": host(mounts=[IMAGES, {**IMAGES, "path": "/"}]),
        "b": host(),
        "c": host(),
        "d": host(mounts=[IMAGES]),
        "e": host(mounts=[{**IMAGES, "source": "nas:/images"}]),
    }
    facts = Snapshot.from_mapping(snapshot(hosts, *guests))
    found = Answers.from_data([refusal("x", "b", "b says no", kind=kind, about=about)], facts)
    told = {name: said for name in facts.domains if (said := found.against(facts.domains[name], "b")) is not None}
    learned = {name: "b answered about x: b says no" for name in needs if name.startswith("yes-")}
    assert told == {"x": "b says no", **learned}
    assert [
        name for name in needs if found.against(facts.domains[name], "c") or found.against_moving(facts.domains[name])
    ] == []
    assert [name for name in needs if found.against_cpu(facts.domains[name], "b")] == []


def test_who_was_refused_itself_is_told_so() -> None:
    for kind, against in (("cpu", Answers.against_cpu), ("machine", Answers.against)):
        fleet = fleet_of(refusal("x", "b", "no to x", kind=kind), refusal("y", "b", "no to y", kind=kind))
        told = {name: against(fleet.answers, fleet[name].facts, "b") for name in ("x", "y", "k")}
        assert told == {"x": "no to x", "y": "no to y", "k": "b answered about x: no to x"}


@pytest.mark.parametrize("about", ["", "no number", "0-99999999", 8, 8.5, None])
def test_what_a_refusal_is_about_may_be_anything(about: t.Any) -> None:
    for kind in ("pins", "numa", "hugepages", "free_hugepages", "mounts", "secret", "pool", "volume"):
        fleet = fleet_of(refusal("x", "b", "b says no", kind=kind, about=about))
        assert [one.name for one in fleet.domains if fleet.answers.against(one.facts, "b")] == ["x"]


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
    found = Answers.from_data([refusal(uuid.upper(), "b", "b says no")], facts)
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
    # A later stage of the plan begins where it came to, and the host has not answered again.
    fleet["y"].home = b
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
        Answers.from_data(data, Snapshot.from_mapping(snapshot({})))
    assert str(error.value).startswith(problem)
