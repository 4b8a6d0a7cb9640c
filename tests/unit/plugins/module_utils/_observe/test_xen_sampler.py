# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._observe import host as observed_host
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import (
    GIB,
    FakeConnection,
    FakeDomain,
    FakeLibvirt,
    FakeLibvirtError,
)

SECOND = 1_000_000_000
NO_SUPPORT = FakeLibvirtError(3, "this function is not supported by the connection driver")
# What libvirt's Xen driver does not have (11.3, with Xen 4.20).
MISSING = dict.fromkeys(
    ("getCPUStats", "getMemoryStats", "getCPUMap", "getCPUModelNames", "getFreePages", "compareCPU", "interfaces"),
    NO_SUPPORT,
)


def info(seconds: float) -> dict[str, t.Any]:
    """What virDomainGetInfo returns."""
    return {"state": 1, "maximum": 4194304, "current": 2097152, "vcpus": 2, "time": int(seconds * SECOND)}


def xen(*domains: FakeDomain, **answers: t.Any) -> FakeConnection:
    class Xen(FakeConnection):
        def getAllDomainStats(self, groups: int, flags: int) -> t.NoReturn:  # noqa: N802
            pytest.fail("the Xen driver has no getAllDomainStats")

    dom0 = FakeDomain("Domain-0", "0" * 32, domain_id=0, stats=[info(100), info(102)])
    node = {"getInfo": ["x86_64", 65536, 4, 2400, 1, 1, 4, 1], "getFreeMemory": 8 * GIB}
    return Xen(domains=[dom0, *domains], kind="Xen", **{**MISSING, **node, **answers})


@pytest.fixture(autouse=True)
def pressure_of_domain_0(tmp_path: pathlib.Path) -> None:
    (tmp_path / "proc/pressure").mkdir(parents=True)
    for what in ("cpu", "memory"):
        (tmp_path / "proc/pressure" / what).write_text("some avg10=70.19 avg60=60.00 avg300=30.00 total=1\n")


def observe(fake: FakeConnection, root: pathlib.Path) -> dict[str, t.Any]:
    times = iter((0.0, 0.0, 0.0, 10.0, 10.0))
    clock = observed_host.Clock(now=lambda: 0.0, monotonic=lambda: next(times), sleep=lambda _seconds: None)
    return observed_host.observe(
        Connection(FakeLibvirt(fake), fake, "xen:///system"), interval=10, clock=clock, root=str(root)
    )


def test_observation(tmp_path: pathlib.Path) -> None:
    web = FakeDomain("web-1", "u1", stats=[info(10), info(15)], scheduler={"weight": 512, "cap": 150})
    late = FakeDomain("new-1", "u2", stats=[None, info(3)], domain_id=9)
    gone = FakeDomain("old-1", "u3", stats=[info(10), None], domain_id=8)
    observation = observe(xen(web, late, gone), tmp_path)
    host = observation["host"]
    # Domain-0 2 s, web-1 5 s and new-1 3 s, of 4 CPUs for 10 s
    assert (host["cpu"]["usage"], host["cpu"]["iowait"], host["cpu"]["threads"]) == (0.25, None, 4)
    assert (host["memory"]["total_mib"], host["memory"]["available_mib"]) == (65536, 8192)
    assert host["memory"]["swap_used_mib"] is None
    assert host["cpu"]["max_mhz"] == host["cpu"]["mhz"] == 2400
    assert (host["cpu"]["pressure"], host["memory"]["pressure"]) == (None, None), (
        "that of Domain-0 tells of itself only"
    )
    domains = {entry["name"]: entry for entry in observation["domains"]}
    assert set(domains) == {"web-1", "new-1"}
    entry = domains["web-1"]
    assert (entry["cpu_cores"], entry["cpu_ready"], entry["vcpus"], entry["state"]) == (0.5, None, 2, "running")
    assert (entry["weight"], entry["cap"]) == (2.0, 150)
    assert entry["memory"] == {
        "maximum_mib": 4096,
        "current_mib": 2048,
        "rss_mib": None,
        "usable_mib": None,
        "available_mib": None,
        "fresh": None,
    }
    assert entry["job"] is None
    assert (domains["new-1"]["cpu_cores"], domains["new-1"]["weight"], domains["new-1"]["cap"]) == (None, None, None)


def test_a_domain_that_started_anew(tmp_path: pathlib.Path) -> None:
    web = FakeDomain("web-1", "u1", stats=[info(500), info(6)])
    observation = observe(xen(web), tmp_path)
    assert observation["host"]["cpu"]["usage"] == 0.2
    assert observation["domains"][0]["cpu_cores"] is None


def test_without_the_number_of_cpus_the_usage_is_not_known(tmp_path: pathlib.Path) -> None:
    assert observe(xen(getInfo=NO_SUPPORT), tmp_path)["host"]["cpu"]["usage"] is None


def test_other_errors_rise(tmp_path: pathlib.Path) -> None:
    def broken() -> t.NoReturn:
        raise FakeLibvirtError(38, domain=7)

    web = FakeDomain("web-1", "u1")
    web.info = broken  # type: ignore[method-assign]  # the host is lost
    with pytest.raises(FakeLibvirtError):
        observe(xen(web), tmp_path)
