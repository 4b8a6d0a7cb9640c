# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Draining: small fleets whose answer can be seen by looking."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError, FleetError
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.draining import left, objections
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.outcome import outcome
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.revalidate import objections as plan_objections
from ansible_collections.virtops.balance.plugins.plugin_utils._report.outcome_table import outcome_table
from ansible_collections.virtops.balance.plugins.plugin_utils._report.plan_table import plan_table
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.domains_by_host import residents
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    carried_out,
    domain,
    host,
    moves,
    snapshot,
    ways,
)

APART = {"name": "web", "domains": "domains[?starts_with(name, 'web')]"}
TIED = [{"code": "host_cpu", "message": "the CPU mode maximum ties the domain to this host's CPU"}]


def hosts(*names: str, **more: t.Any) -> dict[str, Json]:
    return {name: host(**copy.deepcopy(more)) for name in names}


def drained(data: Json, *names: str, **policy: t.Any) -> Json:
    return plan(data, {"strategy": "drain", "drained_hosts": list(names), **policy})


def test_it_empties_what_is_drained_and_moves_nothing_else() -> None:
    data = snapshot(
        hosts("a", "b", "c"), *(domain(f"a{n}", "a") for n in range(25)), *(domain(f"b{n}", "b") for n in range(5))
    )
    # max_moves, hold and threshold are about levelling.
    found = drained(data, "a", max_moves=3, hold=5, cpu_limit=3, cpu_overcommit=None)
    assert found["verdict"] == "move"
    assert found["why"] == "a is drained and has 25 domains."
    assert {move["source"] for move in moves(found)} == {"a"}
    assert len(moves(found)) == 25
    assert {move["resource"] for move in moves(found)} == {"drained_host"}
    assert drained(carried_out(data, found), "a", cpu_limit=3)["verdict"] == "balanced"


def test_the_mark_of_the_host_does_as_well_as_the_policy() -> None:
    data = snapshot(hosts("a", "b"), domain("x", "a"))
    data["hosts"]["a"]["state"] = "drained"
    assert ways(plan(data, {"strategy": "drain"})) == [("x", "a", "b")]
    assert ways(plan(data, {"strategy": "balance"})) == [("x", "a", "b")]


def test_nothing_is_drained() -> None:
    found = drained(snapshot(hosts("a", "b"), *(domain(f"a{n}", "a") for n in range(8))))
    assert (found["verdict"], found["why"], found["waves"]) == ("balanced", "No domain is on a drained host.", [])


def test_rules_that_do_not_hold_elsewhere_are_none_of_its_business() -> None:
    data = snapshot(hosts("a", "b", "c"), domain("web-1", "b"), domain("web-2", "b"), domain("x", "a"))
    found = drained(data, "a", anti_affinity=[APART])
    assert [name for name, _source, _destination in ways(found)] == ["x"]
    assert found["why"] == "a is drained and has 1 domain."
    empty = drained(carried_out(data, found), "a", anti_affinity=[APART])
    assert (empty["verdict"], empty["refused"]) == ("balanced", [])


def test_who_has_one_place_only_does_not_find_it_taken() -> None:
    # web-1 can only go to c, which has room for one; x, which is larger, would be tried first and likes c better.
    data = snapshot(
        {"a": host(), "b": host(usage=0.3), "c": host(total=1000)},
        domain("web-1", "a", mib=500),
        domain("x", "a", mib=600),
        domain("web-2", "b"),
    )
    found = drained(data, "a", anti_affinity=[APART])
    assert sorted(ways(found)) == [("web-1", "a", "c"), ("x", "a", "b")]
    assert found["refused"] == []


def test_what_cannot_leave_is_named_with_its_reasons() -> None:
    data = snapshot(
        hosts("a", "b", "c"), domain("web-1", "a"), domain("web-2", "b"), domain("web-3", "c"), domain("x", "a")
    )
    found = drained(data, "a", anti_affinity=[APART])
    assert [name for name, *_way in ways(found)] == ["x"]
    (refused,) = found["refused"]
    assert refused["name"] == "web-1"
    assert {name: reasons[0]["constraint"] for name, reasons in refused["reasons"].items()} == {
        "b": "anti_affinity",
        "c": "anti_affinity",
    }
    after = carried_out(data, found)
    assert left(found, after, ["a"]) == [
        "web-1 is still on a: b: b already has web-2 of the group web; c: c already has web-3 of the group web."
    ]
    assert left(found, after, ["b"])[0] == "web-2 is still on b: it was not moved."


class TestRestart:
    """Domains that cannot leave alive."""

    def data(self, **more: t.Any) -> Json:
        return snapshot(
            hosts("a", "b", "c"),
            domain("x", "a", blockers=TIED, cpu={"mode": "maximum"}, **more),
            domain("y", "a"),
            domain("z", "b", cores=4.0),
        )

    def test_only_where_the_policy_says_so(self) -> None:
        found = drained(self.data(), "a")
        assert found["restarts"] == []
        assert found["refused"][0]["reasons"]["*"][0]["message"] == TIED[0]["message"]

    def test_after_everything_has_moved(self) -> None:
        found = drained(self.data(), "a", restart="domains")
        assert found["restarts"] == [
            {
                "number": 1,
                "domain": "x",
                "name": "x",
                "source": "a",
                "destination": "c",
                "why": TIED[0]["message"],
                "gives_way": [],
            }
        ]
        assert (found["refused"], found["hosts"]["a"]["after"]["domains"]) == ([], 0)
        shown = plan_table(found)
        assert "RESTART 1 domain elsewhere." in shown
        assert "x  a -> c: the CPU mode maximum ties" in shown
        assert residents(self.data(), found)["a"] == []
        assert "x" in residents(self.data(), found)["c"]

    def test_nothing_else_moves(self) -> None:
        data = snapshot(hosts("a", "b"), domain("x", "a", blockers=TIED))
        found = drained(data, "a", restart={"names": ["x"]})
        assert found["verdict"] == "move"
        assert plan_table(found).startswith("RESTART 1 domain elsewhere.")

    def test_not_what_a_restart_does_not_help(self) -> None:
        blockers = [*TIED, {"code": "tpm", "message": "the domain has a TPM"}]
        data = snapshot(hosts("a", "b"), domain("x", "a", blockers=blockers))
        assert drained(data, "a", restart="domains")["restarts"] == []

    def test_another_cpu_suits_who_takes_that_of_the_host(self) -> None:
        data = snapshot(
            {"a": host(), "b": host(cpu={"model": "Nehalem", "features": []})},
            domain("x", "a", type="kvm", cpu={"mode": "host-passthrough"}, blockers=TIED),
        )
        assert drained(data, "a", accept_blockers=["host_cpu"])["refused"]
        (found,) = drained(data, "a", restart="domains")["restarts"]
        assert (found["name"], found["destination"]) == ("x", "b")
        (found,) = drained(data, "a", restart="domains", accept_blockers=["host_cpu"])["restarts"]
        assert found["why"] == "no host with room has the CPU model that it needs"

    def test_not_where_there_is_no_room(self) -> None:
        data = snapshot({"a": host(), "b": host(total=100)}, domain("x", "a", blockers=TIED))
        found = drained(data, "a", restart="domains")
        assert (found["restarts"], [wish["name"] for wish in found["refused"]]) == ([], ["x"])

    def test_an_approved_plan_is_looked_at_again(self) -> None:
        data = self.data()
        found = drained(data, "a", restart="domains")
        assert plan_objections(found, data) == []
        data["domains"]["x"]["host"] = "b"
        assert plan_objections(found, data) == ["x is on b, not on a as the plan expects."]

    def test_its_outcome(self) -> None:
        data = self.data()
        found = drained(data, "a", restart="domains")
        after = carried_out(data, found)
        after["domains"]["x"]["host"] = "c"
        results = [{"move": move, "changed": True} for move in moves(found)]
        done = outcome(found, [*results, {"restart": found["restarts"][0], "changed": True, "seconds": 4.0}], after)
        assert (done["problem"], done["count"]["restarted"]) == (None, 1)
        assert "1 moved, 1 restarted elsewhere." in outcome_table(done)
        assert "x  a -> c  restarted in 4.0 s" in outcome_table(done)
        done = outcome(found, results, after)
        assert [move["outcome"] for move in done["moves"]] == ["moved", "not_started"]
        failed = {"restart": found["restarts"][0], "failed": True, "msg": "It did not shut down."}
        assert outcome(found, [*results, failed], after)["problem"] == "It did not shut down."


@pytest.mark.parametrize(
    ("names", "policy", "expected"),
    [
        (["a"], {}, []),
        (["a", "b"], {}, []),
        (["a", "b", "c"], {}, ["With a, b, c drained, no host would be left to take domains."]),
        (["a", "b"], {"drained_hosts": ["c"]}, ["With a, b drained, no host would be left to take domains."]),
        (["d"], {}, ["d is not one of the hosts of this run."]),
        ([], {}, ["There is no host to drain."]),
        (["a"], {"ignore_hosts": ["a"]}, ["The policy ignores a (ignore_hosts)."]),
        (["a"], {"anti_affinity": [APART]}, []),
        (
            ["a", "b"],
            {"anti_affinity": [APART]},
            ["a, b cannot be drained: of the 2 domains that 'web' keeps apart, only 1 could run on the other hosts."],
        ),
        (
            ["c"],
            {"anti_affinity": [APART], "pins": [{"domains": {"names": ["web-1"]}, "hosts": ["b", "c"]}]},
            [],
        ),
        (
            ["a"],
            {"anti_affinity": [APART], "pins": [{"domains": APART["domains"], "hosts": ["a", "b"]}]},
            ["a cannot be drained: of the 2 domains that 'web' keeps apart, only 1 could run on the other hosts."],
        ),
        # They are drained already.
        (
            ["a", "b"],
            {"anti_affinity": [APART], "drained_hosts": ["a", "b"]},
            ["a, b cannot be drained: of the 2 domains that 'web' keeps apart, only 1 could run on the other hosts."],
        ),
        # It cannot be kept anyway.
        (["c"], {"anti_affinity": [APART], "pins": [{"domains": APART["domains"], "hosts": ["a"]}]}, []),
        (["a"], {"anti_affinity": [{**APART, "must": False}], "ignore_hosts": ["c"]}, []),
    ],
)
def test_what_is_refused_before_anything_is_touched(names: list[str], policy: Json, expected: list[str]) -> None:
    data = snapshot(hosts("a", "b", "c"), domain("web-1", "a"), domain("web-2", "b"), domain("x", "c"))
    assert objections(data, names, policy) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["rack_1"], []),
        (["rack_1", "rack_2"], ["With a, b, c drained, no host would be left to take domains."]),
        (["a", "rack_2"], ["With a, c drained, no host would be left to take domains."]),
        (["rack-1"], ["rack-1 is not one of the hosts of this run: did you mean rack_1?"]),
    ],
)
def test_a_group_stands_for_its_hosts(names: list[str], expected: list[str]) -> None:
    racks = {"a": "rack_1", "b": "rack_1", "c": "rack_2"}
    data = snapshot({name: host(groups=["hypervisors", rack]) for name, rack in racks.items()}, domain("x", "a"))
    ignored = {"ignore_hosts": ["b"]} if "a" in names else {}
    assert objections(data, names, ignored) == expected
    if not expected:
        assert ways(drained(data, *names)) == [("x", "a", "c")]


def test_a_host_that_does_not_answer_cannot_be_drained() -> None:
    data = snapshot(hosts("a", "b"), domain("x", "a"))
    data["hosts"]["c"] = {"state": "unknown", "problem": "no route"}
    assert objections(data, ["c"]) == ["c is unknown: no domain can be moved away from it. (no route)"]
    with pytest.raises(FleetError):
        objections(snapshot({}), ["a"])


def test_a_host_that_does_not_answer_is_not_empty() -> None:
    data = snapshot(hosts("a", "b"), domain("x", "b", destination="a"))
    found = drained(snapshot(hosts("a", "b")), "a")
    assert left(found, data, ["a"]) == ["x is on its way to a."]
    data["hosts"]["a"] = {"state": "unknown", "problem": "no route"}
    assert left(found, data, ["a"])[0] == "It is not known whether a is empty: it does not answer."
    with pytest.raises(BalanceError):
        left({}, data, ["a"])


@pytest.mark.parametrize("overrides", [[], [{"domains": "domains[?name=='d03']", "priority": 3}]])
def test_all_leave_whoever_gets_room_first(overrides: list[Json]) -> None:
    sizes = {
        "a": {"d01": 1300, "d02": 2100, "d03": 1300, "d04": 2900},
        "b": {"d05": 900, "d06": 300, "d07": 2100, "d08": 900, "d09": 2100},
        "c": {"d10": 300, "d11": 1300, "d12": 2900, "d13": 2100},
        "d": {"d14": 1300, "d15": 2100, "d16": 2100},
    }
    guests = (domain(name, on, 0.1, mib, vcpus=1) for on, of in sizes.items() for name, mib in of.items())
    data = snapshot(hosts(*sizes, threads=32), *guests)

    found = drained(data, "a", max_moves_in=9, max_moves_out=9, overrides=overrides)

    assert {name for name, source, _destination in ways(found) if source == "a"} == set(sizes["a"])


def test_an_empty_host_uses_nothing_and_not_a_little_less() -> None:
    data = snapshot(hosts("a", "b", "c", total=20000), *(domain(f"d{i}", "a", cores=1.0) for i in range(6)))

    assert str(drained(data, "a")["hosts"]["a"]["after"]["memory"]) == "0.0"
