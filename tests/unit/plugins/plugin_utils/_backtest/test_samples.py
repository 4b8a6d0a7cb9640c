# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import math
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.samples import (
    DomainSample,
    HostSample,
    Samples,
    recording_of,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import SnapshotError

NOON = 1769860800.0


def facts(threads: int = 8, **more: t.Any) -> dict[str, t.Any]:
    return {"cpu": {"threads": threads}, "memory": {"total_mib": 1000.0}, **more}


def web(step: int, host: str = "kvm1", cores: float | None = 1.0, **more: t.Any) -> DomainSample:
    return DomainSample(NOON + 300 * step, host, "u-1", "web-1", cores, **{"ready": 0.0, "memory_mib": 100.0, **more})


def samples(*domains: DomainSample, hosts: t.Iterable[HostSample] = (), **known: dict[str, t.Any]) -> Samples:
    return Samples(list(domains), list(hosts), {"kvm1": facts(), "kvm2": facts(), **known})


@pytest.mark.parametrize("speed", ["2", -1, 0, True, [], None])
def test_a_speed_that_cannot_be_right_is_not_known(speed: t.Any) -> None:
    given = samples(web(0), web(1), kvm1=facts(speed=speed))
    given.domain_facts["u-1"] = {"vcpus": "4", "cap": "50", "memory": {"maximum_mib": "512"}}
    found = recording_of(given).recording
    assert found.hosts["kvm1"].speed == 1.0
    assert (found.domains["u-1"].vcpus, found.domains["u-1"].cap, found.domains["u-1"].memory_mib) == (1, 0.0, 100.0)


def test_a_domain_wants_what_it_got_and_what_it_waited_for_but_no_more_than_it_has() -> None:
    given = samples(web(0, cores=1.0, ready=0.5), web(1, cores=3.0, ready=0.5), web(2, cores=0.25))
    given.domain_facts["u-1"] = {"vcpus": 4, "memory": {"maximum_mib": 512}, "tags": ["web"], "host": "kvm9"}
    domain = recording_of(given).recording.domains["u-1"]
    assert domain.wanted == [2.0, 4.0, 0.25]
    assert domain.used == [1.0, 3.0, 0.25]
    assert (domain.vcpus, domain.memory_mib, domain.facts) == (
        *(4, 512),
        {"vcpus": 4, "memory": {"maximum_mib": 512}, "tags": ["web"]},
    )


def test_a_cap_is_the_most_that_a_domain_wants() -> None:
    given = samples(web(0, ready=0.5), web(1))
    given.domain_facts["u-1"] = {"vcpus": 4, "cap": 150, "memory": {"maximum_mib": 512}}
    assert recording_of(given).recording.domains["u-1"].wanted == [1.5, 1.0]


def test_cores_are_those_of_a_thread_of_speed_1() -> None:
    found = recording_of(samples(web(0, "kvm3"), web(1, "kvm1"), kvm3=facts(speed=2.0)))
    assert found.recording.domains["u-1"].wanted == [2.0, 1.0]


def test_where_it_was_is_what_the_samples_say() -> None:
    looked = [HostSample(NOON + 600, "kvm2", 0.1)]
    found = recording_of(samples(web(0), web(1, "kvm2"), web(3, "kvm2"), hosts=looked), step=300)
    assert found.recording.domains["u-1"].where == ["kvm1", "kvm2", None, "kvm2"]
    assert found.recording.domains["u-1"].wanted == [1.0, 1.0, None, 1.0]


def test_where_nobody_looked_it_went_on() -> None:
    found = recording_of(samples(web(0), web(1, cores=2.0, vcpus=2), web(3, cores=1.0)))
    assert found.recording.domains["u-1"].where == ["kvm1"] * 4
    assert found.recording.domains["u-1"].wanted == [1.0, 2.0, 2.0, 1.0]
    assert found.notes[0] == (
        "25.0% of the values are missing, because nobody looked at the host; the value before stands for them."
    )


def test_a_value_is_the_mean_of_the_samples_that_are_nearest() -> None:
    near = [web(0), web(0, cores=3.0)._replace(at=NOON + 100), web(1, cores=2.0), web(2)]
    assert recording_of(samples(*near), step=300).recording.domains["u-1"].used == [2.0, 2.0, 1.0]


def test_what_was_before_a_hole_of_hours_is_left_out() -> None:
    found = recording_of(samples(web(0), web(1), web(100, cores=2.0), web(101), web(103)))
    assert found.recording.begins_at.isoformat() == "2026-01-31T20:20:00+00:00"
    assert found.recording.domains["u-1"].wanted == [2.0, 1.0, 1.0, 1.0]
    assert found.notes[0] == (
        "Nothing was recorded for 8 hours before 2026-01-31 20:20 UTC: what was recorded earlier is left out."
    )


def test_hosts_of_another_time_are_no_destinations() -> None:
    """Those that were recorded before the hole only; others were never sampled, or sleep since then."""
    demo = web(0, "demo1")._replace(uuid="u-9", name="demo-web")
    looked = [HostSample(NOON, name, 0.0, asleep=name == "kvm4") for name in ("demo1", "demo2", "kvm2", "kvm4")]
    late = [HostSample(NOON + 300 * 100, "kvm2", 0.0)]
    more = {name: facts() for name in ("demo1", "demo2", "kvm3", "kvm4")}
    found = recording_of(samples(demo, web(100), web(101), hosts=[*looked, *late], **more))
    assert list(found.recording.hosts) == ["kvm1", "kvm2", "kvm3", "kvm4"]
    assert "Hosts left out, because nothing of them was recorded in this time: demo1, demo2." in found.notes


def test_hosts_of_which_only_forgotten_samples_speak_are_left_out_too() -> None:
    given = samples(web(0, "kvm2"), web(1, "kvm2"), web(11), web(12))
    given.last(10)
    assert list(recording_of(given).recording.hosts) == ["kvm1"]


def test_sizes_that_cannot_be_are_noted() -> None:
    given = [web(step, cores=cores, memory_mib=20480.0, vcpus=40) for step, cores in enumerate((12.0, 8.2))]
    small: dict[str, t.Any] = {"cpu": {"threads": 8}, "memory": {"total_mib": 32.0}}
    other = [web(step, "kvm2", cores=8.2, memory_mib=64.0)._replace(uuid="u-2", name="web-2") for step in range(2)]
    notes = recording_of(samples(*given, *other, kvm1=small, kvm2=small)).notes
    assert notes[-2:] == [
        (
            "The domains of kvm1 have 20480 MiB at one time, and the host has 32 MiB; likewise kvm2. Check what it "
            "has: memory_mib is in MiB."
        ),
        (
            "The domains of kvm1 use 12.0 threads at one time, and the host has 8. Check what it has, and that cores "
            "are not in per cent."
        ),
    ]


def test_the_step_is_that_of_the_samples_and_at_least_five_minutes() -> None:
    assert recording_of(samples(web(0), web(2), web(4))).recording.step == 600
    often = [web(0)._replace(at=NOON + 60 * minute) for minute in range(11)]
    assert recording_of(samples(*often)).recording.step == 300
    assert recording_of(samples(*often), step=60).recording.steps == 11


def test_what_a_host_does_itself_is_what_is_left() -> None:
    hosts = [HostSample(NOON, "kvm1", 0.5), HostSample(NOON + 300, "kvm1", 0.1)]
    found = recording_of(samples(web(0), web(1), hosts=hosts)).recording
    assert found.hosts["kvm1"].own_cores == [3.0, 0.0]
    assert found.hosts["kvm1"].used == [0.5, 0.1]
    assert (found.hosts["kvm2"].own_cores, found.hosts["kvm2"].used) == (0.0, None)


def test_a_host_is_asleep_from_one_look_to_the_next() -> None:
    asleep = [HostSample(NOON, "kvm2", None, True), HostSample(NOON + 900, "kvm2", 0.0)]
    found = recording_of(samples(*map(web, range(4)), hosts=asleep)).recording
    assert found.hosts["kvm2"].asleep == [True, True, True, False]


def test_waiting_that_was_not_measured_is_not_known() -> None:
    found = recording_of(samples(web(0, ready=None), web(1, ready=None)))
    assert found.recording.domains["u-1"].used is None
    assert found.recording.domains["u-1"].wanted == [1.0, 1.0]
    assert "How long 1 domain of 1 waited for a CPU is not known" in found.notes[0]


def test_what_is_like_nothing_known_suits_every_host() -> None:
    found = recording_of(samples(web(0), web(1, cores=2.5)))
    assert found.recording.domains["u-1"].vcpus == 3
    assert [note.partition(":")[0] for note in found.notes] == [
        "The vCPUs of 1 domain are not known",
        "Of 1 domain no disks, networks and CPU are known",
    ]


@pytest.mark.parametrize(
    ("given", "step", "problem"),
    [
        (Samples(), None, "There is no sample of any domain, so there is nothing to replay."),
        (samples(web(0)), None, "There is one time only to replay; at least two runs are needed."),
        (
            samples(web(0), web(1)._replace(at=NOON + 60)),
            None,
            (
                "The samples cover 1 minutes, which is less than one step of 300 seconds. Record for longer, "
                "or name a shorter step with -e backtest_step=SECONDS."
            ),
        ),
        (
            samples(web(0, "kvm8"), web(1, "kvm9")),
            None,
            (
                "The threads and the memory of kvm8, kvm9 are not known. Name a saved snapshot of the hosts with "
                "-e backtest_snapshot=FILE, or a CSV file with the columns host,threads,memory_mib with "
                "-e backtest_hosts=FILE."
            ),
        ),
        (
            samples(web(0, memory_mib=None), web(1, memory_mib=None)),
            None,
            "The memory of no domain is known. Name a saved snapshot of the hosts with -e backtest_snapshot=FILE.",
        ),
        (
            samples(web(0), web(1), kvm1={"cpu": {"threads": "8"}, "memory": "much"}),
            None,
            (
                "The threads and the memory of kvm1 are not known. Name a saved snapshot of the hosts with "
                "-e backtest_snapshot=FILE, or a CSV file with the columns host,threads,memory_mib with "
                "-e backtest_hosts=FILE."
            ),
        ),
        (samples(web(0), web(1)), 0.0, "The step must be a number of seconds above 0, not 0.0."),
        (samples(web(0), web(1)), math.nan, "The step must be a number of seconds above 0, not nan."),
        (
            samples(*(web(10 * step) for step in range(1001))),
            1.0,
            (
                "The samples cover 35 days, 3000001 steps of 1 seconds. Check their times, or name a longer step "
                "with -e backtest_step=SECONDS."
            ),
        ),
    ],
)
def test_what_cannot_be_replayed_is_one_sentence(given: Samples, step: float | None, problem: str) -> None:
    with pytest.raises(SnapshotError) as error:
        recording_of(given, step)
    assert str(error.value) == problem
