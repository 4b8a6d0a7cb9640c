# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Figures that something measured, and none where nothing does."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._observe import power_meter
from ansible_collections.virtops.balance.plugins.module_utils._observe.power_meter import Energy

RANGE = 262_143_328_850
# A machine with two sockets: zone -> name, microjoule.
ZONES = {
    "intel-rapl": None,
    "intel-rapl:0": ("package-0", 5_000_000),
    "intel-rapl:0:0": ("core", 3_000_000),
    "intel-rapl:0:1": ("dram", 1_000_000),
    "intel-rapl:1": ("package-1", 7_000_000),
    "intel-rapl:2": ("psys", 90_000_000),
    "intel-rapl-mmio:0": ("package-0", 5_000_000),
    "dtpm": ("dtpm", 1),
}


def zones(root: Path, energy: dict[str, tuple[str, int] | None] | None = None) -> None:
    for zone, content in (energy or ZONES).items():
        path = root / "sys/class/powercap" / zone
        path.mkdir(parents=True)
        if content is not None:
            (path / "name").write_text(f"{content[0]}\n")
            (path / "energy_uj").write_text(f"{content[1]}\n")
            (path / "max_energy_range_uj").write_text(f"{RANGE}\n")


def test_packages_and_memory_are_counted_once(tmp_path: Path) -> None:
    zones(tmp_path)
    assert power_meter.read_energy(root=str(tmp_path)) == {
        "intel-rapl:0": Energy(5_000_000, RANGE),
        "intel-rapl:0:1": Energy(1_000_000, RANGE),
        "intel-rapl:1": Energy(7_000_000, RANGE),
    }


@pytest.mark.parametrize("broken", ["energy_uj", "name", "max_energy_range_uj"])
def test_a_counter_that_cannot_be_read_is_none(tmp_path: Path, broken: str) -> None:
    zones(tmp_path, {"intel-rapl:0": ("package-0", 5)})
    (tmp_path / "sys/class/powercap/intel-rapl:0" / broken).unlink()
    assert power_meter.read_energy(root=str(tmp_path)) == {}


def test_a_machine_without_counters(tmp_path: Path) -> None:
    assert power_meter.read_energy(root=str(tmp_path)) == {}


@pytest.mark.parametrize(
    ("before", "after", "seconds", "watts"),
    [
        pytest.param({"a": 1_000_000}, {"a": 101_000_000}, 5.0, 20.0, id="one"),
        pytest.param({"a": 0, "b": 0}, {"a": 100_000_000, "b": 50_000_000}, 2.0, 75.0, id="two"),
        pytest.param({"a": RANGE - 9_999_999}, {"a": 10_000_000}, 1.0, 20.0, id="started again at 0"),
        pytest.param({}, {}, 5.0, None, id="none"),
        pytest.param({"a": 1}, {}, 5.0, None, id="gone meanwhile"),
        pytest.param({"a": 1}, {"a": 1}, 0.0, None, id="no time"),
    ],
)
def test_watts_are_energy_over_time(
    before: dict[str, int], after: dict[str, int], seconds: float, watts: float | None
) -> None:
    first, second = ({zone: Energy(used, RANGE) for zone, used in reading.items()} for reading in (before, after))
    assert power_meter.cpu_watts(first, second, seconds) == watts


READING = """
    Instantaneous power reading:                   213 Watts
    Minimum during sampling period:                  2 Watts
    Maximum during sampling period:                481 Watts
    Average power reading over sample period:      207 Watts
    IPMI timestamp:                           Sat Jan 31 12:00:00 2026
    Sampling period:                          00000001 Seconds.
    Power reading state is:                   activated
"""


@pytest.mark.parametrize(
    ("said", "watts"),
    [
        pytest.param(READING, 213.0, id="a reading"),
        pytest.param(READING.replace("activated", "deactivated"), None, id="not active"),
        pytest.param(READING.replace("213", "0"), None, id="no sensor"),
        pytest.param("DCMI request failed because: Invalid command (c1)", None, id="no DCMI"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_the_bmc_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, watts: float | None) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/ipmi0").touch()
    (tmp_path / "said").write_text(said)
    program = tmp_path / "ipmitool"
    program.write_text(f'#!/bin/sh\n[ "$*" = "dcmi power reading" ] && cat {tmp_path}/said\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert power_meter.read_watts(root=str(tmp_path)) == watts


def test_without_a_bmc_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power_meter.subprocess, "run", lambda *_arguments, **_options: pytest.fail("asked"))
    assert power_meter.read_watts(root=str(tmp_path)) is None


def test_a_host_without_ipmitool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/ipmi0").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert power_meter.read_watts(root=str(tmp_path)) is None


def test_every_figure_says_that_it_was_measured() -> None:
    assert power_meter.describe(213.0, 88.4) == {
        "watts": 213.0,
        "source": "measured",
        "cpu_watts": 88.4,
        "cpu_source": "measured",
    }
    assert set(power_meter.describe(None, None).values()) == {None}
