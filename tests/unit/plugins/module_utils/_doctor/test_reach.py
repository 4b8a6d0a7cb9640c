# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import errno
import socket
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._doctor import reach

HERE: tuple[reach.Address, ...] = ((socket.AF_INET, ("127.0.0.1", 0)),)


@contextlib.contextmanager
def listener() -> t.Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        yield listening.getsockname()[1]


def test_a_port_on_which_something_listens_is_open() -> None:
    with listener() as port:
        assert reach.probe(HERE, port, 5) == "open"


def test_a_port_on_which_nothing_listens_is_reached_too() -> None:
    with listener() as port:
        pass
    assert reach.probe(HERE, port, 5) == "refused"
    assert "refused" in reach.REACHED


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TimeoutError(), "timeout"),
        (OSError(errno.ETIMEDOUT, ""), "timeout"),
        (OSError(errno.EHOSTUNREACH, ""), "no_route"),
        (OSError(errno.ENETUNREACH, ""), "no_route"),
        (OSError(errno.ECONNRESET, ""), "ECONNRESET"),
        (ConnectionRefusedError(errno.ECONNREFUSED, ""), "refused"),
    ],
)
def test_what_errors_mean(monkeypatch: pytest.MonkeyPatch, error: OSError, expected: str) -> None:
    monkeypatch.setattr(reach.socket, "socket", lambda *_arguments: Broken(error))
    assert reach.probe(HERE, 49152, 1) == expected


def test_a_refusal_by_a_firewall_is_none_by_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    # struct sock_extended_err of linux/errqueue.h for "port unreachable": errno 111, origin ICMP, type 3, code 3.
    queued = bytes.fromhex("6f000000020303000000000000000000") + bytes(16)
    error = ConnectionRefusedError(errno.ECONNREFUSED, "")
    monkeypatch.setattr(reach.socket, "socket", lambda *_arguments: Broken(error, queued))
    assert reach.probe(HERE, 49152, 1) == "rejected"


def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([OSError(errno.ENETUNREACH, ""), ConnectionRefusedError(errno.ECONNREFUSED, ""), TimeoutError()])
    monkeypatch.setattr(reach.socket, "socket", lambda *_arguments: Broken(next(answers)))
    nowhere = (socket.AF_INET6, ("fd00::2", 0, 0, 0))
    assert reach.probe((nowhere, *HERE, nowhere), 49152, 1) == "refused"


@pytest.mark.parametrize(
    ("address", "expected"), [("127.0.1.1", True), ("::1", True), ("10.0.0.1", False), ("x", False)]
)
def test_is_loopback(address: str, expected: bool) -> None:
    assert reach.is_loopback((socket.AF_INET, (address, 0))) is expected


def test_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reach.resolve("127.0.0.1") == ([(socket.AF_INET, ("127.0.0.1", 0))], None)

    def unknown(*_arguments: t.Any, **_options: t.Any) -> t.Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(reach.socket, "getaddrinfo", unknown)
    assert reach.resolve("kvm2") == ([], "Name or service not known")


class Broken:
    """A socket that cannot connect; RV(queued) is what its error queue has."""

    def __init__(self, error: OSError, queued: bytes | None = None) -> None:
        self._error, self._queued = error, queued

    def settimeout(self, _seconds: float) -> None:
        pass

    def setsockopt(self, *_arguments: t.Any) -> None:
        pass

    def setblocking(self, _flag: bool) -> None:
        pass

    def close(self) -> None:
        pass

    def connect(self, _address: t.Any) -> None:
        raise self._error

    def recvmsg(self, *_arguments: t.Any) -> t.Any:
        if self._queued is None:
            raise BlockingIOError(errno.EAGAIN, "")
        return b"", [(socket.IPPROTO_IP, 11, self._queued)], 0, None
