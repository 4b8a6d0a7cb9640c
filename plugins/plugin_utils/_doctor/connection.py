# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Can libvirt of a host open libvirt of another one, by the very URI that migrations use?

What ssh and libvirt say is told from Debian 12 (libvirt 9.0, OpenSSH 9.2) and Debian 13 (11.3, 10.0).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.answers import Json, Pair
from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.finding import (
    DESTINATIONS,
    SOURCES,
    Finding,
    quoted,
)

LETTER = "C"
NAME = "connection of libvirt"

_LISTENERS = {
    "ssh": "sshd",
    "tls": "libvirtd-tls.socket (of modular daemons: virtproxyd-tls.socket)",
    "tcp": "libvirtd-tcp.socket (of modular daemons: virtproxyd-tcp.socket)",
}
_NOISE = re.compile(r"^Cannot (?:connect to|ask) \S+: |Cannot recv data: |: Connection reset by peer\.?$|\.$")


def find(pair: Pair) -> Iterator[Finding]:
    """What keeps the source from the destination's libvirt, if anything does."""
    if pair.answer is None:
        return
    connection = pair.answer["connection"]
    if connection["problem"] is not None:
        yield _explained(connection)
    # A name that one of the two does not know says nothing.
    elif None not in (name := (connection.get("hostname"), pair.there.get("hostname"))) and name[0] != name[1]:
        yield Finding(
            f"{SOURCES} cannot reach {DESTINATIONS} by its migration URI, which leads to {connection['hostname']}",
            f"correct balance_migration_uri of {DESTINATIONS}, or what {SOURCES} resolves its name to; look with",
            f"getent hosts {quoted(connection['host'])}",
        )


def _explained(connection: Json) -> Finding:
    """The error of ssh or libvirt as a sentence that says what to do."""
    text = str(connection["problem"])
    user = connection["user"] or "root"
    host = str(connection["host"])
    port = connection["port"]
    number = port or connection["default_port"]
    scan = f"ssh-keyscan {f'-p {port} ' if port else ''}{quoted(host)} >> ~/.ssh/known_hosts"
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in text:
        known = f"[{host}]:{port}" if port and port != 22 else host
        return Finding(
            f"{SOURCES} cannot trust {DESTINATIONS}: its host key is another one than before",
            f"if {DESTINATIONS} was installed anew, run on {SOURCES} as root",
            f"ssh-keygen -R {quoted(known)}; {scan}",
        )
    if "Host key verification failed" in text:
        return Finding(
            f"{SOURCES} cannot verify {DESTINATIONS}, whose host key is not known there",
            f"on {SOURCES} run as root, and compare the key with that of {DESTINATIONS}",
            scan,
        )
    if "Permission denied" in text:
        denied = re.findall(r"Permission denied(?: \([^)]*\))?", text)[0]
        return Finding(
            f"{SOURCES} cannot log in to {DESTINATIONS} as {user} ({denied})",
            # Not ssh-copy-id: sshd by default refuses root's password (PermitRootLogin in sshd_config(5)).
            f"on {SOURCES} run as root, after ssh-keygen -t ed25519 where there is no key, and append what it prints "
            f"to ~{user}/.ssh/authorized_keys of {DESTINATIONS}",
            "cat ~/.ssh/id_*.pub",
        )
    if re.search("[Cc]ould not resolve|Name or service not known|name resolution|[Uu]nable to resolve", text):
        return Finding(
            f"{SOURCES} cannot resolve the name {host} of {DESTINATIONS}",
            f"add it to the DNS or to /etc/hosts of {SOURCES}, or give {DESTINATIONS} another balance_migration_uri; "
            "look with",
            f"getent hosts {quoted(host)}",
        )
    if re.search("libvirt-sock|-sock'|Failed to connect socket", text):
        return Finding(
            f"{SOURCES} cannot open libvirt of {DESTINATIONS}, where the daemon does not run",
            f"on {DESTINATIONS} run (with modular daemons virtqemud.socket)",
            "systemctl enable --now libvirtd",
        )
    if "Connection refused" in text:
        service = _LISTENERS.get(str(connection["transport"]), "it")
        return Finding(
            f"{SOURCES} cannot connect to {DESTINATIONS}: nothing listens on port {number} of {host}",
            f"start {service} on {DESTINATIONS}, or correct its balance_migration_uri; look on {DESTINATIONS} with",
            f"ss -ltnp 'sport = :{number}'",
        )
    if connection["timeout"] or re.search("No route to host|Network is unreachable|timed out", text):
        return Finding(
            f"{SOURCES} cannot reach {DESTINATIONS} on port {number} ({_short(text)})",
            f"open the port in the firewalls between them, or correct balance_migration_uri of {DESTINATIONS}; "
            f"try on {SOURCES}",
            f"nc -vz -w 5 {quoted(host)} {number}",
        )
    if re.search("certificate|TLS|pki", text):
        return Finding(
            f"{SOURCES} cannot open libvirt of {DESTINATIONS} with TLS ({_short(text)})",
            f"see what the certificates of {SOURCES} and {DESTINATIONS} lack; run on each",
            "virt-pki-validate",
        )
    if re.search("command not found|virt-ssh-helper", text):
        return Finding(
            f"{SOURCES} cannot open libvirt of {DESTINATIONS}, which has no virt-ssh-helper and no nc ({_short(text)})",
            f"install libvirt's daemon or netcat on {DESTINATIONS}; try on {SOURCES} as root",
            f"virsh --connect {quoted(_uri(connection))} list",
        )
    return Finding(
        f"{SOURCES} cannot open libvirt of {DESTINATIONS} ({_short(text)})",
        f"try on {SOURCES} as root",
        f"virsh --connect {quoted(_uri(connection))} list",
    )


def _short(text: str) -> str:
    while True:
        shorter = _NOISE.sub("", text).strip()
        if shorter == text:
            return text
        text = shorter


def _uri(connection: Json) -> str:
    return str(connection["uri"])
