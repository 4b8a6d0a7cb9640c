# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._observe import rates

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("before", "after", "elapsed", "expected"),
    [
        ({"cpu.time": 0}, {"cpu.time": 5 * SECOND}, 10.0, 0.5),
        ({"cpu.time": SECOND}, {"cpu.time": 21 * SECOND}, 5.0, 4.0),
        ({"cpu.time": 7}, {"cpu.time": 7}, 5.0, 0.0),
        pytest.param({"cpu.time": 9}, {"cpu.time": 7}, 5.0, None, id="went backwards"),
        pytest.param({"cpu.time": 9}, {}, 5.0, None, id="vanished"),
        pytest.param({}, {"cpu.time": 9}, 5.0, None, id="new"),
        pytest.param({"cpu.time": 9}, {"cpu.time": 9}, 0.0, None, id="no time passed"),
    ],
)
def test_cpu_cores(before: dict[str, int], after: dict[str, int], elapsed: float, expected: float | None) -> None:
    assert rates.cpu_cores(before, after, elapsed) == expected


def vcpus(*pairs: tuple[int, float | None, float | None], used: float | None = None) -> dict[str, t.Any]:
    """A sample of vCPUs (number, seconds that it ran, seconds that it waited) of a domain that ``used`` so many."""
    sample: dict[str, t.Any] = {"vcpu.current": len(pairs), "vcpu.maximum": 16}
    times = {"cpu.time": used}
    for number, ran, waited in pairs:
        times.update({f"vcpu.{number}.time": ran, f"vcpu.{number}.delay": waited, f"vcpu.{number}.wait": 0})
    return sample | {key: round(time * rates.NANOSECONDS) for key, time in times.items() if time is not None}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(vcpus((0, 0, 0)), vcpus((0, 75, 25)), 0.25, id="one"),
        pytest.param(vcpus((0, 0, 0), (7, 10, 10)), vcpus((0, 100, 0), (7, 10, 110)), 0.5, id="sparse array"),
        pytest.param(vcpus((0, 5, 5)), vcpus((0, 5, 5)), 0.0, id="idle"),
        pytest.param(vcpus((0, 0, 0)), vcpus((0, 90, 10), (1, 7, 7)), 0.1, id="plugged meanwhile"),
        pytest.param(vcpus((0, 0, 0), (1, 7, 7)), vcpus((0, 90, 10)), 0.1, id="unplugged meanwhile"),
        pytest.param(
            vcpus((0, 1.64, 3.0), used=2.808), vcpus((0, 1.64, 3.002), used=2.818), 0.167, id="at rest: ran for 10 ms"
        ),
        pytest.param(vcpus((0, 1.64, 3.0)), vcpus((0, 1.64, 3.005)), 0.2, id="at rest: ran for at most 20 ms"),
        pytest.param(
            vcpus((0, 1.0, 0), used=2), vcpus((0, 2.0, 1.02), used=9), 0.5, id="other threads of QEMU do not count"
        ),
        pytest.param(vcpus((0, 0, 9)), vcpus((0, 90, 3)), None, id="went backwards"),
        pytest.param(vcpus((0, 9, 0)), vcpus((0, 3, 3)), None, id="restarted"),
        pytest.param(vcpus((0, 0, None)), vcpus((0, 90, None)), None, id="no delay in this version"),
        pytest.param({}, {}, None, id="no vcpus"),
        pytest.param({}, vcpus((0, 90, 10)), None, id="new"),
    ],
)
def test_cpu_ready(before: dict[str, t.Any], after: dict[str, t.Any], expected: float | None) -> None:
    assert rates.cpu_ready(before, after) == expected


def host(kernel: int, user: int, idle: int, iowait: int | None = 0) -> dict[str, int]:
    sample = {"kernel": kernel, "user": user, "idle": idle, "iowait": iowait}
    return {key: value for key, value in sample.items() if value is not None}


@pytest.mark.parametrize(
    ("before", "after", "usage", "iowait"),
    [
        pytest.param(host(0, 0, 0), host(10, 30, 50, 10), 0.4, 0.1, id="all"),
        pytest.param(host(0, 0, 0, 20), host(10, 30, 50, 30), 0.4, 0.1, id="begins anywhere"),
        pytest.param(host(0, 0, 0, 20), host(10, 30, 70, 10), 0.4, None, id="iowait alone went backwards"),
        pytest.param(host(0, 0, 90), host(10, 30, 10), None, None, id="idle went backwards"),
        pytest.param(host(0, 0, 0, None), host(1, 3, 6, None), 0.4, None, id="no iowait"),
        pytest.param({"utilization": 1}, {"utilization": 2}, None, None, id="other counters"),
        pytest.param(host(1, 1, 1), host(1, 1, 1), None, None, id="no time passed"),
        pytest.param(None, host(1, 1, 1), None, None, id="no first"),
        pytest.param(host(1, 1, 1), None, None, None, id="no second"),
    ],
)
def test_host_cpu(
    before: dict[str, int] | None, after: dict[str, int] | None, usage: float | None, iowait: float | None
) -> None:
    assert rates.host_cpu(before, after) == {"usage": usage, "iowait": iowait}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param({0: (100, 1000), 1: (0, 1000)}, {0: (150, 1100), 1: (0, 1100)}, {0: 0.5, 1: 0.0}, id="two CPUs"),
        pytest.param({0: (100, 1000)}, {0: (150, 1100), 1: (0, 1)}, {0: 0.5}, id="a new CPU"),
        pytest.param({0: (100, 1000), 1: (9, 9)}, {0: (150, 1100)}, {0: 0.5}, id="a CPU went offline"),
        pytest.param({0: (100, 1000)}, {0: (100, 1000)}, {}, id="no time passed"),
        pytest.param({0: (100, 1000)}, {0: (99, 1001)}, {}, id="went backwards"),
        pytest.param({0: (0, 0)}, {0: (12, 10)}, {0: 1.0}, id="never more than all"),
        pytest.param(None, {0: (1, 1)}, None, id="not known"),
        pytest.param({0: (1, 1)}, None, None, id="not known any more"),
    ],
)
def test_cpu_loads(
    before: dict[int, tuple[int, int]] | None,
    after: dict[int, tuple[int, int]] | None,
    expected: dict[int, float] | None,
) -> None:
    assert rates.cpu_loads(before, after) == expected
