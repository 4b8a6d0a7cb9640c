# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The part of going to sleep that happens on the host."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._host import lease as _lease
from ansible_collections.virtops.balance.plugins.module_utils._host import power
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import (
    FakeConnection,
    FakeDomain,
    FakeLibvirt,
    FakeLibvirtError,
)


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The commands that were run; systemctl and rtcwake are scripts."""
    programs, log = tmp_path / "bin", tmp_path / "log"
    programs.mkdir()
    for name in ("systemctl", "rtcwake"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $@" >>{log}\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    log.touch()
    return log


def domain(name: str = "web-1", *, state: tuple[int, int] = (1, 1), **options: t.Any) -> FakeDomain:
    found = FakeDomain(name, "u", **options)
    found.state = lambda _flags=0: list(state)  # type: ignore[method-assign]  # what this test is about
    return found


def sleep(tmp_path: Path, *domains: FakeDomain, kind: str = "QEMU", method: str = "poweroff", **options: t.Any) -> None:
    api = FakeLibvirt(FakeConnection(domains=domains, kind=kind))
    given: dict[str, t.Any] = {"check_mode": False, "root": str(tmp_path), **options}
    power.go_to_sleep(api, "qemu:///system", method=method, **given)
    assert api.opened == [("openReadOnly", "qemu:///system")]


@pytest.mark.parametrize("method", ["poweroff", "suspend"])
def test_systemd_does_it(done: Path, tmp_path: Path, method: str) -> None:
    sleep(tmp_path, method=method)
    assert done.read_text() == f"systemctl --no-block {method}\n"


def test_the_alarm_is_set_first(done: Path, tmp_path: Path) -> None:
    sleep(tmp_path, wake_after_seconds=43200)
    assert done.read_text() == "rtcwake --mode no --seconds 43200\nsystemctl --no-block poweroff\n"


@pytest.mark.parametrize("options", [{"check_mode": True}, {"method": "redfish"}, {"method": "command"}])
def test_where_something_else_does_it_the_host_only_looks(
    done: Path, tmp_path: Path, options: dict[str, t.Any]
) -> None:
    sleep(tmp_path, **options)
    assert done.read_text() == ""


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        pytest.param((1, 1), "web-1 is running", id="running"),
        pytest.param((3, 1), "web-1 is paused", id="paused by a user"),
        pytest.param((3, 2), "web-1 is arriving or being started", id="incoming migration"),
        pytest.param((3, 11), "web-1 is arriving or being started", id="starting up"),
        pytest.param((6, 1), "web-1 is crashed", id="crashed"),
        pytest.param((7, 0), "web-1 is pmsuspended", id="suspended"),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_no_host_with_an_active_domain_is_put_to_sleep(
    done: Path, tmp_path: Path, state: tuple[int, int], sentence: str, check_mode: bool
) -> None:
    with pytest.raises(BalanceError, match=f"The host is not put to sleep: {sentence}"):
        sleep(tmp_path, domain(state=state), check_mode=check_mode)
    assert done.read_text() == ""
    assert _lease.read(root=str(tmp_path)) is None


def test_domains_that_are_only_defined_are_no_matter(done: Path, tmp_path: Path) -> None:
    sleep(tmp_path, domain(active=False))
    assert "poweroff" in done.read_text()


def test_domain_0_of_xen_is_the_host_itself(done: Path, tmp_path: Path) -> None:
    host = domain("Domain-0", domain_id=0)
    sleep(tmp_path, host, kind="Xen")
    with pytest.raises(BalanceError, match="web-1 is running"):
        sleep(tmp_path / "other", host, domain(), kind="Xen")


def test_a_lease_of_somebody_else_keeps_it_awake(done: Path, tmp_path: Path) -> None:
    _lease.take("cron@control", purpose="rebalance", seconds=600, root=str(tmp_path))
    for options in ({}, {"check_mode": True}, {"lease_owner": "me"}):
        with pytest.raises(BalanceError, match=r"leased to cron@control \(rebalance\)"):
            sleep(tmp_path, **options)
    assert done.read_text() == ""


def test_a_lease_that_its_owner_lost_keeps_it_awake(done: Path, tmp_path: Path) -> None:
    with pytest.raises(BalanceError, match="me does not hold a lease"):
        sleep(tmp_path, lease_owner="me")
    assert done.read_text() == ""


@pytest.mark.parametrize("owner", [None, "me"])
def test_from_then_on_it_is_leased_for_three_minutes(done: Path, tmp_path: Path, owner: str | None) -> None:
    clock = _lease.Clock()
    if owner is not None:
        _lease.take(owner, purpose="consolidate", seconds=900, root=str(tmp_path))
    sleep(tmp_path, lease_owner=owner)
    lease = _lease.read(root=str(tmp_path))
    assert lease is not None
    assert lease.owner.startswith(owner or "host_power ")
    assert 170 < lease.expires_boottime - clock.boottime() <= 180


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("echo no. >&2; exit 1", "systemctl --no-block poweroff failed: no"),
        ("exit 4", "it ended with 4"),
        # As in a locale of ISO 8859-1.
        (r"printf 'verweigert f\374r x\n' >&2; exit 1", "systemctl --no-block poweroff failed: verweigert f.r x"),
    ],
)
def test_systemd_that_cannot(done: Path, tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "bin" / "systemctl").write_text(f"#!/bin/sh\n{text}\n")
    with pytest.raises(BalanceError, match=sentence):
        sleep(tmp_path)
    assert _lease.read(root=str(tmp_path)) is None


def test_a_host_without_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BalanceError, match="systemctl cannot be run: No such file"):
        sleep(tmp_path)


@pytest.mark.parametrize("owner", [None, "me"])
def test_that_lease_ends_when_the_host_was_woken(done: Path, tmp_path: Path, owner: str | None) -> None:
    if owner is not None:
        _lease.take(owner, purpose="consolidate", seconds=900, root=str(tmp_path))
    sleep(tmp_path, lease_owner=owner)
    power.wake_up(FakeLibvirt(), "qemu:///system", root=str(tmp_path))
    assert _lease.read(root=str(tmp_path)) is None


def test_any_other_lease_stays(tmp_path: Path) -> None:
    _lease.take("me", purpose="consolidate", seconds=900, root=str(tmp_path))
    power.wake_up(FakeLibvirt(), "qemu:///system", root=str(tmp_path))
    assert _lease.read(root=str(tmp_path)) is not None


class BrokenConnection(FakeConnection):
    """As if the daemon had ended."""

    def listAllDomains(self, flags: int = 0) -> list[FakeDomain]:  # noqa: N802
        raise FakeLibvirtError(38, "End of file", 7)


def test_libvirt_that_fails(tmp_path: Path) -> None:
    api = FakeLibvirt(BrokenConnection())
    with pytest.raises(BalanceError, match="Cannot list the domains: End of file"):
        power.answer(api, "qemu:///system")
    with pytest.raises(BalanceError, match="Cannot list the domains: End of file"):
        power.go_to_sleep(api, "qemu:///system", method="poweroff", check_mode=False, root=str(tmp_path))
