# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Weight and cap of one domain: what is set where, and what is left alone."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._observe import procfs
from ansible_collections.virtops.balance.plugins.module_utils._tuning.domain_cputune import Request, tune
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import (
    MAX_QUOTA,
    UUID,
    Domain,
    Fleet,
)
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirtError

FREE = {"cpu_shares": 1024, "global_period": 100_000, "global_quota": -1, "vcpu_period": 100_000, "vcpu_quota": -1}
WRITES = ("setSchedulerParametersFlags", "setSchedulerParameters")


@pytest.fixture(autouse=True)
def _no_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connection, "_ensure_events", lambda _api: None)


def domain(kind: str = "QEMU", **values: t.Any) -> Domain:
    fleet = Fleet()
    fleet.hosts["kvm1"].kind = kind
    return fleet.add(**{"scheduler": dict(FREE), **values})


def call(of: Domain, *, check_mode: bool = False, **wanted: t.Any) -> dict[str, t.Any]:
    request = Request(**{"uri": "test://kvm1/", "domain": "web-1", "cgroup_version": 1, **wanted})
    return tune(of.fleet, request, check_mode=check_mode)


def writes(of: Domain) -> list[str]:
    return [name for name in of.commands if name in WRITES]


@pytest.mark.parametrize("key", ["web-1", UUID])
def test_both_are_set_in_the_running_domain_and_in_its_definition(key: str) -> None:
    found = domain()

    result = call(found, domain=key, weight=2, cap=50)

    assert result["changed"]
    assert result["live"] == result["definition"] == {"weight": 2, "cap": 50}
    assert (result["name"], result["uuid"]) == ("web-1", UUID)
    assert result["diff"]["before"] == {place: {"weight": 1, "cap": 0} for place in ("live", "definition")}
    assert result["diff"]["after"] == {place: {"weight": 2, "cap": 50} for place in ("live", "definition")}
    assert found.scheduler == {**FREE, "cpu_shares": 2048, "global_quota": 50_000}
    assert found.defined == {"cpu_shares": 2048, "global_quota": 50_000}


@pytest.mark.parametrize(
    ("weight", "cap"),
    [(1.0, 0), (2, 50), (1 / 3, 100 / 3), (0.02, 1), (100, 1_000_000), (0.0999, 33.3333), (7.77777, 12.34567)],
)
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("kind", ["QEMU", "Xen"])
def test_a_second_time_changes_nothing(weight: float, cap: float, version: int, kind: str) -> None:
    found = domain(kind, scheduler=dict(FREE) if kind == "QEMU" else {"weight": 256, "cap": 0})
    cap = min(cap, 65_535) if kind == "Xen" else cap
    call(found, weight=weight, cap=cap, cgroup_version=version)
    before = writes(found)

    result = call(found, weight=weight, cap=cap, cgroup_version=version)

    assert not result["changed"]
    assert result["diff"]["before"] == result["diff"]["after"]
    assert writes(found) == before


def test_nothing_is_written_for_what_is_the_default() -> None:
    found = domain()

    assert not call(found, weight=1.0, cap=0)["changed"]
    assert writes(found) == []


def unified(defined: dict[str, t.Any] | None = None, **values: t.Any) -> Domain:
    """A domain on a host with cgroup version 2, as recorded with libvirt 11.3: all quotas are there and none is one."""
    names = ("vcpu", "emulator", "global", "iothread")
    shown = {"cpu_shares": 100, **{f"{n}_period": 100_000 for n in names}, **{f"{n}_quota": MAX_QUOTA for n in names}}
    return domain(scheduler={**shown, **values}, defined=defined or {}, unified=True)


@pytest.mark.parametrize("quotas", [{}, {"vcpu_quota": 60_000}, {"global_quota": 60_000}])
def test_no_cap_is_none_with_cgroup_version_2(quotas: dict[str, t.Any]) -> None:
    found = unified(**quotas)

    result = call(found, cap=0, cgroup_version=2)

    assert result["changed"] == bool(quotas)
    assert result["live"] == {"weight": 1, "cap": 0}
    assert writes(found) == ["setSchedulerParametersFlags"] * len(quotas)
    assert not call(found, cap=0, cgroup_version=2)["changed"]


def test_a_cap_is_set_with_cgroup_version_2() -> None:
    found = unified()

    assert call(found, cap=50, weight=2, cgroup_version=2)["live"] == {"weight": 2, "cap": 50}

    # "No quota" is never written where there is none: libvirt would keep it in the definition.
    assert found.cputune == ""
    assert found.defined == {"cpu_shares": 200, "global_quota": 50_000}


def test_a_cap_that_is_taken_away_leaves_no_quota_in_the_definition() -> None:
    found = unified(global_quota=50_000, defined={"global_quota": 50_000, "vcpu_quota": -1})

    assert call(found, cap=0, cgroup_version=2)["definition"] == {"weight": 1, "cap": 0}

    # What libvirt takes for "remove it"; the quota that was none before is left as it is.
    assert found.defined == {"global_quota": 0, "vcpu_quota": -1}


def test_what_was_not_asked_for_stays() -> None:
    found = domain(scheduler={**FREE, "cpu_shares": 77, "global_quota": 30_000})

    assert call(found, weight=3)["live"] == {"weight": 3, "cap": 30}
    assert call(found, cap=0, weight=None)["live"] == {"weight": 3, "cap": 0}
    assert found.defined == {"cpu_shares": 3072}


@pytest.mark.parametrize(
    ("scheduler", "cap", "expected"),
    [
        pytest.param({"global_period": 50_000, "global_quota": 10_000}, 30, (50_000, 15_000, -1), id="its own period"),
        pytest.param({"global_period": 2_000}, 20, (100_000, 20_000, -1), id="a period that is too short"),
        pytest.param({"vcpu_quota": 60_000}, 30, (100_000, 30_000, -1), id="a ceiling for each virtual CPU"),
        pytest.param({"vcpu_quota": 60_000}, 0, (100_000, -1, -1), id="and none at all"),
    ],
)
def test_periods_and_other_ceilings(scheduler: dict[str, int], cap: float, expected: tuple[int, int, int]) -> None:
    found = domain(scheduler={**FREE, **scheduler})

    assert call(found, cap=cap, persistent=False)["live"]["cap"] == cap

    assert tuple(found.scheduler[key] for key in ("global_period", "global_quota", "vcpu_quota")) == expected


def test_the_ceiling_of_virtual_cpus_goes_before_that_of_the_domain_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = domain(scheduler={**FREE, "vcpu_quota": 60_000})
    order: list[str] = []
    setter = Domain.setSchedulerParametersFlags

    def record(self: Domain, values: dict[str, t.Any], flags: int) -> None:
        order.extend(values)
        setter(self, values, flags)

    monkeypatch.setattr(Domain, "setSchedulerParametersFlags", record)
    call(found, cap=30, persistent=False)

    assert order == ["vcpu_quota", "global_quota"]


@pytest.mark.parametrize(
    ("values", "options", "live", "definition"),
    [
        pytest.param({}, {"persistent": False}, 50, None, id="live only"),
        pytest.param({}, {"live": False}, None, 50, id="definition only"),
        pytest.param({"now": None}, {}, None, 50, id="not running"),
        pytest.param({"persistent": False}, {}, 50, None, id="transient"),
    ],
)
def test_where_it_is_set(
    values: dict[str, t.Any], options: dict[str, bool], live: float | None, definition: float | None
) -> None:
    found = domain(**values)

    result = call(found, cap=50, **options)

    assert [result[place] and result[place]["cap"] for place in ("live", "definition")] == [live, definition]
    assert found.scheduler["global_quota"] == (50_000 if live else -1)
    assert found.defined == ({"global_quota": 50_000} if definition else {})


def test_xen_has_no_definition_of_it() -> None:
    found = domain("Xen", scheduler={"weight": 256, "cap": 0})

    result = call(found, weight=0.5, cap=150, cgroup_version=None)

    assert (result["live"], result["definition"]) == ({"weight": 0.5, "cap": 150}, None)
    assert found.scheduler == {"weight": 128, "cap": 150}


def test_check_mode_tells_and_writes_nothing() -> None:
    found = domain()

    result = call(found, weight=2, cap=33.3333, check_mode=True)

    assert result["changed"]
    assert result["live"] == {"weight": 2, "cap": 33.333}
    assert writes(found) == []


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"job": {"type": 2, "operation": 5}}, r"Libvirt runs a job on web-1 \(migration_out\)\. Its CPU is not tuned"),
        ({"now": (3, 2)}, r"A migration of web-1 is under way, or was left in the middle\. Its CPU is not tuned"),
    ],
)
def test_a_domain_that_a_job_holds_is_not_touched(values: dict[str, t.Any], sentence: str) -> None:
    found = domain(**values)

    for check_mode in (False, True):
        with pytest.raises(BalanceError, match=sentence):
            call(found, cap=50, check_mode=check_mode)

    assert writes(found) == []
    # There is nothing to wait for where nothing is to be changed.
    assert not call(found, cap=0)["changed"]


@pytest.mark.parametrize("wanted", [{"weight": 2.0}, {"cap": 50.0}])
@pytest.mark.parametrize("kind", ["QEMU", "Xen"])
def test_what_did_not_take_is_an_error(wanted: dict[str, t.Any], kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = domain(kind, scheduler=dict(FREE) if kind == "QEMU" else {"weight": 256, "cap": 0})
    for name in WRITES:
        monkeypatch.setattr(Domain, name, lambda *_arguments: None)

    with pytest.raises(BalanceError, match=r"The hypervisor accepted for web-1 \(live\) \S+ \d+, but reports -?\d+\."):
        call(found, **wanted)


def test_an_error_of_libvirt_is_one_sentence() -> None:
    found = domain(refuses={"setSchedulerParametersFlags": FakeLibvirtError(38, "Unable to write to cpu.shares")})

    with pytest.raises(BalanceError, match=r"Cannot tune the CPU of 'web-1': Unable to write to cpu\.shares\."):
        call(found, weight=2)


@pytest.mark.parametrize(
    ("values", "options", "sentence"),
    [
        pytest.param({}, {"weight": weight}, "weight must be a number from 0.02 to 100", id=f"weight {weight}")
        for weight in (0, -1, 0.019, 100.01, 1e12, float("nan"), float("inf"), float("-inf"))
    ]
    + [
        pytest.param({}, {"cap": cap}, r"cap must be 0 \(none\) or a number from 1 to 1000000", id=f"cap {cap}")
        for cap in (-1, 0.5, 1e12, float("nan"), float("inf"))
    ]
    + [
        pytest.param({}, {"domain": name}, "domain must be the UUID or the name", id=f"name {name!a}")
        for name in (None, "", "  ", "a\0b", "a\nb", "\x1b[2J", "\ud800")
    ]
    + [
        pytest.param({}, {"domain": name}, "There is no domain", id=f"name {name!a}")
        for name in ("$(reboot)", "; rm -rf /", "web-1'", "ẅeb-1", "<web/>", "../web-1", "a" * 5000)
    ]
    + [
        pytest.param({}, {"live": False, "persistent": False}, "live and persistent are both false", id="nowhere"),
        pytest.param({"now": None}, {"persistent": False}, "web-1 is not running here", id="not running"),
        pytest.param({"persistent": False}, {"live": False}, r"no definition .*\(it is transient\)", id="transient"),
    ],
)
def test_bad_input_is_one_sentence_and_no_action(
    values: dict[str, t.Any], options: dict[str, t.Any], sentence: str
) -> None:
    found = domain(**values)

    with pytest.raises(BalanceError, match=sentence):
        call(found, **{"cap": 50, **options})

    assert writes(found) == []


@pytest.mark.parametrize(("cap", "weight"), [(65_536, None), (0.4, None)])
def test_the_ranges_of_xen(cap: float, weight: float | None) -> None:
    found = domain("Xen", scheduler={"weight": 256, "cap": 0})

    with pytest.raises(BalanceError, match="cap must be 0"):
        call(found, cap=cap, weight=weight)


@pytest.mark.parametrize("local", [True, False])
def test_the_cgroup_version_is_looked_up_where_it_can_be(local: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = domain()
    monkeypatch.setattr(procfs, "read_cgroup_version", lambda: 2)
    monkeypatch.setattr(_connection, "is_local", lambda _uri: local)

    if local:
        call(found, weight=2, cgroup_version=None, persistent=False)
        assert found.scheduler["cpu_shares"] == 200
    else:
        with pytest.raises(BalanceError, match="Set cgroup_version, or run the module on the hypervisor"):
            call(found, weight=2, cgroup_version=None)
        # A cap is the same in both.
        assert call(found, cap=50, cgroup_version=None)["live"] == {"weight": None, "cap": 50}
