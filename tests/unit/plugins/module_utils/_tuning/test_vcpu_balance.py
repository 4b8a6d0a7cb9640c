# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A round of vCPU balancing from samples to pins, on a host whose vCPUs really share their CPUs."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import original_settings
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._observe.host import Clock
from ansible_collections.virtops.balance.plugins.module_utils._tuning.vcpu_balance import balance, settings_from
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_inside import (
    LIVE,
    Guest,
    InsideHost,
    api_for,
)
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirtError

Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture(autouse=True)
def _no_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connection, "_ensure_events", lambda _api: None)


@pytest.fixture
def run(tmp_path: pathlib.Path) -> Run:
    """One round on a host whose /proc and /sys are files of the test."""

    def call(
        host: InsideHost, *, isolated: str = "", uri: str = "qemu:///system", check_mode: bool = False, **options: t.Any
    ) -> dict[str, t.Any]:
        stat = tmp_path / "proc" / "stat"
        stat.parent.mkdir(exist_ok=True)
        (tmp_path / "sys/devices/system/cpu").mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys/devices/system/cpu/isolated").write_text(isolated + "\n")

        def show() -> None:
            lines = [f"cpu{cpu} {busy} 0 0 {total - busy} 0 0 0\n" for cpu, (busy, total) in enumerate(host.ticks)]
            stat.write_text("cpu  0 0 0 0\n" + "".join(lines))

        def sleep(seconds: float) -> None:
            host.tick(seconds)
            show()

        show()
        clock = Clock(now=host.time, monotonic=host.time, sleep=sleep)
        options = {"interval": 5, **options}
        interval = options.pop("interval")
        return balance(
            api_for(host), uri, settings_from(options), interval=interval, check_mode=check_mode, clock=clock,
            root=str(tmp_path),
        )  # fmt: skip

    return call


def on(cpu: int, count: int = 1) -> dict[int, dict[int, frozenset[int]]]:
    return {LIVE: {number: frozenset({cpu}) for number in range(count)}}


def two_on_one() -> tuple[InsideHost, Guest, Guest]:
    host = InsideHost(2)
    return host, host.add("web-1", wants=[1.0], pins=on(0)), host.add("web-2", wants=[1.0], pins=on(0))


@pytest.mark.parametrize("algorithm", ["spread", "busiest_freest"])
def test_two_busy_guests_on_one_cpu_are_separated(run: Run, algorithm: str) -> None:
    host, first, second = two_on_one()

    would = run(host, algorithm=algorithm, check_mode=True)
    assert (first.commands, second.commands) == ([], [])
    done = run(host, algorithm=algorithm)

    assert done == would
    assert done["changed"]
    (moved,) = done["repinned"]
    assert (moved["name"], moved["vcpu"], moved["from"], moved["to"]) == ("web-1", 0, "0", "1")
    assert first.pins[LIVE][0] == {1}
    assert second.commands == []
    assert done["diff"]["after"] == {f"web-1 ({first.uuid})": {"0": "1"}}
    assert original_settings.parse_text(first.texts[LIVE]).pins == {0: "0"}
    ran = sum(first.ran + second.ran)
    assert not run(host, algorithm=algorithm)["changed"]
    assert sum(first.ran + second.ran) - ran == pytest.approx(10), "both CPUs work now"


def test_what_waits_counts(run: Run) -> None:
    host, _first, _second = two_on_one()
    done = run(host)
    assert done["cpus"] == [{"cpu": 0, "before": 2.0, "after": 1.0}, {"cpu": 1, "before": 0.0, "after": 1.0}]
    assert done["spread"] == {"before": 2.0, "after": 0.0}


def test_the_hosts_own_load_counts(run: Run) -> None:
    host = InsideHost(3)
    host.own = [0.0, 0.8, 0.0]
    for number in range(2):
        host.add(f"web-{number}", wants=[0.9], pins=on(0))
    assert [entry["to"] for entry in run(host)["repinned"]] == ["2"]


def test_free_vcpus_are_left_to_the_kernel_unless_asked_for(run: Run) -> None:
    host = InsideHost(2)
    guests = [host.add(f"web-{number}", wants=[0.9]) for number in range(2)]
    assert not run(host)["changed"]
    done = run(host, pin_free=True)
    assert [(entry["from"], entry["to"]) for entry in done["repinned"]] == [("all", "0"), ("all", "1")]
    assert [original_settings.parse_text(guest.texts[LIVE]).pins for guest in guests] == [{0: "all"}, {0: "all"}]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        pytest.param({}, "1", id="anywhere"),
        pytest.param({"cpuset": "0,3"}, "3", id="the cpuset of the domain"),
        pytest.param({"extra": "<numatune><memory mode='strict' nodeset='7'/></numatune>"}, None, id="a strict cell"),
        pytest.param({"extra": "<numatune><memory mode='strict' nodeset='0'/></numatune>"}, "1", id="its own cell"),
        pytest.param(
            {"texts": {LIVE: "<state><before><pin vcpu='0' cpus='0,2'/></before></state>"}}, "2", id="its set"
        ),
        pytest.param({"texts": {LIVE: "<state><before><pin vcpu='0' cpus='0'/></before></state>"}}, "1", id="one CPU"),
    ],
)
def test_where_a_vcpu_may_go(run: Run, how: dict[str, t.Any], expected: str | None) -> None:
    host = InsideHost(4)
    for name in ("web-1", "web-2"):
        host.add(name, wants=[1.0], pins=on(0), **how)
    assert [entry["to"] for entry in run(host)["repinned"]] == ([] if expected is None else [expected])


def test_isolated_cpus_are_neither_filled_nor_relieved(run: Run) -> None:
    host, first, second = two_on_one()
    assert not run(host, isolated="1")["changed"]
    assert not run(host, isolated="0")["changed"]
    assert (first.commands, second.commands) == ([], [])


@pytest.mark.parametrize(
    ("options", "moved"),
    [
        ({"domains": ["web-2"]}, ["web-2"]),
        ({"exclude": ["web-1"]}, ["web-2"]),
        ({"exclude": ["web-1", "web-2"]}, []),
        ({"domains": ["web-1"], "exclude": ["web-1"]}, []),
        ({"domains": ["web-*"]}, []),
        ({"domains": ["$(reboot)", "\u00fc"]}, []),
    ],
)
def test_whose_vcpus_may_move(run: Run, options: dict[str, t.Any], moved: list[str]) -> None:
    host, _first, _second = two_on_one()
    assert [entry["name"] for entry in run(host, **options)["repinned"]] == moved


def test_domains_by_uuid(run: Run) -> None:
    host, first, _second = two_on_one()
    assert [entry["name"] for entry in run(host, exclude=[first.uuid])["repinned"]] == ["web-2"]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"held": True}, "A job of libvirt holds web-1."),
        ({"job": {"type": 2, "operation": 5}}, "Libvirt runs a job on web-1 (migration_out)."),
        (
            {"refuses": {"pinVcpuFlags": FakeLibvirtError(38, "cannot set CPU affinity")}},
            "Cannot balance the vCPUs of web-1: cannot set CPU affinity.",
        ),
        (
            {"ignores": {"pinVcpuFlags"}},
            "Libvirt accepted the CPUs 1 for vCPU 0 of web-1, but reports 0.",
        ),
    ],
)
def test_a_domain_that_cannot_be_pinned_is_named(run: Run, how: dict[str, t.Any], reason: str) -> None:
    host, first, second = two_on_one()
    for name, value in how.items():
        setattr(first, name, value)
    third = host.add("web-3", wants=[1.0], pins=on(0))

    done = run(host)

    assert [(entry["name"], entry["reason"]) for entry in done["left_alone"]] == [("web-1", reason)]
    assert {entry["name"] for entry in done["repinned"]} <= {"web-2", "web-3"}
    assert first.pins[LIVE][0] == {0}
    assert "held" not in how or (second.pins[LIVE][0] | third.pins[LIVE][0]) == {0, 1}


def test_a_paused_domain_and_one_that_stopped_do_not_matter(run: Run) -> None:
    host, first, second = two_on_one()
    first.state_ = (3, 1)
    second.active = False
    assert run(host)["left_alone"] == []


def test_a_lost_connection_ends_it(run: Run) -> None:
    host, first, _second = two_on_one()
    first.refuses["pinVcpuFlags"] = FakeLibvirtError(1, "client socket is closed", 7)
    with pytest.raises(BalanceError, match="client socket is closed"):
        run(host)


NAN, HUGE = float("nan"), 1e12


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        *(({name: NAN}, f"{name} must be") for name in ("interval", "threshold", "target", "busy_above", "gain")),
        *(({name: HUGE}, f"{name} must be") for name in ("interval", "threshold", "target", "busy_above", "gain")),
        *(({name: -1}, f"{name} must be") for name in ("interval", "threshold", "target", "busy_above", "gain")),
        ({"interval": 0}, "interval must be a number from 0.1 to 3,600, but it is 0."),
        ({"gain": 0}, "gain must be a number from 0.01 to 100, but it is 0."),
        ({"threshold": 0.2, "target": 0.3}, "target must be a number from 0 to 0.2, but it is 0.3."),
        ({"algorithm": "x"}, "algorithm must be one of spread, busiest_freest."),
        ({"uri": "qemu+ssh://root@kvm2/system"}, "is another machine: run this on the host itself"),
    ],
)
def test_bad_input_is_one_sentence_and_no_action(run: Run, options: dict[str, t.Any], sentence: str) -> None:
    host, first, second = two_on_one()
    with pytest.raises(BalanceError) as raised:
        run(host, **options)
    assert sentence in raised.value.message
    assert (first.commands, second.commands) == ([], [])


def test_xen_needs_none_of_it(run: Run) -> None:
    host, _first, _second = two_on_one()
    host.kind = "Xen"
    with pytest.raises(BalanceError, match="Xen's scheduler"):
        run(host)


def test_a_host_whose_cpus_cannot_be_seen(tmp_path: pathlib.Path) -> None:
    host, _first, _second = two_on_one()
    clock = Clock(now=host.time, monotonic=host.time, sleep=host.sleep)
    arguments = {"interval": 1, "check_mode": False, "clock": clock, "root": str(tmp_path)}
    with pytest.raises(BalanceError, match="The isolated CPUs of the host cannot be read, so no vCPU is pinned"):
        balance(api_for(host), "qemu:///system", settings_from({}), **arguments)  # type: ignore[arg-type] # one dict
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cmdline").write_text("quiet")
    with pytest.raises(BalanceError, match="The load of each CPU of the host cannot be read"):
        balance(api_for(host), "qemu:///system", settings_from({}), **arguments)  # type: ignore[arg-type] # one dict
