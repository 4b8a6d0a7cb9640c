# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: ask a host about all others at once, each with a deadline of its own."""

from __future__ import annotations

import concurrent.futures
import threading
import typing as t
import urllib.parse
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import connect
from ansible_collections.virtops.balance.plugins.module_utils._doctor import guest_needs, reach
from ansible_collections.virtops.balance.plugins.module_utils._doctor.guest_needs import GuestCpu
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError, DeadlineError

# So many are asked at the same time. Of the calls into libvirt that a process may leave alone, it is half.
MOST_AT_ONCE = 8
# After so many that did not answer, the others are not asked: it is this host whose network is broken.
MOST_SILENT = 8

_TRANSPORT_PORTS = {"ssh": 22, "libssh": 22, "libssh2": 22, "tls": 16514, "tcp": 16509, "": 16514}

Cpus = t.Sequence[tuple[GuestCpu, ET.Element]]


@dataclass(frozen=True)
class Peer:
    """Another host: how libvirt of this host would connect to it, and to where it would migrate.

    RV(host) is the name or address to which the memory is sent, RV(ports) are those to be tried.
    """

    name: str
    uri: str
    host: str | None
    ports: tuple[int, ...]


Ask = t.Callable[[Peer], dict[str, t.Any]]


def in_turn(names: t.Sequence[str], name: str) -> list[str]:
    """Return the others, beginning behind RV(name): if all hosts began with the same one, its sshd would refuse some.

    Source: sshd_config(5), "MaxStartups": by default, above ten at once.
    """
    place = names.index(name)
    return [*names[place + 1 :], *names[:place]]


def ask_all(peers: t.Sequence[Peer], ask: Ask, *, most_at_once: int = MOST_AT_ONCE) -> dict[str, dict[str, t.Any]]:
    """Ask about each of the others, and return the answers by name. One that is silent holds up nobody else."""
    silent: list[str] = []
    lock = threading.Lock()

    def one(peer: Peer) -> dict[str, t.Any]:
        with lock:
            given_up = len(silent) >= MOST_SILENT
        if given_up:
            return {"not_asked": f"{len(silent)} other hosts did not answer"}
        answer = ask(peer)
        if answer["connection"].get("timeout"):
            with lock:
                silent.append(peer.name)
        return answer

    with concurrent.futures.ThreadPoolExecutor(most_at_once) as pool:
        return dict(zip((peer.name for peer in peers), pool.map(one, peers)))


def ask_one(api: t.Any, peer: Peer, *, cpus: Cpus, connect_seconds: float, port_seconds: float) -> dict[str, t.Any]:
    """Return {connection, address} of one of the others."""
    return {
        "connection": _connection(api, peer, cpus=cpus, seconds=connect_seconds),
        "address": _address(peer, seconds=port_seconds),
    }


def target(uri: str) -> dict[str, t.Any]:
    """Return {uri, transport, user, host, port, default_port} of a URI, without a password that may be in it."""
    parts = urllib.parse.urlsplit(uri)
    transport = parts.scheme.partition("+")[2]
    try:
        port = parts.port
    except ValueError:
        port = None
    return {
        "uri": uri if parts.password is None else uri.replace(f":{parts.password}@", "@", 1),
        "transport": transport or "tls",
        "user": parts.username,
        "host": parts.hostname,
        "port": port,
        "default_port": _TRANSPORT_PORTS.get(transport),
    }


def _connection(api: t.Any, peer: Peer, *, cpus: Cpus, seconds: float) -> dict[str, t.Any]:
    """Connect as the daemon of this host would for a migration, and ask what only the other one knows."""
    answer: dict[str, t.Any] = {**target(peer.uri), "problem": None, "timeout": False}
    try:
        with connect(api, peer.uri, read_only=False, seconds=seconds) as destination:
            return {
                **answer,
                **destination.call(
                    lambda: {
                        "hostname": destination.handle.getHostname(),
                        "cpus_missing": guest_needs.missing_on(destination, cpus),
                    },
                    seconds,
                    doing=f"ask {peer.uri}",
                ),
            }
    except api.libvirtError as error:
        return {**answer, "problem": _errors.translate(api, error, doing=f"ask {peer.uri}").message}
    except BalanceError as error:
        silent = isinstance(error, DeadlineError) or isinstance(error.__cause__, DeadlineError)
        return {**answer, "problem": error.message, "timeout": silent}


def _address(peer: Peer, *, seconds: float) -> dict[str, t.Any] | None:
    """Return {host, resolved, problem, loopback, ports}: where the memory would be sent, and what becomes of it."""
    if peer.host is None:
        return None
    addresses, problem = reach.resolve(peer.host)
    return {
        "host": peer.host,
        "resolved": sorted({str(sockaddr[0]) for _family, sockaddr in addresses}),
        "problem": problem,
        "loopback": any(map(reach.is_loopback, addresses)),
        "ports": {str(port): reach.probe(addresses, port, seconds) for port in peer.ports} if addresses else {},
    }
