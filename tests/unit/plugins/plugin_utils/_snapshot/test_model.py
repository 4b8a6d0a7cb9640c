# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Data of the wrong type is told in one sentence, or not known."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import SnapshotError
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import Json, domain, host, snapshot

ENORMOUS = 10**400


def fleet(path: str, value: t.Any) -> Json:
    """A snapshot of the host a with the domain x, with another value at the path."""
    data = snapshot({"a": host()}, domain("x", "a"))
    *way, key = path.split(".")
    place: t.Any = data
    for step in way:
        place = place.setdefault(step, {})
    place[key] = value
    return data


LISTS = {
    "hosts.a.networks": "The networks of host 'a'",
    "hosts.a.storage_pools": "The storage_pools of host 'a'",
    "hosts.a.mounts": "The mounts of host 'a'",
    "hosts.a.memory.hugepages": "The hugepages of host 'a'",
    "hosts.a.marks.refusals": "The refusals of host 'a'",
    "domains.x.disks": "The disks of domain 'x'",
    "domains.x.hugepage_sizes": "The hugepage_sizes of domain 'x'",
    "domains.x.secrets": "The secrets of domain 'x'",
    "domains.x.interfaces": "The interfaces of domain 'x'",
    "domains.x.tags": "The tags of domain 'x'",
    "domains.x.blockers": "The blockers of domain 'x'",
    "doubts": "The doubts of the snapshot",
}


@pytest.mark.parametrize(("value", "told"), [(5, "5"), (0, "0"), (True, "true"), ("x", "'x'"), ({}, "{}")])
@pytest.mark.parametrize("path", LISTS)
def test_what_is_no_list_is_told(path: str, value: t.Any, told: str) -> None:
    with pytest.raises(SnapshotError) as caught:
        Snapshot.from_mapping(fleet(path, value))
    assert str(caught.value) == f"{LISTS[path]} must be a list or null, not {told}."


@pytest.mark.parametrize("value", [None, []])
@pytest.mark.parametrize("path", LISTS)
def test_no_list_is_none_that_is_known(path: str, value: t.Any) -> None:
    assert list(Snapshot.from_mapping(fleet(path, value)).domains) == ["x"]


@pytest.mark.parametrize("value", [None, [], 5, {"cpus": 5}, {"cells": [0]}])
def test_what_a_domain_is_bound_to_may_be_unknown(value: t.Any) -> None:
    found = Snapshot.from_mapping(fleet("domains.x.bound", value)).domains["x"]
    assert (found.bound_cpus, found.bound_cells) == (None, frozenset({0}) if value == {"cells": [0]} else None)


def test_a_snapshot_of_an_earlier_version_does_not_say_what_a_domain_needs() -> None:
    data = snapshot({"a": host()}, domain("x", "a"))
    found = Snapshot.from_mapping(data)
    needs = found.domains["x"]
    assert (needs.secrets, needs.hugepage_sizes, needs.bound_cpus, needs.bound_cells) == (None, None, None, None)
    assert found.hosts["a"].mounts is None


@pytest.mark.parametrize("value", [ENORMOUS, -ENORMOUS, 1e200, float("inf"), float("nan"), -1, True, "5"])
def test_a_figure_that_cannot_be_right_is_not_known(value: t.Any) -> None:
    found = Snapshot.from_mapping(fleet("hosts.a.cpu", {"threads": value, "usage": value})).hosts["a"]
    assert (found.threads, found.usage) == (None, None)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("hosts.a.history", {"cpu": [ENORMOUS]}, "each must be a number of at least 0 or null."),
        ("hosts.a.history", {"cpu": [1e200]}, "each must be a number of at least 0 or null."),
        ("hosts.a.history", {"cpu": [], "step_seconds": ENORMOUS}, "it must be a number above 0."),
        ("hosts.a.power_model", {"idle_watts": ENORMOUS, "max_watts": 1}, "must be a number of at least 0"),
    ],
)
def test_an_enormous_number_is_told(path: str, value: t.Any, told: str) -> None:
    with pytest.raises(Exception, match=told) as caught:
        Snapshot.from_mapping(fleet(path, value))
    assert len(str(caught.value)) < 250
