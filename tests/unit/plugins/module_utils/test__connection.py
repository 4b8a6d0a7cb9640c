# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import time
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError, DeadlineError
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import (
    FakeConnection,
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

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(api, "openReadOnly", refuse)
    with (
        pytest.raises(BalanceError, match=r"^Cannot connect to qemu:///system: Failed to connect socket\.$"),
        _connection.connect(api, "qemu:///system", read_only=True),
    ):
        pass


@pytest.mark.parametrize(
    ("uri", "user", "hint"),
    [
        ("qemu:///system", 1000, True),
        ("qemu:///system", 0, False),
        ("qemu+ssh://kvm2/system", 1000, False),
    ],
)
def test_a_socket_that_is_closed_to_the_user(uri: str, user: int, hint: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeLibvirt()

    def refuse(_uri: str) -> t.NoReturn:
        raise FakeLibvirtError(38, "Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied", 7)

    monkeypatch.setattr(api, "open", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with pytest.raises(BalanceError) as caught, _connection.connect(api, uri, read_only=False):
        pass
    assert ("Run as root or put the user into the group libvirt" in caught.value.message) is hint


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


@pytest.mark.parametrize(("uri", "slow"), [("qemu:///system", False), ("qemu+ssh://kvm2/system", True)])
def test_another_machine_has_more_time_to_answer(uri: str, slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connection, "OPEN_TIMEOUT_SECONDS", 1)
    monkeypatch.setattr(_connection, "REMOTE_OPEN_TIMEOUT_SECONDS", 2)
    allowed: list[float] = []

    def note(call: t.Callable[[], t.Any], seconds: float, *, doing: str) -> t.Any:
        allowed.append(seconds)
        return call()

    monkeypatch.setattr(_connection, "call_with_deadline", note)
    with _connection.connect(FakeLibvirt(), uri, read_only=True):
        pass
    assert allowed == [2 if slow else 1]


@pytest.mark.parametrize(
    ("error", "alive", "lost"),
    [
        (FakeLibvirtError(1, "client socket is closed", 7), 0, True),
        (FakeLibvirtError(1, "client socket is closed", 7), FakeLibvirtError(1), True),
        (FakeLibvirtError(38, "Failed to connect socket to '/run/libvirt/virtnetworkd-sock'", 7), 1, False),
        (FakeLibvirtError(3, "not supported", 18), 0, False),
    ],
)
def test_a_lost_connection(error: FakeLibvirtError, alive: t.Any, lost: bool) -> None:
    handle = FakeConnection(isAlive=alive)
    assert _connection.Connection(FakeLibvirt(), handle, "qemu:///system").lost(error) is lost


class Hanging(FakeLibvirt):
    """Every connection is a new one, and what is asked for through it waits until RV(answer) is set."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = threading.Event()
        self.asked: list[str] = []
        self.closed: list[str] = []

    def open(self, uri: str) -> t.Any:
        return HangingConnection(self, uri)


class HangingConnection:
    """Says when it is closed, by whoever holds it or because nobody does."""

    def __init__(self, api: Hanging, uri: str) -> None:
        self.api, self.uri = api, uri

    def ask(self) -> str:
        self.api.asked.append(self.uri)
        self.api.answer.wait()
        return self.uri

    def setKeepAlive(self, _interval: int, _count: int) -> None:  # noqa: N802
        pass

    def close(self) -> None:
        self.api.closed.append(self.uri)

    def __del__(self) -> None:
        self.api.closed.append(f"{self.uri} as garbage")


@pytest.fixture
def hanging() -> t.Iterator[Hanging]:
    api = Hanging()
    yield api
    api.answer.set()
    assert wait_until(lambda: not _connection._inside())


def wait_until(condition: t.Callable[[], bool]) -> bool:
    for _attempt in range(500):
        if condition():
            return True
        time.sleep(0.01)
    return False


def leave_alone(api: Hanging, uri: str) -> None:
    """Ask through a connection whose daemon does not answer, and go."""
    with pytest.raises(DeadlineError), _connection.connect(api, uri, read_only=False) as connection:
        connection.call(connection.handle.ask, 0.01, doing="ask")


def test_a_connection_with_a_call_inside_lives_until_it_comes_back(hanging: Hanging) -> None:
    leave_alone(hanging, "qemu:///system")
    gc.collect()
    assert hanging.closed == []

    hanging.answer.set()
    assert wait_until(lambda: hanging.closed != [])
    assert hanging.closed == ["qemu:///system as garbage"]


def test_no_other_call_is_made_beside_one_that_has_not_come_back(hanging: Hanging) -> None:
    with _connection.connect(hanging, "qemu:///system", read_only=False) as connection:
        for problem in ("within 0.01 seconds", "the question before", "the question before"):
            with pytest.raises(DeadlineError, match=problem):
                connection.call(connection.handle.ask, 0.01, doing="ask")
        assert hanging.asked == ["qemu:///system"]

        hanging.answer.set()
        assert wait_until(lambda: not connection.line.busy)
        assert connection.call(connection.handle.ask, 10, doing="ask") == "qemu:///system"
    assert hanging.closed == ["qemu:///system"]


def test_a_connection_that_comes_too_late_is_closed(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    opener = hanging.open

    def open_late(uri: str) -> t.Any:
        hanging.answer.wait()
        return opener(uri)

    monkeypatch.setattr(hanging, "open", open_late)
    monkeypatch.setattr(_connection, "OPEN_TIMEOUT_SECONDS", 0.01)
    with pytest.raises(BalanceError), _connection.connect(hanging, "qemu:///system", read_only=False):
        pass
    hanging.answer.set()
    assert wait_until(lambda: hanging.closed == ["qemu:///system as garbage"])


def test_other_connections_are_closed_as_ever(hanging: Hanging) -> None:
    leave_alone(hanging, "qemu:///system")
    with _connection.connect(hanging, "test://other/", read_only=False):
        pass
    assert hanging.closed[0] == "test://other/"


def test_what_a_process_leaves_alone_is_bounded(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connection, "MOST_INSIDE", 3)
    for number in range(3):
        leave_alone(hanging, f"test://{number}/")
    before = threading.active_count()
    with (
        pytest.raises(BalanceError, match="Cannot connect to test://4/: libvirt has left 3 questions unanswered"),
        _connection.connect(hanging, "test://4/", read_only=False),
    ):
        pass
    assert threading.active_count() == before

    hanging.answer.set()
    assert wait_until(lambda: not _connection._inside())
    with _connection.connect(hanging, "test://5/", read_only=False) as connection:
        assert connection.call(connection.handle.ask, 10, doing="ask") == "test://5/"


def test_a_kept_connection_is_opened_anew_after_a_call_that_did_not_come_back(hanging: Hanging) -> None:
    kept = _connection.KeptConnection(hanging, "qemu:///system", read_only=False)
    first = kept.get()
    with pytest.raises(DeadlineError):
        first.call(first.handle.ask, 0.01, doing="ask")
    kept.drop()
    second = kept.get()
    assert second is not first
    kept.drop()
    assert hanging.closed == ["qemu:///system"]


PROCESS = """
import atexit, json, sys, threading
from ansible_collections.virtops.balance.plugins.module_utils import _connection

atexit.register(lambda: print("cleaned up"))
answer = threading.Event()
try:
    _connection.call_with_deadline(answer.wait, 0.01, doing="ask")
except _connection.DeadlineError as error:
    print(json.dumps({"msg": error.message}))
"""


@pytest.mark.parametrize(
    ("end", "status", "cleaned_up"),
    [
        ("sys.exit(0)", 1, True),
        ("_connection.leave(3)", 3, False),
        # Where it has come back in the end, the process ends as ever.
        ("answer.set(); import time; time.sleep(0.5); sys.exit(0)", 0, True),
    ],
)
def test_a_process_ends_at_once_although_a_call_is_inside(end: str, status: int, cleaned_up: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS + end],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == status, done.stderr
    result, *more = done.stdout.splitlines()
    assert json.loads(result) == {"msg": "Cannot ask: libvirt did not answer within 0.01 seconds."}
    assert more == ["cleaned up"] * cleaned_up


def test_call_with_deadline() -> None:
    assert _connection.call_with_deadline(lambda: None, 10, doing="do") is None
    with pytest.raises(FakeLibvirtError):
        _connection.call_with_deadline(_raise, 10, doing="do")


def _raise() -> t.NoReturn:
    raise FakeLibvirtError(1)
