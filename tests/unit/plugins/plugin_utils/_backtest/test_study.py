# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.readers.csv_rows import read_rows
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.samples import Read, recording_of
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.settings import Settings
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.study import (
    check_hosts,
    differing,
    named_policies,
    replay,
    results_of,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._power_model import power

USUAL = Policy().to_mapping()


def recorded(steps: int = 6) -> Read:
    """Two domains that want 5 of the 4 cores of kvm1, while kvm2 has nothing to do."""
    rows = [
        {
            "time": 1769860800 + 300 * step,
            "host": "kvm1",
            "domain": name,
            "cores": 2.0,
            "ready": 0.2,
            "memory_mib": 1024,
            "vcpus": 4,
        }
        for step in range(steps)
        for name in ("web-1", "web-2")
    ]
    samples = read_rows(enumerate(rows, 1), "The rows")
    for name in ("kvm1", "kvm2"):
        samples.host_facts[name] = {"cpu": {"threads": 4}, "memory": {"total_mib": 16384.0}, "groups": ["rack-a"]}
    return recording_of(samples)


@pytest.mark.parametrize(
    ("policies", "changes", "base", "names"),
    [
        (None, None, None, {"policy": {}}),
        (None, None, {"hold": 2}, {"policy": {"hold": 2}}),
        (
            None,
            {"calm": {"threshold": 0.4}},
            {"hold": 2},
            {"policy": {"hold": 2}, "calm": {"hold": 2, "threshold": 0.4}},
        ),
        ({"own": {"threshold": 0.4}}, None, {"hold": 2}, {"own": {"threshold": 0.4}}),
        ({"own": None}, {"calm": None}, {}, {"policy": {}, "own": {}, "calm": {}}),
    ],
)
def test_policies_are_complete_and_have_names(
    policies: t.Any, changes: t.Any, base: t.Any, names: dict[str, dict[str, t.Any]]
) -> None:
    found = named_policies(policies, changes, base)
    assert list(found) == list(names)
    assert {name: differing(policy, USUAL) for name, policy in found.items()} == names


@pytest.mark.parametrize(
    ("policies", "changes", "problem"),
    [
        ([], ["calm"], "changes must be a mapping of names to policies, not ['calm']."),
        ({"a": {"hold": 0}}, {"a": {}}, "Policy 'a': hold must be a whole number of at least 1, not 0."),
        (None, {"hold": 2}, "Give the changes a name first: {calm: {hold: 2}}, not {hold: 2}."),
        (None, {"a": 1}, "The changes 'a' must be a mapping of the keys that differ, not 1."),
        ({"a": {}}, {"a": {}}, "There are two policies with the name 'a'. Give one of them another name."),
    ],
)
def test_what_is_wrong_with_them_is_told(policies: t.Any, changes: t.Any, problem: str) -> None:
    with pytest.raises(PolicyError) as error:
        named_policies(policies or None, changes, {})
    assert problem in str(error.value).splitlines()


def test_of_a_mapping_only_what_differs_is_told() -> None:
    policy = Policy.from_mapping({"consolidation": {"spare_hosts": 3}, "demand": {"name": "peak"}}).to_mapping()
    assert differing(policy, USUAL) == {"consolidation": {"spare_hosts": 3}, "demand": {"name": "peak"}}


def test_policies_name_hosts_and_groups_of_the_recording() -> None:
    recording = recorded().recording
    check_hosts({"a": {"ignore_hosts": ["rack-a", "kvm1"]}}, recording)
    with pytest.raises(
        PolicyError, match=r"^Policy 'a': ignore_hosts names the host 'kvm9', which is not in the recor"
    ):
        check_hosts({"a": {"ignore_hosts": ["kvm9"]}}, recording)


def test_results_begin_with_what_happened() -> None:
    found, policies = recorded(), named_policies(None, {"nothing": {"actions": []}}, {})
    replayed = {name: replay(found.recording, policy, Settings()) for name, policy in policies.items()}
    results = results_of(found, policies, Settings(every=2), replayed, source="rows")
    real, policy, nothing = results["results"]
    assert [one["policy"] for one in results["results"]] == ["what really happened", "policy", "nothing"]
    assert (real["moves"], real["unserved"], real["cpu_seconds"]) == (0, pytest.approx(0.2), None)
    assert (policy["moves"], nothing["moves"]) == (1, 0)
    assert nothing["unserved"] == pytest.approx(0.2)
    assert policy["unserved"] < 0.05
    assert results["suggested"] is None
    assert results["recording"]["ends_at"] == "2026-01-31T12:25:00Z"
    assert results["recording"]["run_seconds"] == 600
    assert results["notes"][-1].startswith("kWh is not known, because 2 of 2 hosts have no power model.")


def test_what_is_assumed_of_hosts_is_told_where_it_matters() -> None:
    found = recorded(3)
    powered = {
        name: dataclasses.replace(host, power=power({"idle_watts": 50, "max_watts": 150}, "It"))
        for name, host in found.recording.hosts.items()
    }
    found = found._replace(recording=dataclasses.replace(found.recording, hosts=powered))
    told = (
        "Whether 2 of 2 hosts can sleep and be woken is not known: they are taken to, because they have a power model."
    )
    for strategy, expected in (("balance", []), ("consolidate", [told])):
        policies = named_policies(None, None, {"strategy": strategy})
        replayed = {"policy": replay(found.recording, policies["policy"], Settings())}
        results = results_of(found, policies, Settings(), replayed, source="rows", base="that of kvm1")
        assert results["notes"][len(found.notes) :] == expected
        assert results["recording"]["policy"] == "that of kvm1"


def test_how_to_have_power_models_goes_by_the_source() -> None:
    found, policies = recorded(3), named_policies({"own": {}}, None, {})
    replayed = {"own": replay(found.recording, policies["own"], Settings())}
    results = results_of(
        found, policies, Settings(), replayed, source="rows", base="that of kvm1", watts="Fill the columns"
    )
    assert results["notes"][-1].endswith("hosts have no power model. Fill the columns to have it modelled.")
    assert results["recording"]["policy"] is None, "it is none of those that were replayed"


def test_suggestions_are_sorted_by_what_is_unserved() -> None:
    found, base = recorded(3), named_policies(None, None, {})
    policies = {**base, "bad": {**base["policy"], "actions": []}, "good": {**base["policy"], "threshold": 0.4}}
    replayed = {name: replay(found.recording, policy, Settings()) for name, policy in policies.items()}
    results = results_of(found, policies, Settings(), replayed, source="rows", suggest=True)
    assert [one["policy"] for one in results["results"]] == ["what really happened", "policy", "good", "bad"]
    assert results["suggested"] == {"bad": {"actions": []}, "policy": {}}
