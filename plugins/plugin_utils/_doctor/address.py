# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Does the address to which the memory of a domain is sent lead to the destination, and are its ports open?"""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.answers import Json, Pair
from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.finding import (
    DESTINATIONS,
    SOURCES,
    Finding,
    quoted,
)

LETTER = "A"
NAME = "address and ports of migrations"

_REACHED = ("open", "refused")
_WORDS = {
    "timeout": "no answer, as behind a firewall that drops packets",
    "rejected": "a firewall rejects it",
    "no_route": "no route to host, as behind a firewall that rejects packets",
}


def find(pair: Pair) -> Iterator[Finding]:
    """What is wrong with the way that the memory would take."""
    address = None if pair.answer is None else pair.answer["address"]
    if address is None:
        return
    host = str(address["host"])
    other_way = f"set balance_migrate_uri of {DESTINATIONS}, such as tcp://10.20.0.2"
    if host.startswith("localhost"):
        # Libvirt refuses such a name: qemuMigrationDstPrepareDirect in src/qemu/qemu_migration.c.
        yield Finding(
            f"{SOURCES} cannot send memory to {DESTINATIONS}, which calls itself {host}",
            f"give it a name that others resolve (hostnamectl set-hostname), and restart libvirt there, or {other_way}",
        )
    elif address["problem"] is not None:
        yield Finding(
            f"{SOURCES} cannot resolve {host}, which {DESTINATIONS} is called by its libvirt ({address['problem']})",
            f"add it to the DNS or to /etc/hosts of {SOURCES}, or {other_way}; look with",
            f"getent hosts {quoted(host)}",
        )
    elif address["loopback"]:
        yield Finding(
            f"{SOURCES} cannot send memory to {DESTINATIONS}: {host} is {', '.join(address['resolved'])} there, which "
            "leads to itself",
            f"correct /etc/hosts of {SOURCES}, or {other_way}; look with",
            f"getent hosts {quoted(host)}",
        )
    else:
        yield from _ports(pair, address)


def _ports(pair: Pair, address: Json) -> Iterator[Finding]:
    ports = {int(port): str(found) for port, found in address["ports"].items()}
    closed = [port for port in sorted(ports) if ports[port] not in _REACHED]
    if not closed:
        return
    first, last = (pair.there.get("migration") or {}).get("ports") or (min(ports), max(ports))
    what = _WORDS.get(ports[closed[0]], ports[closed[0]])
    not_reached = f"port {closed[0]} of {address['host']} is not reached ({what})"
    span = str(min(ports)) if len(ports) == 1 and min(ports) not in (first, last) else f"{first}-{last}"
    advice = f"open TCP ports {span} in the firewall of {DESTINATIONS}; with firewalld run there"
    command = f"firewall-cmd --permanent --add-port={span}/tcp && firewall-cmd --reload"
    # libvirt takes the lowest port that is free.
    if min(ports) in closed:
        yield Finding(
            f"{SOURCES} cannot send memory to {DESTINATIONS}: {not_reached}",
            advice,
            command,
        )
    else:
        yield Finding(
            f"{SOURCES} cannot use all ports of {DESTINATIONS}, so many moves at once may fail: {not_reached}",
            advice,
            command,
            serious=False,
        )
