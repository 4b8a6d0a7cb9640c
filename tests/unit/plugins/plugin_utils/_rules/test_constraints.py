# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import copy
import datetime
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.answers import Answers
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import (
    constraint,
    constraints,
    preferences,
    remarks,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    TAKEN_AT,
    Json,
    domain,
    host,
    refusal,
    snapshot,
)

EVERYONE = {"name": "all", "domains": "domains"}
ALONE = {"name": "one", "domains": {"names": ["u"]}}
U = {"domains": {"names": ["u"]}}
RACKS = {**EVERYONE, "per": "rack-"}
BOTH = "b already has other of the group all"
NAMELESS: Json = {"arch": "aarch64", "model": None, "features": None}
PASSTHROUGH = {"mode": "host-passthrough", "model": None, "features": None}


def ask(
    name: str,
    guest: Json,
    target: Json | None = None,
    policy: Json | None = None,
    source: Json | None = None,
    other: Json | None = None,
    ceiling: float | None = None,
    answers: list[Json] | None = None,
) -> str | None:
    """What a constraint says about domain "u" of host "a" on host "b"; another domain "other" is on "b" already."""
    hosts = {"a": copy.deepcopy(source) or host(), "b": copy.deepcopy(target) or host()}
    data = snapshot(hosts, guest, domain("other", (other or {}).get("host", "b"), **(other or {})))
    facts = Snapshot.from_mapping(data)
    known = Answers.from_data(answers, facts)
    fleet = Fleet(facts, Policy.from_mapping(policy), parse(TAKEN_AT), answers=known)
    if ceiling is not None:
        fleet.hosts[1].ceiling = ceiling
    rule = constraints()[name]
    reason = rule.ask(fleet["u"], fleet.hosts[1], fleet) if rule.when(fleet) else None
    if reason is not None:
        assert reason.constraint == name
    return None if reason is None else reason.message


def u(**more: t.Any) -> Json:
    return domain("u", "a", **more)


def kvm(**cpu: t.Any) -> Json:
    return u(type="kvm", cpu={"mode": "custom", "model": "Nehalem", "features": [], **cpu})


def moved(seconds_ago: int) -> str:
    taken_at = parse(TAKEN_AT)
    assert taken_at is not None
    return (taken_at - datetime.timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def remembers(domain: str, destination: str, at: str) -> Json:
    refusal = {"domain": domain, "destination": destination, "reason": "no bridge", "at": at, "times": 1}
    return host(marks={"refusals": [refusal]})


def ran(*cores: float) -> Json:
    return {"history": {"step_seconds": 60, "ends_at": TAKEN_AT, "cpu_cores": list(cores)}}


TURNS = ([1.0] * 10 + [8.0] * 10, [8.0] * 10 + [1.0] * 10)
"""Two loads that are high by turns."""

CASES: list[tuple[str, Json, Json, str | None]] = [
    # constraint, domain, {target, policy, source}, the reason or None
    ("memory", u(mib=8900), {}, None),
    ("memory", u(mib=8901), {}, "may grow to 8901 MiB of memory, and b has 8900 MiB left"),
    (
        "memory",
        u(mib=8800),
        {"policy": {"memory_reserve_mib": 101}},
        "may grow to 8800 MiB of memory, and b has 8799 MiB left",
    ),
    ("memory", u(mib=8900), {"target": host(used=1)}, "may grow to 8900 MiB of memory, and b has 8899 MiB left"),
    ("memory", u(mib=8400), {"target": host(used=500), "policy": {"memory_reserve_mib": 500}}, None),
    (
        "memory",
        u(mib=8400),
        {"policy": {"memory_reserve_mib": 100, "reserves": [{"hosts": ["b"], "memory_mib": 501}]}},
        "may grow to 8400 MiB of memory, and b has 8399 MiB left",
    ),
    (
        "memory",
        u(mib=8900),
        {"policy": {"memory_reserve_mib": 99, "reserves": [{"hosts": ["b"], "memory_mib": 0}]}},
        None,
    ),
    (
        "memory",
        u(mib=8900),
        {"policy": {"memory_reserve_mib": 99, "reserves": [{"hosts": ["b"], "cpu_cores": 1}]}},
        "may grow to 8900 MiB of memory, and b has 8801 MiB left",
    ),
    (
        "memory",
        u(memory={"maximum_mib": 9000, "current_mib": 10, "rss_mib": 10}),
        {},
        "may grow to 9000 MiB of memory, and b has 8900 MiB left",
    ),
    (
        "memory",
        u(memory={"maximum_mib": 9000, "current_mib": 10, "rss_mib": 10}),
        {"policy": {"memory_overcommit": 1.1}},
        None,
    ),
    (
        "memory",
        u(mib=9000),
        {"policy": {"memory_overcommit": 2}},
        "b would be at 91 % of its memory, the limit is 90 %",
    ),
    # Nobody knows how much it has.
    (
        "memory",
        u(),
        {"target": host(memory={"total_mib": None}), "other": {"host": "a"}},
        "may grow to 100 MiB of memory, and b has 0 MiB left",
    ),
    ("memory", u(), {"target": host(total=100)}, "may grow to 100 MiB of memory, and b has 0 MiB left"),
    ("memory", u(mib=512, hugepages=True), {}, "needs 512 MiB of huge pages, b has 0 free"),
    (
        "memory",
        u(mib=512, hugepages=True),
        {"target": host(memory={"hugepages": [{"size_kib": 2048, "total": 512, "free": 256}]})},
        None,
    ),
    ("cpu", u(cores=4.0), {"target": host(threads=10)}, None),
    ("cpu", u(cores=4.0), {"target": host(usage=0.5)}, "b would be at 100 % CPU, the limit is 90 %"),
    ("cpu", u(cores=4.0), {"target": host(usage=0.5), "source": host(usage=0.7)}, None),
    (
        "cpu",
        u(cores=4.0),
        {"target": host(usage=0.5), "source": host(usage=0.7), "policy": {"cpu_limit_strict": True}},
        "b would be at 100 % CPU, the limit is 90 %",
    ),
    (
        "cpu",
        u(cores=4.0),
        {"target": host(usage=0.5), "source": host(usage=0.7), "policy": {"drained_hosts": ["a"]}},
        "b would be at 100 % CPU, the limit is 90 %",
    ),
    ("overloaded_host", u(cores=4.0), {"policy": {"strategy": "consolidate"}, "ceiling": 0.5}, None),
    (
        "overloaded_host",
        u(cores=4.0),
        {"policy": {"strategy": "consolidate"}, "ceiling": 0.45},
        "b would be at 50 % CPU, and is overloaded above 45 %",
    ),
    ("overloaded_host", u(cores=4.0), {"policy": {"strategy": "consolidate"}}, None),
    ("overloaded_host", u(cores=4.0), {"ceiling": 0.45}, None),
    ("peaks", u(**ran(*TURNS[0])), {"other": ran(*TURNS[1])}, None),
    (
        "peaks",
        u(**ran(*TURNS[0])),
        {"other": ran(*TURNS[0])},
        "b would come to 160 % CPU at peak with it, the limit is 90 %",
    ),
    ("peaks", u(**ran(*TURNS[0])), {"other": ran(*TURNS[0]), "policy": {"host_demand": "observation"}}, None),
    ("peaks", u(**ran(*TURNS[0])), {"other": ran(*TURNS[0]), "policy": {"host_demand": "mean"}}, None),
    ("peaks", u(cores=4.0), {"other": {"cpu_cores": 6.0}}, None),
    # Without a history what is used now counts; at this moment b would be full.
    ("peaks", u(cores=4.0), {"other": ran(*TURNS[0])}, "b would come to 120 % CPU at peak with it, the limit is 90 %"),
    ("peaks", u(cores=9.1, **ran(1.0, 1.0, 1.0)), {}, "b would come to 101 % CPU now with it, the limit is 90 %"),
    # No better there than here, or better.
    (
        "peaks",
        u(**ran(*TURNS[0])),
        {"other": ran(*TURNS[0]), "source": host(usage=0.8)},
        "b would come to 160 % CPU at peak with it, the limit is 90 %",
    ),
    ("peaks", u(**ran(*TURNS[0])), {"other": ran(*TURNS[0]), "source": host(usage=0.9)}, None),
    (
        "peaks",
        u(**ran(*TURNS[0])),
        {"other": ran(*TURNS[0]), "source": host(usage=0.9), "policy": {"cpu_limit_strict": True}},
        "b would come to 160 % CPU at peak with it, the limit is 90 %",
    ),
    # Only the last five minutes count: then u was high, and other was not.
    (
        "peaks",
        u(**ran(*TURNS[0])),
        {"other": ran(*TURNS[0]), "policy": {"host_demand": {"name": "quantile", "parameters": {"minutes": 5}}}},
        "b would come to 160 % CPU at the 95th percentile with it, the limit is 90 %",
    ),
    (
        "peaks",
        u(**ran(*TURNS[1])),
        {"other": ran(*TURNS[1]), "policy": {"host_demand": {"name": "quantile", "parameters": {"minutes": 5}}}},
        None,
    ),
    ("vcpus", u(vcpus=10), {}, None),
    ("vcpus", u(vcpus=11), {}, "has 11 vCPUs, b has 10 threads"),
    ("vcpus", u(vcpus=None), {}, None),
    # b has one busy core of its own and one of "other": the reserve takes the place of the first.
    ("cpu", u(cores=4.0), {"target": host(usage=0.1), "policy": {"cpu_reserve_cores": 4}}, None),
    (
        "cpu",
        u(cores=4.0),
        {"target": host(usage=0.1), "policy": {"cpu_reserve_cores": 4.1}},
        "b would be at 91 % CPU, the limit is 90 %",
    ),
    (
        "cpu",
        u(cores=4.0),
        {"policy": {"reserves": [{"hosts": ["a", "b"], "cpu_cores": 1}, {"hosts": ["b"], "cpu_cores": 5}]}},
        "b would be at 100 % CPU, the limit is 90 %",
    ),
    ("cpu", u(cores=4.0), {"policy": {"reserves": [{"hosts": ["a"], "cpu_cores": 5}]}}, None),
    (
        "cpu_overcommit",
        u(vcpus=4),
        {"policy": {"cpu_overcommit": 1, "cpu_reserve_cores": 2.5}},
        "b would have 0.8 vCPUs per thread, the limit is 0.75",
    ),
    ("cpu", u(cores=4.0), {"target": host(usage=0.4)}, None),
    # No better there than here.
    (
        "cpu",
        u(cores=4.0),
        {"target": host(usage=0.5), "source": host(usage=0.6)},
        "b would be at 100 % CPU, the limit is 90 %",
    ),
    ("cpu_overcommit", u(vcpus=6), {"policy": {"cpu_overcommit": 1}}, None),
    (
        "cpu_overcommit",
        u(vcpus=7),
        {"policy": {"cpu_overcommit": 1}},
        "b would have 1.1 vCPUs per thread, the limit is 1",
    ),
    ("cpu_overcommit", u(vcpus=7), {"policy": {"cpu_overcommit": None}}, None),
    (
        "unknown_maximum",
        u(),
        {"other": {"memory": {"maximum_mib": None, "current_mib": 100, "rss_mib": 100}}},
        "it is not known how far the memory of other on b may grow",
    ),
    (
        "unknown_maximum",
        u(),
        {"other": {"memory": {"maximum_mib": None, "rss_mib": 9}}, "policy": {"memory_overcommit": 1.01}},
        None,
    ),
    ("unknown_maximum", u(), {"other": {"memory": {"maximum_mib": None, "rss_mib": 9}, "hugepages": True}}, None),
    ("unknown_maximum", u(hugepages=True), {"other": {"memory": {"maximum_mib": None, "rss_mib": 9}}}, None),
    (
        "unknown_maximum",
        u(),
        {"other": {"host": "a", "destination": "b", "memory": {"maximum_mib": None, "rss_mib": 9}}},
        "it is not known how far the memory of other on b may grow",
    ),
    ("unknown_maximum", u(), {"other": {"host": "a", "memory": {"maximum_mib": None, "rss_mib": 9}}}, None),
    ("unknown_maximum", u(), {}, None),
    (
        "level_off",
        u(),
        {"policy": {"overrides": [{**U, "level": "off"}]}},
        "the policy never moves it (overrides, level off)",
    ),
    ("level_off", u(), {"policy": {"overrides": [{**U, "level": "repair"}]}}, None),
    ("level_off", u(), {"policy": {"overrides": [{**U, "level": "off"}, {**U, "level": "full"}]}}, None),
    (
        "level_repair",
        u(),
        {"policy": {"overrides": [{**U, "level": "repair"}, {**U, "priority": 3}]}},
        "the policy moves it only where a rule requires that (overrides, level repair)",
    ),
    ("level_repair", u(), {"policy": {"overrides": [{**U, "level": "full"}]}}, None),
    ("level_repair", u(), {}, None),
    ("blockers", u(), {}, None),
    ("blockers", u(blockers=[{"code": "tpm", "message": "has a TPM"}]), {}, "has a TPM"),
    ("blockers", u(blockers=[{"code": "tpm", "message": None}]), {"policy": {"accept_blockers": ["tpm"]}}, None),
    (
        "blockers",
        u(blockers=[{"code": "tpm", "message": "x"}, {"code": "job", "message": "y"}]),
        {"policy": {"accept_blockers": ["tpm"]}},
        "y",
    ),
    ("excluded", u(), {"policy": {"exclude": "domains[?name=='other']"}}, None),
    ("excluded", u(), {"policy": {"exclude": "domains[?name=='u']"}}, "the policy excludes it (domains[?name=='u'])"),
    ("excluded", u(), {"policy": {"include": "domains[?name=='other']"}}, "the policy does not include it"),
    ("excluded", u(), {"policy": {"include": "domains[?host=='a']"}}, None),
    ("excluded", u(), {"policy": {"exclude": "hosts[?name=='a'] && domains[?uuid=='other']"}}, None),
    ("unknown_domain", u(), {}, None),
    ("unknown_domain", u(cores=None), {}, "its CPU use is not known"),
    (
        "unknown_domain",
        u(vcpus=None, memory={"maximum_mib": None, "current_mib": 5, "rss_mib": 5}),
        {},
        "its vCPUs and maximum memory is not known",
    ),
    ("unknown_host", u(), {}, None),
    ("unknown_host", u(), {"target": host(state="unknown")}, "b is unknown"),
    ("unknown_host", u(), {"target": host(state="asleep")}, "b is asleep"),
    ("unknown_host", u(), {"target": host(memory={"total_mib": None})}, "the load of b is not known"),
    ("unknown_marks", u(), {}, None),
    ("unknown_marks", u(), {"source": host(marks_problem="It is damaged.")}, None),
    ("unknown_marks", u(), {"target": host(marks_problem="It is damaged.")}, "it is not known whether b is drained"),
    ("drained_host", u(), {}, None),
    ("drained_host", u(), {"target": host(state="drained")}, "b is drained"),
    ("drained_host", u(), {"policy": {"drained_hosts": ["b"]}}, "b is drained"),
    ("ignored_host", u(), {}, None),
    ("ignored_host", u(), {"policy": {"ignore_hosts": ["b"]}}, "the policy ignores b"),
    ("source_host", u(), {"policy": {"ignore_hosts": ["a"]}}, "the policy ignores a"),
    ("source_host", u(), {"source": host(state="unknown")}, "a is unknown"),
    ("source_host", u(), {"source": host(state="drained")}, None),
    ("in_flight", u(), {}, None),
    ("in_flight", u(destination="b", job={"operation": "migration_out"}), {}, "is being migrated to b"),
    ("in_flight", u(job={"operation": "backup"}), {}, "has a job under way (backup)"),
    ("in_flight", u(job={}), {}, "has a job under way (of an unknown kind)"),
    ("cpu_model", u(type=None), {}, None),
    ("cpu_model", kvm(), {"source": host(cpu={"arch": None})}, None),
    (
        "cpu_model",
        u(type="xen"),
        {"target": host(domain_types=["xen"], cpu={"model": "Other"})},
        "needs the same CPU as on a; b has Other",
    ),
    ("cpu_model", u(type="xen"), {"target": host(domain_types=["xen"])}, None),
    ("cooldown", u(), {}, None),
    ("cooldown", u(last_moved_at=moved(100)), {}, "was moved 100 s ago, the cooldown is 1800 s"),
    ("cooldown", u(last_moved_at=moved(1800)), {}, None),
    ("cooldown", u(last_moved_at=moved(1799)), {}, "was moved 1799 s ago, the cooldown is 1800 s"),
    ("cooldown", u(last_moved_at=moved(100)), {"policy": {"cooldown_seconds": 0}}, None),
    ("cooldown", u(last_moved_at="lately"), {"policy": {"cooldown_seconds": 0}}, None),
    (
        "cooldown",
        u(last_moved_at=moved(0)),
        {"policy": {"cooldown_seconds": 1}},
        "was moved 0 s ago, the cooldown is 1 s",
    ),
    ("cooldown", u(last_moved_at="2026-02-01T00:00:00Z"), {}, "was moved 0 s ago, the cooldown is 1800 s"),
    ("cooldown", u(last_moved_at="lately"), {}, "cannot tell how long ago it was moved ('lately')"),
    ("cpu_model", u(), {}, None),
    ("cpu_model", u(), {"target": host(domain_types=["kvm"])}, "b does not run domains of type qemu"),
    # What is not known is left to the hosts, and so are features: KVM adds "hypervisor", a model implies others.
    ("cpu_model", u(), {"target": host(domain_types=None)}, None),
    ("cpu_model", kvm(), {}, None),
    ("cpu_model", kvm(), {"target": host(cpu={"arch": "aarch64"})}, "b is aarch64, a is x86_64"),
    ("cpu_model", kvm(), {"target": host(cpu={"arch": None})}, None),
    ("cpu_model", kvm(model=None), {}, None),
    ("cpu_model", kvm(), {"target": host(cpu={"features": ["vmx", "more"]})}, None),
    ("cpu_model", kvm(), {"target": host(cpu={"model": "Skylake"})}, None),
    (
        "cpu_model",
        kvm(model="Zen"),
        {"target": host(cpu={"model": "Skylake"})},
        "b does not offer the CPU model Zen",
    ),
    ("cpu_model", kvm(features=["arat", "hypervisor"]), {"target": host(cpu={"model": "Skylake"})}, None),
    ("cpu_model", kvm(features=None), {"target": host(cpu={"model": "Skylake"})}, None),
    ("cpu_model", kvm(), {"target": host(cpu={"model": None, "usable_models": None})}, None),
    # The model without some of its features may be usable where the whole one is not.
    ("cpu_model", kvm(model="Zen", disabled=["monitor"]), {"target": host(cpu={"model": "Skylake"})}, None),
    # The same model with fewer features is another CPU.
    ("cpu_model", kvm(model="Zen"), {}, None),
    (
        "cpu_model",
        kvm(model="Zen"),
        {"target": host(cpu={"features": []})},
        "b does not offer the CPU model Zen",
    ),
    (
        "cpu_model",
        kvm(model="Zen"),
        {"target": host(cpu={"features": None})},
        "b does not offer the CPU model Zen",
    ),
    ("cpu_model", kvm(model=None), {"target": host(cpu={"model": "Skylake"})}, None),
    ("cpu_model", kvm(**PASSTHROUGH), {}, None),
    (
        "cpu_model",
        kvm(**PASSTHROUGH),
        {"target": host(cpu={"features": ["vmx", "more"]})},
        "needs the same CPU as on a; b has Haswell",
    ),
    # As ARM's are described: two CPUs without a name that are alike in all that is known of them.
    ("cpu_model", kvm(**PASSTHROUGH), {"target": host(cpu=NAMELESS), "source": host(cpu=NAMELESS)}, None),
    (
        "cpu_model",
        kvm(**PASSTHROUGH),
        {"target": host(cpu={**NAMELESS, "arch": None}), "source": host(cpu={**NAMELESS, "arch": None})},
        "needs the same CPU as on a; b has unknown",
    ),
    ("machine_type", u(), {}, None),
    ("machine_type", u(machine="pc"), {}, "b does not have the machine type pc for x86_64"),
    # What is not known of a domain that runs is left to the hosts, which are asked.
    ("machine_type", u(arch=None), {}, None),
    ("machine_type", u(machine=None), {}, None),
    ("machine_type", u(), {"target": host(machine_types=None)}, None),
    ("networks", u(), {}, None),
    ("networks", u(interfaces=None), {}, None),
    ("networks", u(), {"target": host(bridges=["br1"])}, "b has no bridge br0"),
    ("networks", u(), {"target": host(bridges=None)}, None),
    ("networks", u(interfaces=[{"type": "network", "source": "default"}]), {}, None),
    (
        "networks",
        u(interfaces=[{"type": "network", "source": "default"}]),
        {"target": host(networks=[{"name": "default", "active": False}])},
        "b has no active network default",
    ),
    ("networks", u(interfaces=[{"type": "user", "source": None}]), {}, None),
    ("networks", u(interfaces=[{"type": "bridge", "source": None}]), {}, None),
    (
        "networks",
        u(interfaces=[{"type": "bridge", "source": None}, {"type": "bridge", "source": "br7"}]),
        {},
        "b has no bridge br7",
    ),
    ("networks", u(interfaces=[{"type": None, "source": None}]), {}, None),
    # It is a blocker, where nobody accepts it.
    ("networks", u(interfaces=[{"type": "direct", "source": "eth0"}]), {}, None),
    ("storage", u(), {}, None),
    ("storage", u(disks=None), {}, None),
    ("storage", u(), {"target": host(storage_pools=[])}, "b has no active shared pool at /srv/images"),
    ("storage", u(), {"target": host(storage_pools=None)}, None),
    (
        "storage",
        u(),
        {"target": host(storage_pools=[{"path": "/srv/images", "active": False, "shared": True}])},
        "b has no active shared pool at /srv/images",
    ),
    (
        "storage",
        u(disks=[{"target": "vda", "source": "/srv/images2/u", "shared": True}]),
        {"target": host(storage_pools=[])},
        None,
    ),
    (
        "storage",
        u(disks=[{"target": "vda", "source": "/srv/images/u", "shared": False}]),
        {"target": host(storage_pools=[])},
        None,
    ),
    *(
        ("storage", u(), {"target": host(storage_pools=[pool])}, "b has no active shared pool at /srv/images")
        for pool in (
            {"path": "/srv/other", "active": True, "shared": True},
            {"path": "/srv/images", "active": True, "shared": False},
        )
    ),
    (  # It is in the inner one of two.
        "storage",
        u(),
        {
            "source": host(
                storage_pools=[{"path": path, "active": True, "shared": True} for path in ("/", "/srv/images")]
            ),
        },
        None,
    ),
    ("storage", u(disks=[{"target": "vda", "source": None, "shared": True}]), {}, None),
    ("storage", u(), {"source": host(storage_pools=None), "target": host(storage_pools=[])}, None),
    (
        "storage",
        u(),
        {
            "source": host(storage_pools=[{"path": None, "active": True, "shared": True}]),
            "target": host(storage_pools=[]),
        },
        None,
    ),
    # What hosts answered; which answers hold for whom is in _fleet/test_answers.py.
    ("agreement", u(), {}, None),
    ("agreement", u(), {"answers": []}, None),
    ("agreement", u(), {"answers": [refusal("u", "b", "the name is taken on b")]}, "the name is taken on b"),
    ("agreement_about_cpu", u(), {"answers": [refusal("other", "b", "b has another CPU")]}, None),
    (
        "agreement_about_cpu",
        u(),
        {"answers": [refusal("other", "b", "b has another CPU", kind="cpu")]},
        "b answered about other: b has another CPU",
    ),
    ("agreement_about_memory", u(), {"answers": [refusal("other", "b", "too small", kind="memory", about=100)]}, None),
    (
        "agreement_about_memory",
        u(),
        {"answers": [refusal("other", "b", "too small", kind="memory", about=99)]},
        "may grow to 100 MiB of memory, and b answered that it has 99 MiB for it",
    ),
    ("agreement_of_source", u(), {"answers": [refusal("u", "a", "has a device of its host")]}, None),
    (
        "agreement_of_source",
        u(),
        {"answers": [refusal("u", "c", "has a device of its host", kind="domain")]},
        "has a device of its host",
    ),
    # A domain that runs needs no room; the cases of those that do not are in _plan/test_best_host.py.
    ("storage_room", u(), {"target": host(storage_pools=[])}, None),
    ("pins", u(), {}, None),
    ("pins", u(), {"policy": {"pins": [{"domains": "domains[?name=='u']", "hosts": ["a"]}]}}, "is pinned to a"),
    ("pins", u(), {"policy": {"pins": [{"domains": "domains[?name=='u']", "hosts": ["a", "b"]}]}}, None),
    ("pins", u(), {"policy": {"pins": [{"domains": "domains", "hosts": ["a"], "must": False}]}}, None),
    (
        "pins",
        u(),
        {
            "policy": {
                "pins": [
                    {"domains": "domains", "hosts": ["a", "b"]},
                    {"domains": "domains", "hosts": ["a"], "must": False},
                ]
            }
        },
        None,
    ),
    ("anti_affinity", u(), {}, None),
    (
        "anti_affinity",
        u(),
        {"policy": {"anti_affinity": [{"name": "db", "domains": "domains"}]}},
        "b already has other of the group db",
    ),
    ("anti_affinity", u(), {"policy": {"anti_affinity": [{"name": "db", "domains": "domains[?name=='u']"}]}}, None),
    ("anti_affinity", u(), {"policy": {"anti_affinity": [{"name": "db", "domains": "domains", "must": False}]}}, None),
    (
        "anti_affinity",
        u(tags=["apart-1"]),
        {
            "policy": {"anti_affinity": [{"name": "by tag", "tag_prefix": "apart-"}]},
            "other": {"tags": ["apart-1", "x"]},
        },
        "b already has other of the group apart-1",
    ),
    (
        "anti_affinity",
        u(tags=["apart-1"]),
        {"policy": {"anti_affinity": [{"name": "by tag", "tag_prefix": "apart-"}]}, "other": {"tags": ["apart-2"]}},
        None,
    ),
    ("anti_affinity", u(), {"policy": {"anti_affinity": [EVERYONE]}, "other": {"host": "a", "destination": "b"}}, BOTH),
    # Neither a wish nor a group of another kind is asked, where there is also a group that is.
    (
        "anti_affinity",
        u(),
        {"policy": {"anti_affinity": [ALONE, {**EVERYONE, "must": False}], "affinity": [EVERYONE]}},
        None,
    ),
    (
        "affinity",
        u(),
        {
            "policy": {"affinity": [ALONE, {**EVERYONE, "must": False}], "anti_affinity": [EVERYONE]},
            "other": {"host": "a"},
        },
        None,
    ),
    ("affinity", u(), {}, None),
    ("affinity", u(), {"policy": {"affinity": [EVERYONE]}}, None),
    (
        "affinity",
        u(),
        {"policy": {"affinity": [EVERYONE]}, "other": {"host": "a"}},
        "has to be with other of the group all, which is on a",
    ),
    ("affinity", u(), {"policy": {"affinity": [{**EVERYONE, "must": False}]}, "other": {"host": "a"}}, None),
    ("affinity", u(), {"policy": {"affinity": [{"name": "one", "domains": {"names": ["u"]}}]}}, None),
    ("affinity", u(), {"policy": {"affinity": [EVERYONE]}, "other": {"host": "a", "destination": "b"}}, None),
    ("failure_domains", u(), {}, None),
    (
        "failure_domains",
        u(),
        {"policy": {"failure_domains": [RACKS]}, "source": host(tags=["rack-1"]), "target": host(tags=["rack-2"])},
        "rack-2 already has 1 of the group all, the most is 1",
    ),
    (
        "failure_domains",
        u(),
        {"policy": {"failure_domains": [{**RACKS, "most": 2}]}, "target": host(tags=["rack-2", "x"])},
        None,
    ),
    (  # from one host of a rack to another of it: the domain itself is no neighbour
        "failure_domains",
        u(),
        {
            "policy": {"failure_domains": [{**RACKS, "domains": {"names": ["u"]}}]},
            "source": host(tags=["rack-1"]),
            "target": host(groups=["rack-1", "hypervisors"]),
        },
        None,
    ),
    (
        "failure_domains",
        u(),
        {"policy": {"failure_domains": [RACKS]}, "source": host(tags=["rack-1"])},
        "cannot tell in which failure domain of the rule all b is",
    ),
    (
        "failure_domains",
        u(),
        {
            "policy": {"failure_domains": [RACKS]},
            "source": host(tags=["rack-1"]),
            "target": host(tags=["rack-1", "rack-2"]),
        },
        "cannot tell in which failure domain of the rule all b is",
    ),
    (
        "failure_domains",
        u(),
        {"policy": {"failure_domains": [{**RACKS, "must": False}]}, "target": host(tags=["rack-2"])},
        None,
    ),
    (
        "failure_domains",
        u(),
        {
            "policy": {"failure_domains": [{**RACKS, **ALONE}, {**RACKS, "must": False}], "affinity": [EVERYONE]},
            "source": host(tags=["rack-1"]),
            "target": host(tags=["rack-2"]),
        },
        None,
    ),
    (
        "refused_before",
        u(),
        {"source": remembers("u", "b", moved(60))},
        "the move to b failed at 11:59 UTC (no bridge); it is tried again after 12:29 UTC",
    ),
    ("refused_before", u(), {"source": remembers("u", "b", moved(1800))}, None),
    ("refused_before", u(), {"source": remembers("u", "c", moved(60))}, None),
    ("refused_before", u(), {"source": remembers("other", "b", moved(60))}, None),
    ("refused_before", u(), {"target": remembers("u", "b", moved(60))}, None),
    ("refused_before", u(), {"source": remembers("u", "b", moved(60)), "policy": {"retry_after_seconds": 60}}, None),
]


@pytest.mark.parametrize(("name", "guest", "setting", "expected"), CASES)
def test_constraint(name: str, guest: Json, setting: Json, expected: str | None) -> None:
    assert ask(name, guest, **setting) == expected


def test_all_constraints_have_a_case() -> None:
    assert set(constraints()) == {case[0] for case in CASES}


WISHES: list[tuple[str, Json, list[float]]] = [
    # preference, rule, what it costs to have u on a (rack-1), b (rack-2, with two others), c (rack-2), d (no rack)
    ("pins", {"domains": {"names": ["u"]}, "hosts": ["a", "c"]}, [0, 1, 0, 1]),
    ("anti_affinity", EVERYONE, [0, 2, 0, 0]),
    ("anti_affinity", {"name": "two", "domains": {"names": ["u", "b1"]}}, [0, 1, 0, 0]),
    ("affinity", EVERYONE, [2, 0, 2, 2]),
    ("affinity", {"name": "two", "domains": {"names": ["u", "b1"]}}, [1, 0, 1, 1]),
    ("failure_domains", RACKS, [0, 1, 1, 1]),
    ("failure_domains", {**RACKS, "most": 3}, [0, 0, 0, 1]),
]


@pytest.mark.parametrize(("name", "rule", "expected"), WISHES)
@pytest.mark.parametrize("must", [False, True])
def test_wishes_cost(name: str, rule: Json, expected: list[float], must: bool) -> None:
    hosts = {"a": host(tags=["rack-1"]), "b": host(tags=["rack-2"]), "c": host(tags=["rack-2"]), "d": host()}
    data = snapshot(hosts, u(), domain("b1", "b"), domain("b2", "b"))
    fleet = Fleet(Snapshot.from_mapping(data), Policy.from_mapping({name: [{**rule, "must": must}]}))
    costs = {
        key: [cost(fleet["u"], target, fleet) for target in fleet.hosts] for key, cost in preferences(fleet).items()
    }
    assert costs == ({} if must else {name: expected})
    assert fleet["u"].wishes is not must


def test_all_preferences_have_a_case() -> None:
    wishes = {name: [{**rule, "must": False}] for name, rule, _expected in WISHES}
    data = snapshot({"a": host(tags=["rack-1"]), "b": host(), "c": host()})
    known = preferences(Fleet(Snapshot.from_mapping(data), Policy.from_mapping(wishes)))
    assert set(known) == set(wishes)


def test_only_wishes_of_its_own_kind_cost() -> None:
    two: Json = {"name": "two", "domains": {"names": ["u", "b1"]}}
    pin: Json = {"domains": {"names": ["u"]}, "hosts": ["a", "c"]}
    rules: dict[str, Json] = {
        "anti_affinity": EVERYONE,
        "affinity": two,
        "failure_domains": {**RACKS, "most": 3},
        "pins": pin,
    }
    wishes: dict[str, list[Json]] = {name: [{**rule, "must": False}] for name, rule in rules.items()}
    wishes["pins"].append({**pin, "hosts": ["a", "b", "c"], "must": True})
    wishes["affinity"].append({"name": "both", "domains": {"names": ["u", "y"]}, "must": True})
    wishes["anti_affinity"].append({"name": "apart", "domains": {"names": ["u", "z"]}, "must": True})
    wishes["failure_domains"].append({**RACKS, "name": "spread", "domains": {"names": ["u", "z"]}, "must": True})
    hosts = {"a": host(tags=["rack-1"]), "b": host(tags=["rack-2"]), "c": host(tags=["rack-2"]), "d": host()}
    guests = [u(), domain("b1", "b"), domain("b2", "b"), domain("y", "a"), domain("z", "c")]
    fleet = Fleet(Snapshot.from_mapping(snapshot(hosts, *guests)), Policy.from_mapping(wishes))
    costs = {
        key: [cost(fleet["u"], target, fleet) for target in fleet.hosts] for key, cost in preferences(fleet).items()
    }
    assert costs == {
        "affinity": [1, 0, 1, 1],
        "anti_affinity": [1, 2, 1, 0],
        "failure_domains": [0, 1, 1, 1],
        "pins": [0, 1, 0, 1],
    }


XY, XYZ = ({"name": name, "domains": {"names": list(name)}} for name in ("xy", "xyz"))
REMARKS: list[tuple[Json, str, str, list[str], str | None]] = [
    # policy, hosts (each a rack) of x, y and z, hosts that can take domains, who is not repaired, note
    ({"affinity": [XY]}, "aba", "abc", ["x", "y"], "Affinity 'xy' is not kept: its 2 domains are on 2 hosts."),
    ({"affinity": [XY]}, "aab", "abc", ["z"], None),
    ({"affinity": [{**XY, "must": False}]}, "aba", "abc", ["x"], None),
    ({"anti_affinity": [XY]}, "aba", "abc", ["z"], None),
    ({"anti_affinity": [XY]}, "aab", "ab", ["x"], "Anti-affinity 'xy' is violated and could not be repaired."),
    ({"anti_affinity": [XY]}, "aab", "ab", ["z"], "Anti-affinity 'xy' is violated and could not be repaired."),
    (
        {"anti_affinity": [XYZ]},
        "aab",
        "ab",
        ["z"],
        "Anti-affinity 'xyz' cannot be kept: 3 domains, 2 hosts that can take them.",
    ),
    # Nothing is wrong with it, but it keeps x from leaving a host for another rule.
    (
        {"anti_affinity": [XY]},
        "abc",
        "b",
        ["x"],
        "Anti-affinity 'xy' cannot be kept: 2 domains, 1 hosts that can take them.",
    ),
    ({"anti_affinity": [XY]}, "abc", "b", ["z"], None),
    ({"anti_affinity": [XY]}, "abc", "bc", ["x"], None),
    ({"anti_affinity": [{**XY, "must": False}]}, "aab", "b", ["x"], None),
    ({"affinity": [XY]}, "aab", "b", ["x"], None),
    (
        {"failure_domains": [{**XY, "per": "rack-"}]},
        "aab",
        "ab",
        ["z"],
        "Failure domains 'xy' is violated and could not be repaired.",
    ),
    (
        {"failure_domains": [{**XYZ, "per": "rack-"}]},
        "aab",
        "abd",
        ["x"],
        "Failure domains 'xyz' cannot be kept: 3 domains, at most 1 in each of 2 that have hosts that can take them.",
    ),
    (
        {"failure_domains": [{**XY, "per": "rack-"}]},
        "abc",
        "b",
        ["x"],
        "Failure domains 'xy' cannot be kept: 2 domains, at most 1 in each of 1 that have hosts that can take them.",
    ),
    ({"failure_domains": [{**XY, "per": "rack-"}]}, "abc", "b", ["z"], None),
    ({"failure_domains": [{**XY, "per": "rack-"}]}, "abc", "bc", ["x"], None),
    ({"failure_domains": [{**XY, "per": "rack-", "must": False}]}, "aab", "b", ["x"], None),
]


@pytest.mark.parametrize(("policy", "on", "free", "unrepaired", "note"), REMARKS)
def test_remarks(policy: Json, on: str, free: str, unrepaired: list[str], note: str | None) -> None:
    hosts = {name: host(tags=[f"rack-{name}"]) for name in "abc"}
    guests = [domain(name, where, tags=[]) for name, where in zip("xyz", on, strict=True)]
    fleet = Fleet(Snapshot.from_mapping(snapshot({**hosts, "d": host()}, *guests)), Policy.from_mapping(policy))
    able = [one for one in fleet.hosts if one.name in free]
    told = [line for tell in remarks() for line in tell(fleet, able, [fleet[name] for name in unrepaired])]
    assert told == ([] if note is None else [note])


def test_without_a_clock_a_domain_that_moved_cools_down() -> None:
    facts = Snapshot.from_mapping(snapshot({"a": host()}, u(last_moved_at=TAKEN_AT)))
    fleet = Fleet(facts, Policy.from_mapping({}), None)
    reason = constraints()["cooldown"].ask(fleet["u"], fleet.hosts[0], fleet)
    assert reason is not None
    assert reason.message == f"cannot tell how long ago it was moved ('{TAKEN_AT}')"


AGREEMENT = ("agreement", "agreement_about_cpu", "agreement_about_memory", "agreement_of_source")
GROUP_KINDS = ("pins", "affinity", "anti_affinity", "failure_domains")


def test_rules_that_the_policy_does_not_have_are_not_asked() -> None:
    facts = Snapshot.from_mapping(snapshot({"a": host(), "b": host()}, u()))

    def asked(policy: Json) -> set[str]:
        fleet = Fleet(facts, Policy.from_mapping(policy))
        return {name for name, rule in constraints().items() if rule.when(fleet)}

    beside = {
        *GROUP_KINDS,
        *AGREEMENT,
        "storage_room",
        "overloaded_host",
        "unknown_maximum",
        "refused_before",
        "level_off",
        "level_repair",
        "peaks",
    }
    assert asked({}) == set(constraints()) - beside
    assert asked({"strategy": "consolidate"}) - asked({}) == {"overloaded_host"}
    wish = {"name": "x", "domains": "domains", "must": False}
    assert asked({"affinity": [wish], "pins": [{"domains": "domains", "hosts": ["a"], "must": False}]}) == asked({})
    assert asked({"affinity": [{**wish, "must": True}]}) - asked({}) == {"affinity"}


def test_no_host_with_the_prefix_is_a_mistake() -> None:
    data = snapshot({"a": host(tags=["rack-1", "rack-2"]), "b": host(tags=["rac-1"])})
    with pytest.raises(PolicyError) as caught:
        Fleet(Snapshot.from_mapping(data), Policy.from_mapping({"failure_domains": [RACKS]}))
    assert str(caught.value) == (
        "failure_domains[0].per: no host of the snapshot has one tag or group that starts 'rack-'."
    )


def test_unknown_scope_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown scope 'all'"):
        constraint("x", scope="all")(lambda domain, host, fleet: None)
