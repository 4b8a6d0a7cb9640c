# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Selectors: what selects no domains is an error, what matches none now is told; neither lets a domain move unseen."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.plan import allocation_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._placement import draining
from ansible_collections.virtops.balance.plugins.plugin_utils._plan import maintenance_rounds, revalidate
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.best_host import best_host
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.outcome import outcome
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._policy import domain_selectors, query
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    domain,
    host,
    moves,
    snapshot,
)

ROOT = pathlib.Path(__file__).resolve().parents[5]
UUID = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
# Wherever a policy takes a selector of domains: a policy with it, and what messages call the place.
PLACES: list[tuple[t.Callable[[t.Any], Json], str]] = [
    (lambda selector: {"exclude": selector}, "exclude[0]"),
    (lambda selector: {"include": selector}, "include[0]"),
    (lambda selector: {"important": [selector]}, "important[0]"),
    (lambda selector: {"restart": selector}, "restart[0]"),
    (lambda selector: {"pins": [{"domains": selector, "hosts": ["a"]}]}, "pins[0].domains"),
    (lambda selector: {"affinity": [{"name": "x", "domains": selector}]}, "affinity[0].domains"),
    (lambda selector: {"anti_affinity": [{"name": "x", "domains": selector}]}, "anti_affinity[0].domains"),
    (
        lambda selector: {"failure_domains": [{"name": "x", "domains": selector, "per": "rack-"}]},
        "failure_domains[0].domains",
    ),
]


def fleet(**more: t.Any) -> Json:
    """Four domains on the first of two hosts, so that two move; one more is shut off."""
    off = [{"uuid": "00000000-0000-4000-8000-00000000000f", "name": "off-1"}]
    return snapshot(
        {"a": host(tags=["rack-a"], inactive_domains=off), "b": host(tags=["rack-b"], inactive_domains=None)},
        domain("appliance", "a", tags=["fixed"], uuid=UUID),
        *(domain(name, "a", tags=["web"]) for name in ("fw-1", "web-1", "web-2")),
        **more,
    )


def moved(policy: Json) -> set[str]:
    """The names of the domains that would move."""
    return {move["name"] for move in moves(plan(fleet(), policy))}


@pytest.mark.parametrize(
    "written", [UUID, UUID.upper(), UUID.replace("-", ""), UUID.replace("-", "").upper(), UUID.title(), "appliance"]
)
def test_a_domain_is_protected_however_its_uuid_is_written(written: str) -> None:
    assert "appliance" in moved({})
    assert "appliance" not in moved({"exclude": {"names": [written]}})
    assert plan(fleet(), {"exclude": {"names": [written]}})["notes"] == []


@pytest.mark.parametrize("written", [UUID, UUID.upper(), UUID.replace("-", "").upper()])
@pytest.mark.parametrize(
    "query",
    [
        "domains[?uuid=='{}']",
        "domains[?'{}' == uuid]",
        "domains[?@.uuid == `\"{}\"` || name == 'nobody']",
        "domains[?contains(`[\"{}\", 1]`, uuid)] | [?host=='a'] | [0:3:1]",
        "domains[?host=='a'].{{uuid: uuid, host: host}} | [?uuid=='{}']",
    ],
)
def test_a_query_finds_a_uuid_however_it_is_written(query: str, written: str) -> None:
    assert moved({"exclude": query.format(written)}) == moved({"exclude": {"names": ["appliance"]}})


def test_a_query_about_names_is_left_as_it_is() -> None:
    data = fleet()
    data["domains"][UUID]["name"] = UUID.upper()
    for name, excluded in ((UUID.upper(), True), (UUID, False)):
        found = plan(data, {"exclude": f"domains[?name=='{name}']"})
        assert (UUID.upper() not in {move["name"] for move in moves(found)}) == excluded


@pytest.mark.parametrize("written", [UUID[:-1], UUID.replace("-", "", 1), f"{UUID}0", UUID.replace("6", "7", 1)])
def test_what_is_not_its_uuid_is_none(written: str) -> None:
    assert (
        f"exclude[0] names {written!r}, and no domain has"
        in plan(fleet(), {"exclude": {"names": [written]}})["notes"][0]
    )


BY_NAME = "write {names: [%s]} for domains by name or UUID"


@pytest.mark.parametrize(
    ("selector", "meant"),
    [
        ("appliance", BY_NAME % "appliance" + ", {tag: appliance} for those with a tag."),
        ("fw-1", BY_NAME % "fw-1" + ", {tag: fw-1} for those with a tag."),
        ("web.example.org", BY_NAME % "web.example.org"),
        ("fw-1, web-1", BY_NAME % "fw-1, web-1" + "."),
        ("10.0.0.1", BY_NAME % '"10.0.0.1"'),
        (UUID, BY_NAME % f'"{UUID}"'),
        ("web-*", "write \"domains[?starts_with(name, 'web-')]\" for the domains whose names begin so."),
        ("domain[?name=='fw-1']", "the snapshot has no key 'domain': did you mean \"domains[?name=='fw-1']\"?"),
        ("Domains[?name=='fw-1']", "did you mean \"domains[?name=='fw-1']\"?"),
        ("guests[?name=='fw-1']", "the snapshot has no key 'guests': known are domains, hosts, taken_at."),
        ("name=='fw-1'", "did you mean \"domains[?name=='fw-1']\"?"),
        ("starts_with(name, 'fw-')", "did you mean \"domains[?starts_with(name, 'fw-')]\"?"),
        ("domains[?tags=='web']", "tags is a list, so write contains(tags, 'web')."),
        ("domains[?'web'==tags]", "tags is a list, so write contains(tags, 'web')."),
        ("hosts", "must select whole domains, as in \"domains[?starts_with(name, 'db-')]\", and 'hosts' selects"),
        ("hosts[?name=='a']", "must select whole domains"),
        ("taken_at", "must select whole domains"),
        ("domains[?name=='nobody'].name", "must select whole domains"),
        ("domains[?name=='nobody'].tags[]", "must select whole domains"),
        ("domains[?name=='nobody'][?vcpus > `1`]", "must select whole domains"),
        ("domains[?name=='fw-1", "is not valid JMESPath"),
        ("(fw-1)", "is not valid JMESPath"),
    ],
)
@pytest.mark.parametrize(("policy", "key"), PLACES, ids=[key for _policy, key in PLACES])
def test_what_cannot_select_domains_is_an_error_before_a_host_is_asked(
    policy: t.Callable[[t.Any], Json], key: str, selector: str, meant: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.from_mapping(policy(selector))
    assert str(caught.value).startswith(key)
    assert meant in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("selector", "meant"),
    [
        ("domains[?Name=='fw-1']", "a domain has no key 'Name': did you mean \"domains[?name=='fw-1']\"?"),
        ("domains[?NAME=='fw-1']", "did you mean \"domains[?name=='fw-1']\"?"),
        ("domains[?Name=='fw-1'] | [0]", "did you mean \"domains[?name=='fw-1'] | [0]\"?"),
        ("domains[?name!='fw-1' && !Persistent]", "did you mean \"domains[?name!='fw-1' && !persistent]\"?"),
        ('domains[?name=="fw-1"]', "A text is written in single quotes: \"domains[?name=='fw-1']\"."),
        ("domains[?name==shop]", "a domain has no key 'shop'. A text is written in single quotes"),
        ("domains[?contains(tags, web)]", "A text is written in single quotes: \"domains[?contains(tags, 'web')]\"."),
        ("domains[?persistent==true]", "a domain has no key 'true'. Write 'domains[?persistent==`true`]'."),
        ("domains[?tag=='web']", "did you mean 'tags', a list, as in contains(tags, '...')?"),
        ("domains[?hypervisor=='a']", "a domain has no key 'hypervisor': known are allocation, arch, "),
        ("domains[?memory.max_mib > `1`]", "memory of a domain has no key 'max_mib': did you mean"),
        ("domains[?disks.source=='x']", "a list has no key 'source'; its elements are asked with [].source."),
        ("domains[?disks[?sources=='x']]", "disks of a domain has no key 'sources': did you mean"),
        ("sort_by(domains, &vcpu)", "did you mean 'sort_by(domains, &vcpus)'?"),
        ("domains[?host==hosts[0].name]", "a domain has no key 'hosts'"),
        ("domains.name", "a list has no key 'name'"),
        ("hosts[].domains[]", "a host has no key 'domains'"),
        ("not_null(domains[?name=='nobody'] | [0])", "must select whole domains, as in"),
        ("`null`", "returns null."),
        ("length(domains)", "returns int."),
        ("'fw-1'", "returns str."),
        ("domains[?starts(name, 'fw-')]", "fails on this snapshot"),
        ("domains[?vcpus > '4']", "compares a number with a text. Numbers are written in backticks, as in `4`."),
        ("domains[?host.name=='a']", "host is a single value and has no key 'name'."),
        ("domains[?@.host.tags[0]=='a']", "host is a single value and has no key 'tags'."),
        ("domains[?memory > `4096`]", "memory of a domain is no single value, it has the keys available_mib, "),
        ("domains[?`4096` < memory]", "memory of a domain is no single value, it has the keys available_mib, "),
    ],
)
@pytest.mark.parametrize(("policy", "key"), PLACES, ids=[key for _policy, key in PLACES])
def test_what_only_the_fleet_shows_is_an_error_of_the_plan(
    policy: t.Callable[[t.Any], Json], key: str, selector: str, meant: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        plan(fleet(), policy(selector))
    assert str(caught.value).startswith(key)
    assert meant in str(caught.value)


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("domains", {"appliance", "fw-1", "web-1", "web-2"}),
        ("domains[*]", {"appliance", "fw-1", "web-1", "web-2"}),
        ("domains[?name=='fw-1'] | [0]", {"fw-1"}),
        ("domains[?contains(tags, 'web')] | sort_by(@, &name) | [0:2]", {"fw-1", "web-1"}),
        ("max_by(domains[?contains(tags, 'web')], &name)", {"web-2"}),
        ("domains[?name=='fw-1'] || domains", {"fw-1"}),
        ("[domains[?name=='fw-1'], domains[?tags[0]=='fixed']][]", {"fw-1", "appliance"}),
        ("domains[?tags[?@=='fixed']]", {"appliance"}),
        ("domains[?ends_with(name, '-1') && memory.maximum_mib > `10` && !blockers]", {"fw-1", "web-1"}),
        (
            "domains[?interfaces[?source=='br0'] && cpu.model=='Nehalem' && history==null]",
            {"appliance"} | {"fw-1", "web-1", "web-2"},
        ),
        (f"domains[?uuid=='{UUID}']", {"appliance"}),
        # The keys of these are not the collection's.
        ('domains[?pins."0"]', set()),
        ("domains[?allocation.cpu_min > `1`]", set()),
        ("domains[?host==destination]", set()),
    ],
)
def test_what_selects_domains_does(selector: str, selected: set[str]) -> None:
    found = domain_selectors.selector(selector, "exclude[0]").select(domain_selectors.selector_document(fleet()))
    assert found.uuids == {UUID if name == "appliance" else name for name in selected}
    assert bool(found.missing) is not bool(selected)


def test_a_snapshot_may_have_keys_that_the_collection_does_not_know() -> None:
    data = fleet()
    data["domains"][UUID]["owner"] = {"team": "network"}
    assert "appliance" not in {
        move["name"] for move in moves(plan(data, {"exclude": "domains[?owner.team=='network']"}))
    }
    with pytest.raises(PolicyError, match="a domain has no key 'owners'"):
        plan(data, {"exclude": "domains[?owners.team=='network']"})


@pytest.mark.parametrize(
    ("selector", "note"),
    [
        (
            {"names": ["aplliance"]},
            "{} names 'aplliance', and no domain has that name or UUID: did you mean 'appliance'?",
        ),
        ({"names": ["fw-1", "FW-1"]}, "{} names 'FW-1', and no domain has that name or UUID: did you mean 'fw-1'?"),
        ({"names": ["zzz"]}, "{} names 'zzz', and no domain has that name or UUID."),
        ({"tag": "fixd"}, "{} names the tag 'fixd', and no domain has it now: did you mean 'fixed'?"),
        ({"tag": "zzz"}, "{} names the tag 'zzz', and no domain has it now."),
        ("domains[?name=='zzz']", "{} matches no domain now: domains[?name=='zzz']"),
        ("domains[?name=='zzz'] | [0]", "{} matches no domain now: domains[?name=='zzz'] | [0]"),
        ("max_by(domains[?name=='zzz'], &vcpus)", "{} matches no domain now: max_by(domains[?name=='zzz'], &vcpus)"),
    ],
)
@pytest.mark.parametrize(("policy", "key"), PLACES, ids=[key for _policy, key in PLACES])
def test_what_matches_nothing_now_is_the_first_note_and_an_error_where_that_is_wanted(
    policy: t.Callable[[t.Any], Json], key: str, selector: t.Any, note: str
) -> None:
    data = fleet()
    data["hosts"]["c"] = host(tags=["rack-c"], usage=0.3, history_problem="No agent.")
    told = plan(data, policy(selector))["notes"]
    assert told[0].startswith(note.format(key))
    assert told[1:] == ["c has less history than requested. No agent."]

    with pytest.raises(PolicyError) as caught:
        plan(data, {**policy(selector), "strict_selectors": True})
    assert str(caught.value) == f"{told[0]} Nothing is planned for that (strict_selectors)."


def test_a_prefix_of_tags_that_no_tag_has() -> None:
    policy = {"anti_affinity": [{"name": "x", "tag_prefix": "apart-"}]}
    note = "anti_affinity[0].tag_prefix is 'apart-', and no domain has a tag now that begins so."
    assert plan(fleet(), policy)["notes"] == [note]
    with pytest.raises(PolicyError, match="strict_selectors"):
        plan(fleet(), {**policy, "strict_selectors": True})


def test_nothing_is_said_where_everything_matches() -> None:
    policy = {
        "exclude": [{"names": ["fw-1", "off-1"]}, {"tag": "web"}, "domains[?vcpus > `1`]"],
        "affinity": [{"name": "x", "tag_prefix": "we", "must": False}],
        "strict_selectors": True,
    }
    assert plan(fleet(), policy)["notes"] == []


def test_of_a_domain_that_is_shut_off_nothing_is_said() -> None:
    for name in ("off-1", "00000000-0000-4000-8000-00000000000F"):
        assert plan(fleet(), {"exclude": {"names": [name]}, "strict_selectors": True})["notes"] == []


def test_a_host_that_did_not_answer_does_not_make_the_next_run_fail() -> None:
    data = fleet()
    data["hosts"]["c"] = {"state": "unknown", "problem": "ssh: timed out"}
    told = plan(data, {"exclude": {"names": ["fw-9"]}, "strict_selectors": True})["notes"]
    assert told[0].startswith("exclude[0] names 'fw-9', and no domain has that name or UUID")
    assert told[1] == "That does not stop the run (strict_selectors): c is unknown and may have it."


def test_where_there_is_no_domain_none_is_missed() -> None:
    data = snapshot({"a": host(), "b": host()})
    assert plan(data, {"exclude": {"names": ["fw-1"]}, "restart": "domains", "strict_selectors": True})["notes"] == []


def test_a_long_list_is_cut() -> None:
    told = plan(fleet(), {"exclude": {"names": [f"gone-{number}" for number in range(12)]}})["notes"]
    assert len(told) == 11
    assert told[-1] == "2 more names, tags and selectors of the policy match no domain."


WRONG: tuple[Json, str] = ({"exclude": "domains[?Name=='x']"}, "a domain has no key 'Name'")
MISSING: Json = {"exclude": {"names": ["aplliance"]}}
STRICT: Json = {**MISSING, "strict_selectors": True}
NOTE = "exclude[0] names 'aplliance', and no domain has that name or UUID: did you mean 'appliance'?"


@pytest.mark.parametrize(
    "ask",
    [
        lambda policy: plan(fleet(), policy),
        lambda policy: plan(fleet(), {"strategy": "drain", "drained_hosts": ["a"], **policy}),
        lambda policy: plan(fleet(), {"strategy": "consolidate", **policy}),
        lambda policy: allocation_plan(fleet(), {"web-1": {}}, None, policy),
        lambda policy: best_host(fleet(), {"memory_mib": 10, "vcpus": 1}, policy),
        lambda policy: best_host(fleet(), [{"memory_mib": 10, "vcpus": 1}], policy)[0],
        lambda policy: maintenance_rounds.rounds(fleet(), ["b"], policy),
    ],
    ids=["balance", "drain", "consolidate", "allocate", "best_host", "best_hosts", "maintain"],
)
def test_whatever_goes_by_the_policy_tells_it(ask: t.Callable[[Json], Json]) -> None:
    assert ask(MISSING)["notes"][0] == NOTE
    with pytest.raises(PolicyError, match=r"aplliance.*strict_selectors"):
        ask(STRICT)
    with pytest.raises(PolicyError, match=WRONG[1]):
        ask(WRONG[0])


def test_nothing_is_drained_or_approved_by_a_policy_that_means_nothing() -> None:
    for policy in (STRICT, WRONG[0]):
        with pytest.raises(PolicyError):
            draining.objections(fleet(), ["a"], policy)
        made = plan(fleet())
        with pytest.raises(PolicyError):
            revalidate.objections({**made, "policy": {**made["policy"], **policy}}, fleet())


def test_the_policy_of_an_allocation_may_name_what_is_to_be_created() -> None:
    policy = {"anti_affinity": [{"name": "x", "domains": {"names": ["web-1", "web-9"]}}], "strict_selectors": True}
    figures = {"web-1": {}, "web-9": {"memory_mib": 10, "cpu_max": 1, "xml_path": "/srv/web-9.xml"}}
    assert allocation_plan(fleet(), figures, None, policy)["notes"] == []
    with pytest.raises(PolicyError, match="'web-9'"):
        allocation_plan(fleet(), {"web-1": {}}, None, policy)


@pytest.mark.parametrize("written", [UUID.upper(), UUID.replace("-", "")])
def test_an_allocation_knows_a_domain_however_its_uuid_is_written(written: str) -> None:
    assert allocation_plan(fleet(), {written: {}})["domains"]["appliance"]["uuid"] == UUID
    off = "00000000-0000-4000-8000-00000000000f"
    figures = {off.upper(): {"memory_mib": 10, "cpu_max": 1}}
    # It is started where it is defined, which is found by its UUID.
    assert [(step["domain"], step["host"]) for step in allocation_plan(fleet(), figures)["steps"]] == [(off, "a")]


def test_what_was_done_is_told_although_a_domain_of_the_policy_is_off_by_now() -> None:
    made = plan(fleet(), {"anti_affinity": [{"name": "x", "domains": {"names": ["fw-1"]}}], "strict_selectors": True})
    after = fleet()
    del after["domains"]["fw-1"]
    assert outcome(made, [], after)["count"]["not_started"] == 2


def keys(shape: query.Shape) -> t.Any:
    """The keys of a shape as nested mappings; None where nothing is said about them."""
    if shape.element is not None:
        return keys(shape.element)
    return None if shape.keys is None else {key: keys(inner) for key, inner in shape.keys.items()}


def said(options: t.Any) -> t.Any:
    """The keys of what a module documents that it returns, in the same form."""
    inner = options.get("contains")
    return None if inner is None else {key: said(more) for key, more in inner.items()}


def agree(declared: t.Any, documented: t.Any) -> bool:
    """Are the keys the same, as deep as both say something?"""
    if declared is None or documented is None:
        return True
    return set(declared) == set(documented) and all(agree(declared[key], documented[key]) for key in declared)


def test_the_keys_that_selectors_may_ask_for_are_those_of_an_observation_and_of_the_snapshot() -> None:
    source = (ROOT / "plugins" / "modules" / "host_info.py").read_text(encoding="utf-8")
    returned = said(yaml.safe_load(source.split('RETURN = r"""')[1].split('"""')[0])["observation"])
    known = keys(query.DOCUMENT)
    ours = {
        "name",
        "state",
        "problem",
        "tags",
        "groups",
        "migration_uri",
        "may_sleep",
        "power_model",
        "asleep",
        "speed",
    }

    # Not measured, but the data model has a place for it.
    assert known["domains"]["memory"].pop("dirty_mib_s", 0) is None
    del known["domains"]["host"], known["domains"]["destination"]
    assert agree(known["domains"], returned["domains"])
    assert set(known["hosts"]) - ours - {"inactive_domains"} == set(returned["host"])
    for key in ("cpu", "memory", "power"):
        assert agree(known["hosts"][key], returned["host"][key])
    page = (ROOT / "docs" / "docsite" / "rst" / "data_model.rst").read_text(encoding="utf-8")
    assert [key for key in (*known["hosts"], *known["domains"]) if f" {key}:" not in page] == []
