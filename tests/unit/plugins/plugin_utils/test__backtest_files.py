# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import json
import os
import pathlib
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._history.store import DomainRow, Event, Row, Store
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.samples import recording_of
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest_files import Source, read_files, save
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils import fleets

NOON = 1769860800.0
HEAD = "time,host,domain,cores,ready,memory_mib\n"


def snapshot(minute: int, *domains: fleets.Json) -> str:
    return json.dumps(
        {
            "schema": 1,
            "taken_at": f"2026-01-31T12:{minute:02}:00Z",
            "hosts": {"kvm1": fleets.host(), "kvm2": fleets.host()},
            "domains": {one["uuid"]: one for one in domains},
            "doubts": [],
        }
    )


def read(path: pathlib.Path, **given: t.Any) -> Source:
    return read_files(path, **{"hosts": None, "snapshot": None, "runs": path.parent / "no-runs", **given})


def store(path: pathlib.Path, *rows: Row) -> None:
    kept = Store(str(path), keep_samples=100, max_bytes=1 << 20)
    for row in rows:
        kept.add(row)
    kept.close()


def runs(directory: pathlib.Path) -> pathlib.Path:
    """Three runs, of which the second one moved web-1; their names do not say in which order they were."""
    for name, minute, host in (("c", 0, "kvm1"), ("a", 5, "kvm1"), ("b", 10, "kvm2")):
        (directory / name).mkdir(parents=True)
        (directory / name / "snapshot.json").write_text(snapshot(minute, fleets.domain("web-1", host)))
    (directory / "a" / "snapshot_after.json").write_text(snapshot(6, fleets.domain("web-1", "kvm2")))
    (directory / "a" / "plan.json").write_text("{}")
    return directory


def test_saved_runs_are_read_in_the_order_of_their_times(tmp_path: pathlib.Path) -> None:
    found = read(runs(tmp_path / "runs"))
    assert [(sample.at - NOON, sample.host) for sample in found.samples.domains] == [
        (0, "kvm1"),
        (300, "kvm1"),
        (360, "kvm2"),
        (600, "kvm2"),
    ]
    assert found.told == f"4 snapshots of runs in {tmp_path / 'runs'}"
    assert found.samples.domain_facts["web-1"]["host"] == "kvm2"


def test_a_file_that_is_no_snapshot_is_left_out_and_told(tmp_path: pathlib.Path) -> None:
    (runs(tmp_path / "runs") / "a" / "snapshot.json").write_text("{")
    found = read(tmp_path / "runs")
    assert found.notes == [f"Left out, because it is no snapshot: {tmp_path / 'runs' / 'a' / 'snapshot.json'}."]
    assert len(found.samples.domains) == 3


def test_stores_are_read_with_what_the_last_run_knows(tmp_path: pathlib.Path) -> None:
    (tmp_path / "stores").mkdir()
    rows = [Row(NOON + 300 * step, 300.0, 0.5, total_mib=4096) for step in range(2)]
    web = DomainRow("web-1", "web-1", 0.5, 0.5, current_mib=512)
    store(tmp_path / "stores" / "kvm1.sqlite", *(row._replace(domains=[web]) for row in rows))
    store(tmp_path / "stores" / "kvm2.sqlite", *rows)
    found = read(tmp_path / "stores", runs=runs(tmp_path / "runs"))
    assert len(found.notes) == 1
    assert found.notes[0].startswith("What hosts and domains are like is taken from the last saved run, ")
    recording = recording_of(found.samples).recording
    assert (recording.hosts["kvm1"].threads, recording.hosts["kvm1"].memory_mib) == (10, 10000)
    assert recording.hosts["kvm1"].own_cores == [4.5, 4.5]
    assert recording.domains["web-1"].wanted == [1.0, 1.0]


def test_stores_alone_say_how_large_hosts_and_domains_are_and_who_slept(tmp_path: pathlib.Path) -> None:
    rows = [Row(NOON + 300 * step, 300.0, 0.25, total_mib=4096, threads=4) for step in range(3)]
    web = DomainRow("web-1", "web-1", 0.5, 0.0, current_mib=512, vcpus=2, maximum_mib=1024)
    kept = Store(str(tmp_path / "kvm1.sqlite"), keep_samples=100, max_bytes=1 << 20)
    for row in rows:
        events = [Event(NOON + 200, "asleep", "kvm2")] if row is rows[1] else []
        kept.add(row._replace(domains=[web]), events)
    kept.close()
    store(tmp_path / "kvm2.sqlite", rows[0])
    recording = recording_of(read(tmp_path).samples).recording
    assert {name: (host.threads, host.memory_mib) for name, host in recording.hosts.items()} == {
        "kvm1": (4, 4096),
        "kvm2": (4, 4096),
    }
    assert recording.hosts["kvm2"].asleep == [False, True, True]
    assert (recording.domains["web-1"].vcpus, recording.domains["web-1"].memory_mib) == (2, 1024.0)


def test_a_store_that_cannot_be_read_is_one_sentence(tmp_path: pathlib.Path) -> None:
    (tmp_path / "kvm1.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(BalanceError, match=r"^The history in .*kvm1\.sqlite cannot be read: file is not a database\.$"):
        read(tmp_path)


def test_the_facts_of_another_fleet_are_not_taken(tmp_path: pathlib.Path) -> None:
    (tmp_path / "load.csv").write_text(
        f"{HEAD}2026-01-31T12:00:00Z,kvm1,other,1,0,1\n2026-01-31T12:05:00Z,kvm1,other,1,0,1\n"
    )
    found = read(tmp_path / "load.csv", runs=runs(tmp_path / "runs"))
    assert found.samples.host_facts == {}
    assert found.notes == []


def test_the_last_run_of_the_same_fleet_is_found_behind_those_of_others(tmp_path: pathlib.Path) -> None:
    (tmp_path / "load.csv").write_text(
        f"{HEAD}2026-01-31T12:00:00Z,kvm1,web-1,1,0,1\n2026-01-31T12:05:00Z,kvm1,web-1,1,0,1\n"
    )
    saved = runs(tmp_path / "runs")
    (saved / "z").mkdir()
    other = saved / "z" / "snapshot.json"
    other.write_text(snapshot(20, fleets.domain("demo", "kvm1")))
    os.utime(other, (NOON * 2, NOON * 2))
    found = read(tmp_path / "load.csv", runs=saved)
    assert found.samples.domain_facts.keys() == {"web-1"}
    assert found.notes[0].startswith("What hosts and domains are like is taken from the last saved run, ")


def test_csv_with_hosts_is_a_recording(tmp_path: pathlib.Path) -> None:
    (tmp_path / "load.csv").write_text(
        f"{HEAD}2026-01-31T12:00:00Z,kvm1,web-1,1,0.5,1024\n2026-01-31T12:05:00Z,kvm1,web-1,1,0,1024\n"
    )
    (tmp_path / "hosts.csv").write_text("host,threads,memory_mib\nkvm1,4,8192\nkvm2,4,8192\n")
    recording = recording_of(read(tmp_path / "load.csv", hosts=tmp_path / "hosts.csv").samples).recording
    assert list(recording.hosts) == ["kvm1", "kvm2"]
    assert recording.domains["web-1"].wanted == [2.0, 1.0]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("nowhere", None, "backtest_source is {path}, and there is nothing of that name."),
        ("x" * 300, None, "backtest_source is {path}, which cannot be read: File name too long."),
        ("saved-latin.json", b"\xff", "{same}, which is no snapshot: {same}, which is no text."),
        ("latin.csv", b"\xff\xfe", "backtest_source is {path}, which is no text."),
        (
            "saved.json",
            b"[]",
            "backtest_source is {path}, which is no snapshot: A snapshot must be a mapping, not list.",
        ),
        (
            "",
            None,
            (
                "backtest_source is {path}, and there is no HOST.sqlite and no run with a snapshot.json. "
                "Name a directory of stores or of saved runs, or a CSV file."
            ),
        ),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    tmp_path: pathlib.Path, name: str, content: bytes | None, problem: str
) -> None:
    path = tmp_path / name if name else tmp_path
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BalanceError) as error:
        read(path)
    assert str(error.value) == problem.format(path=path, same=f"backtest_source is {path}")


def test_files_are_saved_as_a_whole_and_for_their_owner(tmp_path: pathlib.Path) -> None:
    assert save(tmp_path, {"a.csv": "text\n"}) == {"a.csv": str(tmp_path / "a.csv")}
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert os.stat(tmp_path / "a.csv").st_mode & 0o777 == 0o600


def test_what_is_no_text_or_leads_to_nothing_is_left_out(tmp_path: pathlib.Path) -> None:
    directory = runs(tmp_path / "runs")
    for name in ("d", "e"):
        (directory / name).mkdir()
    (directory / "d" / "snapshot.json").write_bytes(b"\xff\xfe")
    (directory / "e" / "snapshot.json").symlink_to(tmp_path / "nowhere")
    found = read(directory)
    assert len(found.samples.domains) == 4
    assert found.notes == [f"Left out, because it is no snapshot: {directory}/d/snapshot.json."]
    rows = tmp_path / "load.csv"
    rows.write_text(f"{HEAD}2026-01-31T12:00:00Z,kvm1,web-1,1,0,100\n")
    assert read(rows, runs=directory).samples.host_facts.keys() == {"kvm1", "kvm2"}


def test_a_store_with_nothing_in_it_is_left_out(tmp_path: pathlib.Path) -> None:
    store(tmp_path / "kvm1.sqlite", Row(NOON, 60, domains=[DomainRow("u", "web-1")]))
    (tmp_path / "kvm2.sqlite").touch()
    found = read(tmp_path)
    assert len(found.samples.domains) == 1
    assert found.notes == [f"Left out, because nothing is stored in it: {tmp_path}/kvm2.sqlite."]


def test_samples_of_a_clock_that_was_set_back_are_left_out(tmp_path: pathlib.Path) -> None:
    ahead = 1.0e9
    times = (NOON, NOON + 300, NOON + ahead, NOON + 600, NOON + 600, NOON + 900)
    store(tmp_path / "kvm1.sqlite", *(Row(at, 300, domains=[DomainRow("u", "web-1")]) for at in times))
    found = read(tmp_path)
    assert [sample.at - NOON for sample in found.samples.domains] == [900, 600, 300, 0]
    assert found.notes == ["Left out, because the clock of kvm1 was set back after them: 2 of its samples."]
