# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._doctor import peers
from ansible_collections.virtops.balance.plugins.module_utils._doctor.peers import Peer
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import (
    FakeConnection,
    FakeLibvirt,
    FakeLibvirtError,
)

NAMES = [f"kvm{number}" for number in range(1, 51)]
LONG_SECONDS = 60


def peer(name: str, uri: str | None = None) -> Peer:
    return Peer(name, uri or f"qemu+ssh://root@{name}/system", None, ())


def answer(*, timeout: bool = False) -> dict[str, t.Any]:
    return {"connection": {"problem": "libvirt did not answer" if timeout else None, "timeout": timeout}}


def test_of_fifty_hosts_a_dead_one_holds_up_nobody() -> None:
    """It is let go when all the others have answered: if they had to wait for it, that would never be."""
    others = peers.in_turn(NAMES, "kvm7")
    answered: set[str] = set()
    inside: set[str] = set()
    most = 0
    lock, rest_answered = threading.Lock(), threading.Event()
    dead: list[str] = []

    def ask(one: Peer) -> dict[str, t.Any]:
        nonlocal most
        with lock:
            inside.add(one.name)
            most = max(most, len(inside))
        if one.name == "kvm9":
            dead.append(one.name)
            assert rest_answered.wait(LONG_SECONDS)
        with lock:
            inside.remove(one.name)
            answered.add(one.name)
            if len(answered) == len(others) - 1:
                rest_answered.set()
        return answer(timeout=one.name == "kvm9")

    found = peers.ask_all([peer(name) for name in others], ask)
    assert list(found) == others
    assert dead == ["kvm9"]
    assert [name for name, said in found.items() if said["connection"]["timeout"]] == ["kvm9"]
    assert most <= peers.MOST_AT_ONCE


def test_after_many_silent_hosts_the_rest_is_not_asked() -> None:
    asked: list[str] = []

    def ask(one: Peer) -> dict[str, t.Any]:
        asked.append(one.name)
        return answer(timeout=True)

    found = peers.ask_all([peer(name) for name in NAMES], ask, most_at_once=1)
    assert asked == NAMES[: peers.MOST_SILENT]
    assert found["kvm50"] == {"not_asked": "8 other hosts did not answer"}


def test_each_host_begins_with_another_one() -> None:
    assert peers.in_turn(["a", "b", "c"], "b") == ["c", "a"]
    assert {peers.in_turn(NAMES, name)[0] for name in NAMES} == set(NAMES)


@pytest.mark.parametrize(
    ("uri", "transport", "user", "host", "port", "default_port"),
    [
        ("qemu+ssh://root@kvm2/system?no_tty=1", "ssh", "root", "kvm2", None, 22),
        ("qemu+ssh://kvm2:2222/system", "ssh", None, "kvm2", 2222, 22),
        ("qemu+tls://[fd00::2]/system", "tls", None, "fd00::2", None, 16514),
        ("qemu://kvm2/system", "tls", None, "kvm2", None, 16514),
        ("qemu+tcp://kvm2:99999/system", "tcp", None, "kvm2", None, 16509),
        ("xen+ssh://root@kvm2/", "ssh", "root", "kvm2", None, 22),
    ],
)
def test_what_a_uri_connects_to(
    uri: str, transport: str, user: str | None, host: str, port: int | None, default_port: int
) -> None:
    assert peers.target(uri) == {
        "uri": uri,
        "transport": transport,
        "user": user,
        "host": host,
        "port": port,
        "default_port": default_port,
    }


def test_a_password_in_a_uri_is_not_told() -> None:
    assert peers.target("qemu+tcp://me:secret@kvm2/system")["uri"] == "qemu+tcp://me@kvm2/system"


class Opening(FakeLibvirt):
    """A libvirt whose open() does what a test wants."""

    def __init__(self, opener: t.Callable[[], FakeConnection]) -> None:
        super().__init__()
        self._opener = opener

    def open(self, uri: str) -> FakeConnection:
        self.opened.append(("open", uri))
        return self._opener()


def connection_of(api: FakeLibvirt, *, seconds: float = LONG_SECONDS) -> t.Any:
    uri = "qemu+ssh://root@kvm2/system"
    return peers.ask_one(api, peer("kvm2", uri), cpus=(), connect_seconds=seconds, port_seconds=1)["connection"]


def test_a_host_that_can_be_reached() -> None:
    api = FakeLibvirt(FakeConnection(getHostname="kvm2.example.org"))
    found = connection_of(api)
    # As migrations do: not read-only, and without a question for a password.
    assert api.opened == [("open", "qemu+ssh://root@kvm2/system?no_tty=1")]
    assert (found["problem"], found["hostname"], found["cpus_missing"]) == (None, "kvm2.example.org", [])
    assert api.connection.closed


def test_what_ssh_says_is_kept() -> None:
    said = "Cannot recv data: Host key verification failed.: Connection reset by peer"

    def refuse() -> FakeConnection:
        raise FakeLibvirtError(38, said, 7)

    found = connection_of(Opening(refuse))
    assert said in found["problem"]
    assert found["timeout"] is False


def test_a_host_that_never_answers_is_given_up() -> None:
    end = threading.Event()

    def hang() -> FakeConnection:
        end.wait(LONG_SECONDS)
        return FakeConnection()

    api = Opening(hang)
    found = connection_of(api, seconds=0.05)
    end.set()
    assert "did not answer within 0.05 seconds" in found["problem"]
    assert found["timeout"] is True
    assert len(api.opened) == 1


def test_no_address_is_no_answer_about_it() -> None:
    assert peers.ask_one(FakeLibvirt(), peer("kvm2"), cpus=(), connect_seconds=1, port_seconds=1)["address"] is None


def test_the_address_of_the_memory() -> None:
    one = Peer("kvm2", "qemu:///system", "127.0.0.1", (1,))
    found = peers.ask_one(FakeLibvirt(), one, cpus=(), connect_seconds=1, port_seconds=5)["address"]
    assert found == {
        "host": "127.0.0.1",
        "resolved": ["127.0.0.1"],
        "problem": None,
        "loopback": True,
        "ports": {"1": "refused"},
    }
