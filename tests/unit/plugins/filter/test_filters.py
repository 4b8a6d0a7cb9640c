# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.filter.backtest import backtest
from ansible_collections.virtops.balance.plugins.filter.draining import drain_left, maintenance_rounds
from ansible_collections.virtops.balance.plugins.filter.plan import best_host
from ansible_collections.virtops.balance.plugins.filter.plan import outcome as make_outcome
from ansible_collections.virtops.balance.plugins.filter.plan import plan as make_plan
from ansible_collections.virtops.balance.plugins.filter.policy import policy as complete
from ansible_collections.virtops.balance.plugins.filter.report import plan_table as make_table
from ansible_collections.virtops.balance.plugins.filter.snapshot import residents as list_residents
from ansible_collections.virtops.balance.plugins.filter.snapshot import snapshot as make_snapshot
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import domain, host, snapshot

FLEET = snapshot({"a": host(), "b": host()})
ROW = {"host": "kvm1", "domain": "web-1", "cores": 1, "ready": 0, "memory_mib": 100}
ROWS = [{**ROW, "time": f"2026-01-31T12:{minute:02}:00Z"} for minute in (0, 5, 10)]


def observations() -> dict[str, t.Any]:
    data = snapshot({"a": host(), "b": host()}, *(domain(f"d{i}", "a") for i in range(6)))
    found = {}
    for name, facts in data["hosts"].items():
        guests = [guest for guest in data["domains"].values() if guest["host"] == name]
        found[name] = {"observation": {"schema": 1, "taken_at": data["taken_at"], "host": facts, "domains": guests}}
    return found


def test_from_observations_to_table() -> None:
    fleet = make_snapshot(observations(), tags={"a": ["rack"]})
    assert fleet["hosts"]["a"]["tags"] == ["rack"]
    plan = make_plan(fleet, {"exclude": "domains[?name=='d0']"})
    assert plan["verdict"] == "move"
    assert make_table(plan).startswith("MOVE 3 domains in 2 waves")


def test_text_is_the_same_as_data() -> None:
    seen = {name: {"observation": json.dumps(result["observation"])} for name, result in observations().items()}
    text = make_snapshot(seen, as_json=True)
    assert json.loads(text) == make_snapshot(observations())
    assert make_plan(text) == make_plan(make_snapshot(observations()))
    assert make_table(json.dumps(make_plan(text))) == make_table(make_plan(text))


def test_the_best_host_of_text_and_data() -> None:
    wanted = {"memory_mib": 100, "vcpus": 1}
    found = best_host(make_snapshot(observations()), wanted, {"drained_hosts": ["b"]})
    assert (found["host"], found["refused"]["b"][0]["constraint"]) == ("a", "drained_host")
    assert best_host(make_snapshot(observations(), as_json=True), [wanted], {"drained_hosts": ["b"]}) == [found]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: best_host(make_snapshot(observations()), {"vcpus": 1}), "The new domain needs the key 'memory_mib'."),
        (lambda: make_snapshot([]), "Observations must be a mapping"),
        (lambda: make_plan({"schema": 9}), "The snapshot has schema 9"),
        (lambda: make_plan("{"), "The snapshot is a text that is not valid JSON"),
        (lambda: make_plan(make_snapshot(observations()), {"max_movs": 3}), "did you mean 'max_moves'?"),
        (lambda: make_plan(make_snapshot(observations()), None, 5), "now must be a time"),
        (lambda: make_table({}), "plan_table needs a plan"),
        (lambda: make_outcome({}, 5, FLEET), "The results must be a list of mappings, not 5."),
        (lambda: make_outcome({}, [5], FLEET), "The results must be a list of mappings, not [5]."),
        (lambda: complete({}, drain=True), "The hosts to drain must be a list of names, not true."),
        (lambda: complete({}, drain="kvm1"), "The hosts to drain must be a list of names, not 'kvm1'."),
        (lambda: list_residents(FLEET, True), "The plan must be a mapping or null, not true."),
        (lambda: list_residents(FLEET, "[]"), "The plan must be a mapping or null, not []."),
        (lambda: make_snapshot({}, leases=True), "leases must be a mapping or null, not true."),
        (lambda: drain_left({}, FLEET, 5), "The hosts must be a list of names, not 5."),
        (lambda: maintenance_rounds(FLEET, [["a"]]), "The hosts must be a list of names, not [['a']]."),
        (lambda: maintenance_rounds(FLEET, None), "There is no host to maintain."),
        (lambda: backtest([], {"kvm1": 5}), "The rows has no row."),
        (lambda: backtest(ROWS, {"kvm1": 5}), "hosts must have a mapping for each host, and kvm1 has 5."),
        (lambda: backtest(ROWS, snapshot={}), "The snapshot has no key 'schema'"),
        (lambda: backtest(ROWS, snapshot={"schema": 1, "hosts": {"a": 5}, "domains": {}}), "must be a mapping"),
        (lambda: backtest(ROWS, {"kvm1": {}}, step="x"), "The step must be a number of seconds above 0, not 'x'."),
    ],
)
def test_errors_are_those_of_filters(call: t.Callable[[], t.Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        call()
    assert message in str(caught.value)


def test_the_sentence_of_a_plan_that_cannot_be_made_can_be_had_as_data() -> None:
    assert make_plan(make_snapshot(observations()), {"max_movs": 3}, problem_as_data=True) == {
        "problem": "The policy has no key 'max_movs': did you mean 'max_moves'?"
    }
