# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import math
import sys
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy


def test_defaults_read_back() -> None:
    assert Policy.from_mapping(None) == Policy() == Policy.from_mapping({})
    full = {
        "exclude": "domains[?name=='a']",
        "pins": [{"domains": "domains[?name=='b']", "hosts": ["kvm1"], "must": False}],
        "anti_affinity": [{"name": "db", "domains": "domains[?contains(tags, 'db')]"}],
        "affinity": [{"name": "pair", "domains": {"names": ["a", "b"]}, "must": False}],
        "failure_domains": [{"name": "marked", "tag_prefix": "spread-", "per": "rack-", "most": 2}],
        "include": {"tag": "x"},
        "reserves": [{"hosts": ["kvm1"], "memory_mib": 4096}],
        "weights": {"cpu": 2},
        "migration": {"bandwidth_mib_s": 50},
        "max_moves": None,
    }
    policy = Policy.from_mapping(full)
    assert policy.exclude[0].text == "domains[?name=='a']"
    assert policy.weights.cpu == 2.0
    assert policy.weights.memory == 0.5
    plain = policy.to_mapping()
    assert Policy.from_mapping(plain).to_mapping() == plain
    assert plain["affinity"][0]["domains"] == {"names": ["a", "b"]}
    assert plain["include"] == [{"tag": "x"}]


def test_all_mistakes_are_told_at_once() -> None:
    wrong = {
        "treshold": 1,
        "gain": 1,
        "cpu_limit": 90,
        "weights": {"memmory": 1, "cpu": -1},
        "pins": [{"hosts": []}, {"domains": {"names": ["a"]}, "hosts": ["b"], "must": 1}],
        "exclude": [{"names": ["a"]}, "appliance"],
        "max_moves": True,
    }
    with pytest.raises(PolicyError) as caught:
        Policy.from_mapping(wrong)
    found = str(caught.value).splitlines()
    begins = [
        "The policy has no key 'treshold': did you mean 'threshold'?",
        "The policy has no key 'gain': did you mean 'minimum_gain'?",
        "cpu_limit is a fraction: write 0.9 for 90 %.",
        "weights has no key 'memmory': did you mean 'memory'?",
        "weights.cpu must be a number of at least 0, not -1.",
        "pins[0].hosts must not be empty.",
        "pins[0] needs the key 'domains'.",
        "pins[1].must must be true or false, not 1.",
        "exclude[1] is 'appliance', which is no selector",
        "max_moves must be a whole number of at least 1 or null, not true.",
    ]
    assert [line[: len(begin)] for line, begin in zip(found, begins, strict=True)] == begins


def test_what_is_near_to_nothing_is_answered_with_some_keys() -> None:
    with pytest.raises(PolicyError, match=r"no key 'qqq': known are accept_blockers, .*, and [0-9]+ more"):
        Policy.from_mapping({"qqq": 1})


ALL = {"domains": "domains"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "The policy must be a mapping, not []."),
        ({"max_movs": 1}, "The policy has no key 'max_movs': did you mean 'max_moves'?"),
        ({"weights": {"ram": 1}}, "weights has no key 'ram': "),
        ({"weights": {"memmory": 1}}, "weights has no key 'memmory': did you mean 'memory'?"),
        ({"weights": 1}, "weights must be a mapping, not 1."),
        ({"weights": {"cpu": -1}}, "weights.cpu must be a number of at least 0, not -1."),
        ({"threshold": True}, "threshold must be a number of at least 0 and at most 1, not true."),
        ({"threshold": "0.2"}, "threshold must be a number of at least 0 and at most 1, not '0.2'."),
        ({"threshold": math.nan}, "threshold must be a number of at least 0 and at most 1, not nan."),
        ({"threshold": math.inf}, "threshold must be a number of at least 0 and at most 1, not inf."),
        ({"threshold": None}, "threshold must be a number of at least 0 and at most 1, not null."),
        ({"threshold": 20}, "threshold is a fraction: write 0.2 for 20 %."),
        ({"cpu_limit": 90}, "cpu_limit is a fraction: write 0.9 for 90 %."),
        ({"cpu_limit": 1000}, "cpu_limit must be a number above 0 and at most 10, not 1000."),
        ({"minimum_gain": 1.5}, "minimum_gain must be a number of at least 0 and at most 1, not 1.5."),
        ({"threshold": 0.1, "target": 0.2}, "target (0.2) must not be above threshold (0.1)."),
        ({"memory_limit": 1.5}, "memory_limit must be a number above 0 and at most 1, not 1.5."),
        ({"memory_limit": 0}, "memory_limit must be a number above 0 and at most 1, not 0."),
        ({"memory_overcommit": 0.5}, "memory_overcommit must be a number of at least 1, not 0.5."),
        ({"max_moves": 0}, "max_moves must be a whole number of at least 1 or null, not 0."),
        ({"max_moves": True}, "max_moves must be a whole number of at least 1 or null, not true."),
        ({"max_moves_in": 1.5}, "max_moves_in must be a whole number of at least 1, not 1.5."),
        ({"memory_basis": "usd"}, "memory_basis cannot be 'usd': did you mean 'used'?"),
        ({"strategy": "balanc"}, "strategy cannot be 'balanc': did you mean 'balance'?"),
        ({"accept_blockers": ["local_dsk"]}, "accept_blockers[0] cannot be 'local_dsk': did you mean 'local_disk'?"),
        ({"accept_blockers": ["job"]}, "accept_blockers[0]: 'job' cannot be accepted"),
        ({"accept_blockers": "job"}, "accept_blockers must be a list, not 'job'."),
        ({"cpu_limit_strict": "yes"}, "cpu_limit_strict must be true or false, not 'yes'."),
        ({"drained_hosts": [""]}, "drained_hosts[0] must be a text that is not empty, not ''."),
        ({"pins": [{"hosts": ["a"]}]}, "pins[0] needs the key 'domains'."),
        ({"pins": [{"domains": "domains", "hosts": []}]}, "pins[0].hosts must not be empty."),
        ({"anti_affinity": [{"name": "x", "domain": "d"}]}, "did you mean 'domains'?"),
        ({"exclude": "domains[?"}, "exclude[0] is not valid JMESPath ('domains[?'): "),
        ({"exclude": [3]}, "exclude[0] must be a JMESPath selector"),
        ({"exclude": {}}, "exclude[0] must have one of the keys 'tag' and 'names'."),
        ({"exclude": {"tag": "a", "names": ["b"]}}, "exclude[0] must have one of the keys 'tag' and 'names'."),
        ({"exclude": {"tags": "a"}}, "exclude[0] has no key 'tags': did you mean 'tag'?"),
        ({"affinity": [{"domains": "domains"}]}, "affinity[0] needs the key 'name'."),
        ({"affinity": [{"name": "x"}]}, "affinity[0] must have one of the keys 'domains' and 'tag_prefix'."),
        (
            {"anti_affinity": [{"name": "x", "domains": "domains", "tag_prefix": "y"}]},
            "anti_affinity[0] must have one of the keys 'domains' and 'tag_prefix'.",
        ),
        ({"affinity": [{"name": "x", "domains": "domains", "per": "y"}]}, "affinity[0] has no key 'per'"),
        ({"failure_domains": [{"name": "x", "domains": "domains"}]}, "failure_domains[0] needs the key 'per'."),
        (
            {"failure_domains": [{"name": "x", "domains": "domains", "per": "rack-", "most": 0}]},
            "failure_domains[0].most must be a whole number of at least 1, not 0.",
        ),
        ({"reserves": [{"hosts": []}]}, "reserves[0].hosts must not be empty."),
        ({"reserves": [{"hosts": ["a"], "memory_mib": -1}]}, "reserves[0].memory_mib must be a number of at least 0"),
        ({"migration": {"tls": 1}}, "migration.tls must be true or false, not 1."),
        ({"overrides": [{"level": "off"}]}, "overrides[0] needs the key 'domains'."),
        (
            {"overrides": [{"domains": "domains"}]},
            "overrides[0] must have one of the keys 'level', 'priority' and 'migr",
        ),
        (
            {"overrides": [{"domains": "domains", "levl": "off"}]},
            "overrides[0] has no key 'levl': did you mean 'level'?",
        ),
        ({"overrides": [{**ALL, "level": "of"}]}, "overrides[0].level cannot be 'of': did you mean 'off'?"),
        ({"overrides": [{**ALL, "level": True}]}, "overrides[0].level cannot be true: "),
        (
            {"overrides": [{**ALL, "priority": "high"}]},
            "overrides[0].priority must be a whole number from -1000 to 1000 or null, not ",
        ),
        ({"overrides": [{**ALL, "priority": 1001}]}, "overrides[0].priority must be a whole number from -1000 to"),
        ({"overrides": [{**ALL, "priority": -1001}]}, "overrides[0].priority must be a whole number from -1000 to"),
        (
            {"overrides": [{**ALL, "migration": {"tsl": True}}]},
            "overrides[0].migration has no key 'tsl': did you mean ",
        ),
        ({"overrides": [{"domains": "domain", "level": "off"}]}, "overrides[0].domains"),
        ({"overrides": {"domains": "domains"}}, "overrides must be a list, not "),
    ],
)
def test_mistakes(data: t.Any, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.from_mapping(data)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_off_of_yaml_is_off() -> None:
    """YAML reads the bare word as false."""
    policy = Policy.from_mapping({"overrides": [{**ALL, "level": False}]})
    assert policy.to_mapping()["overrides"][0]["level"] == "off"
    assert Policy.from_mapping(policy.to_mapping()) == policy


def test_every_key_is_documented() -> None:
    for key in Policy.__dataclass_fields__:
        assert f"    {key}" in (Policy.__doc__ or "").replace(", ", "\n    "), key


def test_selectors_need_jmespath(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jmespath", None)
    Policy.from_mapping({"max_moves": 1})
    with pytest.raises(PolicyError, match="needs the Python package jmespath"):
        Policy.from_mapping({"exclude": "domains"})


def test_the_last_reserve_of_a_host_counts() -> None:
    policy = Policy.from_mapping(
        {
            "memory_reserve_mib": 10,
            "cpu_reserve_cores": 1,
            "reserves": [{"hosts": ["a", "b"], "memory_mib": 20, "cpu_cores": 0}, {"hosts": ["b"], "cpu_cores": 3}],
        }
    )
    assert [policy.reserve(name) for name in "abc"] == [(20, 0), (10, 3), (10, 1)]
    assert policy.reserve("c", {"a", "x"}) == (20, 0)


def test_hosts_of_the_policy_must_exist() -> None:
    with pytest.raises(PolicyError, match=r"reserves\[0\].hosts names the host 'kvm3'"):
        Policy.from_mapping({"reserves": [{"hosts": ["kvm3"]}]}).check_hosts(["kvm1"])
    Policy.from_mapping({"drained_hosts": ["kvm1"]}).check_hosts(["kvm1"])
    with pytest.raises(PolicyError, match=r"drained_hosts names the host 'kvm11'.*did you mean 'kvm1'\?"):
        Policy.from_mapping({"drained_hosts": ["kvm11"]}).check_hosts(["kvm1", "other"])
    Policy.from_mapping({"drained_hosts": ["rack_a"]}).check_hosts(["kvm1"], ["rack_a"])
    with pytest.raises(PolicyError) as caught:
        Policy.from_mapping({"ignore_hosts": ["rack-a"]}).check_hosts(["kvm1"], ["rack_a"])
    assert str(caught.value) == (
        "ignore_hosts names the host 'rack-a', which is not in the snapshot, and neither is a group of that name: "
        "did you mean 'rack_a'?"
    )
