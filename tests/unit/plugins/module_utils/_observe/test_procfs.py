# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._observe import procfs
from ansible_collections.virtops.balance.plugins.module_utils._observe.procfs import Mount


def put(root: pathlib.Path, path: str, text: str = "") -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def test_nothing_there(tmp_path: pathlib.Path) -> None:
    root = str(tmp_path)
    assert procfs.read_pressure("cpu", root=root) is None
    assert procfs.read_meminfo(root=root) == {}
    assert procfs.read_arc_reclaimable_kib(root=root) == 0
    assert procfs.count_cpus(root=root) is None
    assert procfs.read_max_mhz(root=root) is None
    assert procfs.read_cpu_ticks(root=root) is None
    assert procfs.read_isolated_cpus(root=root) is None
    assert procfs.read_swapped_out_kib(root=root) is None
    assert procfs.read_cgroup_version(root=root) is None
    assert procfs.read_mounts(root=root) is None
    assert procfs.read_bridges(root=root) is None


def test_pressure(tmp_path: pathlib.Path) -> None:
    text = "some avg10=3.10 avg60=12.34 avg300=0.50 total=1\nfull avg10=9.00 avg60=99.00 avg300=9.00 total=2\n"
    put(tmp_path, "proc/pressure/memory", text)
    assert procfs.read_pressure("memory", root=str(tmp_path)) == 0.1234


def test_meminfo(tmp_path: pathlib.Path) -> None:
    put(tmp_path, "proc/meminfo", "MemTotal:  3145728 kB\nMemAvailable:  1891680 kB\nHugePages_Total:  0\n")
    assert procfs.read_meminfo(root=str(tmp_path)) == {"MemTotal": 3145728, "MemAvailable": 1891680}


@pytest.mark.parametrize(
    ("size", "minimum", "expected"), [(8 * 1024**3, 1024**3, 7 * 1024**2), (1024, 4096, 0), (0, 0, 0)]
)
def test_arc(tmp_path: pathlib.Path, size: int, minimum: int, expected: int) -> None:
    text = f"13 1 0x01 123 33456 1 2\nname type data\nc_min    4    {minimum}\nsize    4    {size}\nc_max   4   9\n"
    put(tmp_path, "proc/spl/kstat/zfs/arcstats", text)
    assert procfs.read_arc_reclaimable_kib(root=str(tmp_path)) == expected


def test_cpus(tmp_path: pathlib.Path) -> None:
    put(tmp_path, "proc/stat", "cpu  1 2 3\ncpu0 1 2 3\ncpu10 1 2 3\nintr 1 2\n")
    assert procfs.count_cpus(root=str(tmp_path)) == 2


def test_the_highest_clock_rate_is_the_mean_of_all_cpus(tmp_path: pathlib.Path) -> None:
    for number, rate in ((0, "3600000"), (1, "3800000"), (10, "3700000"), (11, "unknown")):
        put(tmp_path, f"sys/devices/system/cpu/cpu{number}/cpufreq/cpuinfo_max_freq", f"{rate}\n")
    put(tmp_path, "sys/devices/system/cpu/cpufreq/cpuinfo_max_freq", "9900000")
    assert procfs.read_max_mhz(root=str(tmp_path)) == 3700


def test_ticks_of_each_cpu(tmp_path: pathlib.Path) -> None:
    # user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice; an old kernel has fewer
    put(tmp_path, "proc/stat", "cpu  1 2 3\ncpu0 100 1 20 500 50 3 4 900 80 0\ncpu10 1 2 3 4\nintr 1 2\n")
    assert procfs.read_cpu_ticks(root=str(tmp_path)) == {0: (128, 678), 10: (6, 10)}


@pytest.mark.parametrize(("text", "expected"), [("\n", frozenset()), ("2-3,7\n", frozenset({2, 3, 7}))])
def test_isolated_cpus(tmp_path: pathlib.Path, text: str, expected: frozenset[int]) -> None:
    put(tmp_path, "sys/devices/system/cpu/isolated", text)
    assert procfs.read_isolated_cpus(root=str(tmp_path)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quiet\n", frozenset()),
        ("quiet isolcpus=domain,managed_irq,2-3,6 nohz_full=1\n", frozenset({2, 3, 6})),
        ("isolcpus=4", frozenset({4})),
    ],
)
def test_isolated_cpus_from_the_command_line(tmp_path: pathlib.Path, text: str, expected: frozenset[int]) -> None:
    put(tmp_path, "proc/cmdline", text)
    assert procfs.read_isolated_cpus(root=str(tmp_path)) == expected


def test_what_was_swapped_out(tmp_path: pathlib.Path) -> None:
    put(tmp_path, "proc/vmstat", "pgpgin 5\npswpin 100\npswpout 23\npswpinx 9\n")
    assert procfs.read_swapped_out_kib(root=str(tmp_path)) == 23 * os.sysconf("SC_PAGE_SIZE") // 1024


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cgroup.controllers": "cpuset cpu io memory"}, 2),
        ({"cpu/cpu.shares": "1024"}, 1),
        ({"cpu,cpuacct/cpu.shares": "1024"}, 1),
        pytest.param({"cgroup.controllers": "io", "cpu/cpu.shares": "1024"}, 1, id="hybrid"),
        ({"cgroup.controllers": ""}, None),
    ],
)
def test_cgroup_version(tmp_path: pathlib.Path, files: dict[str, str], expected: int | None) -> None:
    for name, text in files.items():
        put(tmp_path, f"sys/fs/cgroup/{name}", text)
    assert procfs.read_cgroup_version(root=str(tmp_path)) == expected


def test_mounts(tmp_path: pathlib.Path) -> None:
    put(
        tmp_path,
        "proc/self/mountinfo",
        "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
        "36 22 0:31 / /srv/my\\040images rw shared:2 master:1 - nfs4 nas:/a\\040b rw,vers=4.2\n"
        "broken line\n",
    )
    assert procfs.read_mounts(root=str(tmp_path)) == [
        Mount("/", "ext4", "/dev/vda1"),
        Mount("/srv/my images", "nfs4", "nas:/a b"),
    ]


def test_bridges(tmp_path: pathlib.Path) -> None:
    for name in ("eth0/statistics", "virbr0/bridge", "br0/bridge"):
        (tmp_path / "sys/class/net" / name).mkdir(parents=True)
    put(tmp_path, "run/openvswitch/ovsbr0.mgmt")
    put(tmp_path, "run/openvswitch/db.sock")
    assert procfs.read_bridges(root=str(tmp_path)) == ["br0", "ovsbr0", "virbr0"]
