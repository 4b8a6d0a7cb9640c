# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import typing as t

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.best_host import best_host
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    domain,
    host,
    moves,
    snapshot,
)

RACKS = {"per": "rack-", "name": "db", "domains": {"tag": "db"}}


def new(**more: t.Any) -> Json:
    return {"name": "n", "memory_mib": 100, "vcpus": 2, "cpu_cores": 1.0, "bridges": ["br0"], **more}


def pools(**more: t.Any) -> list[Json]:
    return [{"name": "images", "path": "/srv/images", "active": True, "shared": False, "available_mib": 1000, **more}]


def three(**of_c: t.Any) -> Json:
    """Three hosts: a with 5 of 10 threads busy, b with 2, c with none. c is what the test makes of it."""
    return snapshot(
        {"a": host(tags=["rack-1"]), "b": host(tags=["rack-1"]), "c": host(**{"tags": ["rack-2"], **of_c})},
        *(domain(f"a{i}", "a", tags=["db"]) for i in range(5)),
        *(domain(f"b{i}", "b", tags=["web"]) for i in range(2)),
    )


def test_the_emptiest_host_is_best() -> None:
    found = best_host(three(), new())
    assert found["host"] == "c"
    assert found["refused"] == {}
    assert [(fit["host"], fit["cpu"]) for fit in found["candidates"]] == [("c", 0.1), ("b", 0.3), ("a", 0.6)]
    assert found["score"]["after"] == found["candidates"][0]["score"] < found["score"]["before"]
    assert found["why"] == "c is the best of 3 hosts that can take n: with it the host is at 10 % CPU and 1 % memory."


def test_what_it_does_not_ask_for_need_not_be_known() -> None:
    asked = new(type=None, arch=None, cpu_model=None, machine=None)
    found = best_host(three(domain_types=None, cpu={"arch": None, "usable_models": None}), asked)
    assert (found["host"], found["refused"]) == ("c", {})


REASONS: list[tuple[Json, Json, Json, str]] = [
    # new domain, policy, what c is, why c does not take it
    (new(memory_mib=9001), {}, {}, "memory: may grow to 9001 MiB of memory, and c has 9000 MiB left"),
    (new(memory_mib=600, hugepages=True), {}, {}, "memory: needs 600 MiB of huge pages, c has 0 free"),
    (new(vcpus=11), {}, {}, "vcpus: has 11 vCPUs, c has 10 threads"),
    (new(cpu_cores=2.0), {}, {"usage": 0.8}, "cpu: c would be at 100 % CPU, the limit is 90 %"),
    # What it wants is not known: all that its vCPUs can.
    (new(vcpus=10, cpu_cores=None), {}, {}, "cpu: c would be at 100 % CPU, the limit is 90 %"),
    (new(), {"drained_hosts": ["c"]}, {}, "drained_host: c is drained"),
    (new(), {"ignore_hosts": ["c"]}, {}, "ignored_host: the policy ignores c"),
    (new(), {}, {"state": "asleep"}, "unknown_host: c is asleep"),
    (new(), {}, {"bridges": ["br1"]}, "networks: c has no bridge br0"),
    (new(bridges=[], networks=["lan"]), {}, {}, "networks: c has no active network lan"),
    (new(type="xen"), {}, {}, "cpu_model: c does not have domains of type xen"),
    (new(arch="aarch64"), {}, {}, "cpu_model: c does not have the architecture aarch64"),
    (new(cpu_model="Zen"), {}, {}, "cpu_model: c does not have the CPU model Zen"),
    (
        new(cpu_model="Zen"),
        {},
        {"cpu": {"usable_models": None}},
        "cpu_model: cannot tell whether c has the CPU model Zen",
    ),
    (new(machine="pc"), {}, {}, "machine_type: c does not have the machine type pc for x86_64"),
    (
        new(disks=[{"pool": "images", "mib": 600}, {"pool": "/srv/images", "mib": 500}]),
        {},
        {"storage_pools": pools()},
        "storage_room: needs 1100 MiB in the pool images, c has 1000 left in it",
    ),
    (
        new(disks=[{"pool": "images", "mib": 600}]),
        {},
        {"storage_pools": pools(available_mib=None)},
        "storage_room: cannot tell how much room is left in the pool images of c",
    ),
    (
        new(disks=[{"pool": "images", "mib": 600}]),
        {},
        {"storage_pools": pools(active=False)},
        "storage_room: c has no active pool images",
    ),
    (
        new(tags=["web"]),
        {"pins": [{"domains": {"tag": "web"}, "hosts": ["a"]}]},
        {},
        "pins: is pinned to a",
    ),
    (
        new(tags=["web"]),
        {"affinity": [{"name": "web", "domains": "domains[?contains(tags, 'web')]"}]},
        {},
        "affinity: has to be with b0 of the group web, which is on b",
    ),
    (
        new(tags=["db"]),
        {"failure_domains": [{**RACKS, "most": 5}]},
        {"tags": ["rack-1"]},
        "failure_domains: rack-1 already has 5 of the group db, the most is 5",
    ),
]


@pytest.mark.parametrize(("guest", "policy", "of_c", "expected"), REASONS)
def test_reasons(guest: Json, policy: Json, of_c: Json, expected: str) -> None:
    found = best_host(three(**of_c), guest, policy)
    assert found["host"] != "c"
    assert [f"{why['constraint']}: {why['message']}" for why in found["refused"]["c"]] == [expected]


@pytest.mark.parametrize(
    ("guest", "policy", "expected"),
    [
        (new(), {"anti_affinity": [{"name": "all", "domains": "domains"}]}, "c"),
        (new(tags=["db"]), {"failure_domains": [{**RACKS, "most": 1}]}, "c"),
        (new(tags=["web"]), {"affinity": [{"name": "web", "domains": {"tag": "web"}}]}, "b"),
        (new(tags=["web"]), {"affinity": [{"name": "web", "domains": {"tag": "web"}, "must": False}]}, "b"),
        (new(), {"pins": [{"domains": {"names": ["n"]}, "hosts": ["a"], "must": False}]}, "a"),
        (new(), {"exclude": "domains", "reserves": [{"hosts": ["c"], "cpu_cores": 8}]}, "b"),
        (new(machine="q35", arch="x86_64", cpu_model="Nehalem", type="kvm"), {}, "c"),
    ],
)
def test_rules_and_wishes(guest: Json, policy: Json, expected: str) -> None:
    assert best_host(three(), guest, policy)["host"] == expected


def test_no_host() -> None:
    found = best_host(three(), new(memory_mib=20000, vcpus=20))
    assert (found["host"], found["candidates"]) == (None, [])
    assert found["why"] == "None of the 3 hosts can take n."
    assert found["score"]["before"] == found["score"]["after"]
    assert {name: [why["constraint"] for why in reasons] for name, reasons in found["refused"].items()} == {
        name: ["vcpus", "memory"] for name in "abc"
    }


def test_hosts_that_need_least_come_first() -> None:
    found = best_host(three(bridges=["br1"]), new(memory_mib=20000, vcpus=11))
    assert list(found["refused"]) == ["a", "b", "c"]
    assert len(found["refused"]["c"]) == 1 + len(found["refused"]["a"])


def test_each_of_a_list_counts_for_the_next() -> None:
    empty = snapshot({name: host() for name in "abc"})
    found = best_host(empty, [new(name=f"n{i}") for i in range(6)])
    assert sorted(answer["host"] for answer in found) == ["a", "a", "b", "b", "c", "c"]
    apart = best_host(
        empty, [new(name=f"n{i}") for i in range(4)], {"anti_affinity": [{"name": "all", "domains": "domains"}]}
    )
    assert [answer["host"] for answer in apart] == ["a", "b", "c", None]
    together = best_host(
        empty, [new(name=f"n{i}") for i in range(4)], {"affinity": [{"name": "all", "domains": "domains"}]}
    )
    assert len({answer["host"] for answer in together}) == 1


@pytest.mark.parametrize(("shared", "expected"), [(True, ["a", None, None]), (False, ["a", "b", None])])
def test_disks_of_earlier_ones_take_room(shared: bool, expected: list[str | None]) -> None:
    data = snapshot({name: host(storage_pools=pools(shared=shared)) for name in "ab"})
    guests = [new(name=f"n{i}", disks=[{"pool": "images", "mib": 600}]) for i in range(3)]
    assert [answer["host"] for answer in best_host(data, guests)] == expected


def test_no_room_is_left() -> None:
    data = snapshot({"a": host(storage_pools=pools())})
    guests = [new(name=f"n{mib}", disks=[{"pool": "images", "mib": mib}]) for mib in (1000, 1)]
    first, second = best_host(data, guests)
    assert (first["host"], second["host"]) == ("a", None)
    assert [reason["message"] for reason in second["refused"]["a"]] == [
        "needs 1 MiB in the pool images, a has 0 left in it"
    ]


@pytest.mark.parametrize(
    ("disks", "expected"),
    [
        ({"images": 600, "data": 600}, None),
        ({"data": 600, "more": 600}, None),
        ({"images": 600, "alias": 600}, "needs 1200 MiB in the pool images, a has 1000 left in it"),
        ({"images": 600, "none": 1}, "a has no active pool none"),
    ],
)
def test_disks_take_room_of_their_own_pool(disks: dict[str, int], expected: str | None) -> None:
    known = [*pools(), *pools(name="data", path=None), *pools(name="more", path=None), *pools(name="alias")]
    asked = new(disks=[{"pool": name, "mib": mib} for name, mib in disks.items()])
    found = best_host(snapshot({"a": host(storage_pools=known)}), asked)
    assert [reason["message"] for reason in found["refused"].get("a", [])] == ([] if expected is None else [expected])


def test_pools_that_are_not_known_have_no_room() -> None:
    found = best_host(snapshot({"a": host(storage_pools=None)}), new(disks=[{"pool": "images", "mib": 1}]))
    assert "a has no active pool images" in [reason["message"] for reason in found["refused"]["a"]]


def test_one_host_is_enough() -> None:
    assert best_host(snapshot({"a": host()}), new())["host"] == "a"


@pytest.mark.parametrize(
    ("data", "guest", "message"),
    [
        (snapshot({}), new(), "The snapshot has no host"),
        (snapshot({"a": host()}, doubts=[{"message": "X is on a and b."}]), new(), "X is on a and b."),
        (three(), 5, "The new domain must be a mapping, or a list of such, not 5."),
        (three(), {"vcpus": 1}, "The new domain needs the key 'memory_mib'."),
        (three(), [new(), new(vcpus=0)], "domains[1].vcpus must be a whole number of at least 1, not 0."),
        (three(), new(memory=1), "The new domain has no key 'memory': did you mean 'memory_mib'?"),
        (three(), new(disks=[{"pool": "x"}]), "The new domain.disks[0] needs the key 'mib'."),
    ],
)
def test_mistakes(data: Json, guest: t.Any, message: str) -> None:
    with pytest.raises(BalanceError) as caught:
        best_host(data, guest)
    assert message in str(caught.value)


CARRIERS = st.lists(
    st.tuples(st.sampled_from([4, 8, 16]), st.sampled_from([4000, 8000]), st.sampled_from([0.0, 0.1, 0.4])),
    min_size=2,
    max_size=5,
)
TAGS = st.sampled_from([[], [], ["db"], ["web"]])
RULES: dict[str, st.SearchStrategy[t.Any]] = {
    "anti_affinity": st.just([{"name": "db", "domains": {"tag": "db"}}]),
    "failure_domains": st.just([{**RACKS, "most": 2}]),
    "memory_basis": st.just("maximum"),
}
AFFINITY = {"affinity": st.just([{"name": "web", "domains": {"tag": "web"}}])}


def fleet_of(carriers: list[tuple[int, int, float]], *guests: Json) -> Json:
    hosts = {
        f"kvm{i}": host(threads=threads, total=total, usage=usage, tags=[f"rack-{i % 2}"])
        for i, (threads, total, usage) in enumerate(carriers)
    }
    return snapshot(hosts, *guests)


def started(asked: list[Json], answers: list[Json]) -> list[Json]:
    """The domains that were placed, running where they were placed."""
    return [
        domain(
            guest["name"],
            answer["host"],
            cores=guest["cpu_cores"],
            mib=guest["memory_mib"],
            vcpus=guest["vcpus"],
            tags=guest["tags"],
        )
        for guest, answer in zip(asked, answers, strict=True)
        if answer["host"] is not None
    ]


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    CARRIERS,
    st.lists(st.tuples(st.sampled_from([1, 2, 4]), TAGS), max_size=20),
    # Not affinity: domains that must be together are one large domain that comes in pieces.
    st.fixed_dictionaries({}, optional=RULES),
)
def test_what_was_placed_stays(
    carriers: list[tuple[int, int, float]], sizes: list[tuple[int, list[str]]], rules: Json
) -> None:
    # Hosts and domains come in sizes, as they do in most places: what has twice the CPU has twice the memory. No domain
    # is large beside what the policy accepts (at most 10 % of the smallest host), and the hosts were level before.
    empty = [(threads, 1000 * threads, 0.0) for threads, _total, _usage in carriers]
    asked = [
        new(name=f"d{i:02}", vcpus=size, cpu_cores=0.1 * size, memory_mib=100 * size, tags=tags)
        for i, (size, tags) in enumerate(sizes)
    ]
    answers = best_host(fleet_of(empty), asked, rules)
    found = plan(fleet_of(empty, *started(asked, answers)), rules)
    assert found["waves"] == []


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    CARRIERS,
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from([0.3, 1.0, 2.0]), st.sampled_from([100, 900]), TAGS), max_size=12
    ),
    st.tuples(st.sampled_from([0.1, 1.0, 2.0]), st.sampled_from([100, 1500]), TAGS),
    st.fixed_dictionaries({}, optional={**RULES, **AFFINITY, "cpu_reserve_cores": st.just(1)}),
)
def test_no_move_of_the_new_domain_is_better(
    carriers: list[tuple[int, int, float]],
    running: list[tuple[int, float, int, list[str]]],
    size: tuple[float, int, list[str]],
    rules: Json,
) -> None:
    # In any fleet, however uneven, and even where a move costs nothing.
    guests = [
        domain(f"d{i:02}", f"kvm{on % len(carriers)}", cores=cores, mib=mib, vcpus=2, tags=tags)
        for i, (on, cores, mib, tags) in enumerate(running)
    ]
    cores, mib, tags = size
    asked = new(cpu_cores=cores, memory_mib=mib, tags=tags)
    policy = {**rules, "move_cost": 0, "move_cost_per_gib": 0, "threshold": 0, "minimum_gain": 0}
    answer = best_host(fleet_of(carriers, *guests), asked, policy)
    blocked = [{"code": "tpm", "message": "has a TPM"}]
    still = [{**guest, "blockers": blocked} for guest in guests]
    data = fleet_of(carriers, *still, *started([asked], [answer]))
    found = plan(data, policy)
    assert [move for move in moves(found) if move["resource"] not in ("anti_affinity", "failure_domains")] == []
