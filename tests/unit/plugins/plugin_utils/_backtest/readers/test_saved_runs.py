# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.readers.saved_runs import SavedRuns
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.samples import DomainSample, HostSample
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import SnapshotError
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils import fleets

NOON = 1769860800.0


def snapshot(at: str, hosts: fleets.Json, *domains: fleets.Json) -> fleets.Json:
    return {"schema": 1, "taken_at": at, "hosts": hosts, "domains": {one["uuid"]: one for one in domains}, "doubts": []}


def test_what_was_observed_counts_where_there_is_no_history() -> None:
    runs = SavedRuns()
    web = fleets.domain("web-1", "kvm1", cores=0.5, cpu_ready=0.25)
    runs.add(snapshot("2026-01-31T12:00:00Z", {"kvm1": fleets.host(usage=0.1), "kvm2": {"state": "asleep"}}, web))
    assert runs.samples.domains == [DomainSample(NOON, "kvm1", "web-1", "web-1", 0.5, 0.25, 100.0)]
    assert runs.samples.hosts == [HostSample(NOON, "kvm1", 0.1), HostSample(NOON, "kvm2", None, True)]


def test_of_a_history_what_is_newer_than_the_run_before_counts() -> None:
    runs = SavedRuns()
    first = {"step_seconds": 300, "ends_at": "2026-01-31T12:00:00Z", "cpu_cores": [0.1, 0.2], "cpu_ready": [0.0, 0.5]}
    later = {"step_seconds": 300, "ends_at": "2026-01-31T12:10:00Z", "cpu_cores": [0.1, 0.2, 0.3, 0.4]}
    for at, history in (("2026-01-31T12:00:00Z", first), ("2026-01-31T12:10:02Z", later)):
        web = fleets.domain("web-1", "kvm1", cores=9.0, history=history)
        runs.add(snapshot(at, {"kvm1": fleets.host()}, web))
    found = [(sample.at - NOON, sample.cores, sample.ready) for sample in runs.samples.domains]
    assert found == [(-300, 0.1, 0.0), (0, 0.2, 0.5), (300, 0.3, None), (600, 0.4, None)]


def test_a_host_that_does_not_answer_is_not_sampled_and_keeps_its_facts() -> None:
    runs = SavedRuns()
    runs.add(snapshot("2026-01-31T12:00:00Z", {"kvm1": fleets.host(threads=6)}))
    runs.add(snapshot("2026-01-31T12:05:00Z", {"kvm1": {"state": "unknown"}}, fleets.domain("web-1", "kvm1")))
    assert runs.samples.domains == []
    assert runs.samples.host_facts["kvm1"]["cpu"]["threads"] == 6


def test_a_domain_that_does_not_run_is_not_there() -> None:
    runs = SavedRuns()
    web = fleets.domain("web-1", "kvm1", state="shutoff")
    runs.add(snapshot("2026-01-31T12:00:00Z", {"kvm1": fleets.host()}, web))
    assert runs.samples.domains == []


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([], "A snapshot must be a mapping, not list."),
        (
            snapshot("soon", {}),
            "The snapshot has the taken_at 'soon'; it must be a time such as 2026-01-31T12:00:00Z.",
        ),
    ],
)
def test_what_is_no_snapshot_is_refused(given: object, problem: str) -> None:
    with pytest.raises(SnapshotError) as error:
        SavedRuns().add(given)
    assert str(error.value) == problem
