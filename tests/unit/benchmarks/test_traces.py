# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The benchmark of a day of load, on days that are small enough for a test."""

from __future__ import annotations

import json
import lzma
import random
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.benchmarks.traces import cli, loads, planetlab, table
from ansible_collections.virtops.balance.benchmarks.traces.cases import Case, Row, run
from ansible_collections.virtops.balance.benchmarks.traces.policies import (
    CONSOLIDATE,
    HISTORY,
    MOMENT,
    NOTHING,
    SAVING,
    consolidating,
)
from ansible_collections.virtops.balance.benchmarks.traces.targets import exceptions, targets

ROW = Row("20110303 1/8", 0, SAVING, 21.0, 823, 7, 12, 0.0004, 0.0007, 0.0006, 0.0, 9.0)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A day of half an hour with 16 machines."""
    generator = random.Random(1)
    rows = [",".join(f"vm{number}" for number in range(16))]
    rows += [",".join(str(generator.randint(0, 60)) for _machine in range(16)) for _time in range(6)]
    path = tmp_path / "planetlab-20110303.csv.xz"
    path.write_bytes(lzma.compress("\n".join(rows).encode()))
    return path


def test_a_trace_is_read(trace: Path, tmp_path: Path) -> None:
    columns = planetlab.read(trace)
    assert (len(columns), len(columns[0]), 0.0 <= columns[0][0] <= 0.6) == (16, 6, True)
    plain = tmp_path / "plain.csv"
    plain.write_text("a,b\n10,20\n30,0\n", encoding="utf-8")
    assert planetlab.read(plain) == [[0.1, 0.3], [0.2, 0.0]]


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "a,b\n1,2\n1\n", "a\n1\nx\n"])
def test_what_is_no_trace_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"wrong\.csv is no trace: "):
        planetlab.read(path)


def test_the_setting_is_the_published_one(trace: Path) -> None:
    found = planetlab.recording(trace, 2)
    assert (len(found.hosts), len(found.domains), found.steps) == (400, 8, 6)
    slow, fast = found.hosts["h000"], found.hosts["h001"]
    assert slow.threads * slow.speed == 2.0
    assert fast.threads * fast.speed == pytest.approx(2 * 2660 / 1860)
    sizes = [domain.memory_mib for domain in found.domains.values()]
    assert sizes == [870.0] * 2 + [1740.0] * 4 + [613.0] * 2
    first = next(iter(found.domains.values()))
    assert first.wanted[0] == pytest.approx(planetlab.read(trace)[0][0] * 2500 / 1860)
    asleep = {name for name, host in found.hosts.items() if host.asleep is not None}
    assert asleep == found.hosts.keys() - {domain.where[0] for domain in found.domains.values()}


@pytest.mark.parametrize("kind", loads.KINDS)
def test_a_seed_gives_one_load(kind: str) -> None:
    found = loads.recording(kind, 3)
    assert found == loads.recording(kind, 3)
    assert found != loads.recording(kind, 4)
    wanted = [value or 0.0 for domain in found.domains.values() for value in domain.wanted]
    mean = sum(wanted) / found.steps / (loads.HOSTS * loads.THREADS)
    assert 0.45 <= mean <= 0.75


@pytest.mark.parametrize("who", ["reference THR", "reference LR", MOMENT, HISTORY, SAVING])
def test_a_small_day_is_replayed(trace: Path, who: str) -> None:
    row = run(Case(str(trace), 0, who, 2))
    assert row.load == "planetlab-20110303 1/2"
    assert row.kwh is not None
    assert 0.0 < row.kwh < 1.0
    assert 0.0 <= row.unserved < 0.1
    again = run(Case(str(trace), 0, who, 2))
    assert replace(again, cpu_seconds=row.cpu_seconds) == row


def test_what_is_recommended_depends_on_the_size_of_the_fleet() -> None:
    assert consolidating(SAVING, 100) == {**CONSOLIDATE[SAVING], "max_moves": 20}
    assert consolidating(MOMENT, 100) == CONSOLIDATE[MOMENT]
    assert consolidating("reference THR", 100) is None


def test_the_reference_relieves_and_empties(trace: Path) -> None:
    row = run(Case(str(trace), 0, "reference THR", 2))
    assert row.moves > 0


def test_a_load_that_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loads, "TIMES", 4)
    row = run(Case("steady .1", 1, NOTHING))
    assert (row.moves, row.kwh) == (0, None)


def test_what_was_reached() -> None:
    day = [(one.what, round(one.most, 9), round(one.measured, 9), one.reached) for one in targets([ROW], 8)]
    assert day == [
        ("kWh", 21.6, 21.0, True),
        ("moves", 823.0, 823, True),
        ("host-time full, %", 0.05, 0.04, True),
        ("  if demand is held", 0.05, 0.06, False),
        ("unserved, %", 0.06, 0.07, False),
    ]
    assert [one.most for one in targets([ROW], 1)][:2] == [172.8, 6585.0]
    made = [
        replace(ROW, load="steady .5", seed=seed, who=who, moves=moves, back=0, unserved=unserved)
        for seed, who, moves, unserved in [
            (1, HISTORY, 20, 0.0001),
            (2, HISTORY, 90, 0.0002),
            (3, HISTORY, 22, 0.0009),
            (1, MOMENT, 900, 0.001),
            (2, MOMENT, 80, 0.001),
            (3, MOMENT, 700, 0.0005),
        ]
    ]
    found = {one.what: (round(one.measured, 9), one.reached) for one in targets(made, 8)}
    assert found["moves"] == (22.0, True)
    assert found["moves, against the moment"] == (22.0, True)
    assert found["unserved, %"] == (0.02, True)
    assert exceptions(made) == [
        "steady .5, seed 2: 90 moves, by the moment 80",
        "steady .5, seed 3: unserved 0.0900%, by the moment 0.0500%",
    ]


def test_the_tables_fit_a_terminal() -> None:
    rows = [ROW, replace(ROW, load="grows", kwh=None, seed=1, who=MOMENT, moves=1234)]
    found = [*table.lines(rows), *table.target_lines(targets(rows, 8))]
    assert all(len(line) <= 120 for line in found)
    assert found[1].split() == [
        *("20110303", "1/8", "recommended", "21.00", "823", "7", "12"),
        *("0.040", "0.070", "0.060", "0.000", "9.0"),
    ]


def test_the_command_line(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--trace", str(trace), "--scale", "8", "--loads", "", "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["who"] for row in rows] == [MOMENT, HISTORY, SAVING, "reference THR", "reference LR"]
    with pytest.raises(SystemExit):
        cli.main(["--loads", "steady"])
    assert "there is no load steady; known are steady .1" in capsys.readouterr().err
