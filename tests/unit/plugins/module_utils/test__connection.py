# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError, DeadlineError
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import (
    FakeLibvirt,
    FakeLibvirtError,
)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("qemu:///system", "qemu:///system"),
        ("qemu+tls://h/system", "qemu+tls://h/system"),
        ("qemu+ssh://h/system", "qemu+ssh://h/system?no_tty=1"),
        ("xen+ssh://root@h:22/", "xen+ssh://root@h:22/?no_tty=1"),
        ("qemu+ssh://h/system?keyfile=/k", "qemu+ssh://h/system?keyfile=/k&no_tty=1"),
        ("qemu+ssh://h/system?no_tty=0", "qemu+ssh://h/system?no_tty=0"),
        ("qemu+ssh://h/system?a=1&no_tty=", "qemu+ssh://h/system?a=1&no_tty="),
        ("qemu+libssh://h/system", "qemu+libssh://h/system"),
        ("", ""),
    ],
)
def test_with_no_tty(uri: str, expected: str) -> None:
    assert _connection.with_no_tty(uri) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("qemu:///system", True),
        ("qemu+unix:///system?socket=/run/s", True),
        ("test:///default", True),
        ("", True),
        ("qemu+ssh://h/system", False),
        ("qemu+tcp://127.0.0.1/system", False),
        ("qemu://h/system", False),
    ],
)
def test_is_local(uri: str, expected: bool) -> None:
    assert _connection.is_local(uri) is expected


def test_argument_spec() -> None:
    spec = _connection.argument_spec(name={"type": "str"})
    assert set(spec) == {"uri", "name"}
    assert spec["uri"]["default"] == "qemu:///system"


@pytest.mark.parametrize(("read_only", "opener"), [(True, "openReadOnly"), (False, "open")])
def test_connect(read_only: bool, opener: str) -> None:
    api = FakeLibvirt()
    with _connection.connect(api, "qemu+ssh://h/system", read_only=read_only) as connection:
        assert api.opened == [(opener, "qemu+ssh://h/system?no_tty=1")]
        assert api.connection.calls["setKeepAlive"] == 1
        assert not connection.local
        open_inside = not api.connection.closed
    assert open_inside
    assert api.connection.closed
    assert [handler(None, ("error",)) for handler in api.error_handlers] == [None]


def test_event_loop_ends() -> None:
    loop = _connection._EventLoop(FakeLibvirt())
    loop.start()
    running = [loop.running]
    loop.stop()
    assert [*running, loop.running] == [True, False]


def test_one_event_loop_serves_all_connections() -> None:
    api = FakeLibvirt()
    with _connection.connect(api, "qemu:///system", read_only=True):
        before = threading.active_count()
        with _connection.connect(api, "qemu+tcp://kvm2/system", read_only=False):
            assert threading.active_count() == before


def test_connection_is_closed_after_an_error() -> None:
    api = FakeLibvirt()
    with pytest.raises(FakeLibvirtError), _connection.connect(api, "qemu:///system", read_only=True):
        raise FakeLibvirtError(1)
    assert api.connection.closed


def test_refused_connection_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeLibvirt()

    def refuse(_uri: str) -> t.NoReturn:
        raise FakeLibvirtError(38, "Failed to connect socket", 7)

    monkeypatch.setattr(api, "openReadOnly", refuse)
    with (
        pytest.raises(BalanceError, match=r"^Cannot connect to qemu:///system: Failed to connect socket\.$"),
        _connection.connect(api, "qemu:///system", read_only=True),
    ):
        pass


def test_daemon_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeLibvirt()
    answer = threading.Event()
    monkeypatch.setattr(api, "openReadOnly", lambda _uri: answer.wait())
    monkeypatch.setattr(_connection, "OPEN_TIMEOUT_SECONDS", 0.01)
    with (
        pytest.raises(BalanceError, match="libvirt did not answer within") as caught,
        _connection.connect(api, "qemu:///system", read_only=True),
    ):
        pass
    answer.set()
    assert not isinstance(caught.value, DeadlineError)


def test_a_connection_in_use_is_not_closed() -> None:
    api = FakeLibvirt()
    answer = threading.Event()
    with (
        pytest.raises(DeadlineError),
        _connection.connect(api, "qemu:///system", read_only=True),
    ):
        _connection.call_with_deadline(answer.wait, 0.01, doing="wait")
    assert not api.connection.closed
    answer.set()


def test_call_with_deadline() -> None:
    assert _connection.call_with_deadline(lambda: None, 10, doing="do") is None
    with pytest.raises(FakeLibvirtError):
        _connection.call_with_deadline(_raise, 10, doing="do")


def _raise() -> t.NoReturn:
    raise FakeLibvirtError(1)
