# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the address and the ports to which libvirt of this host lets others migrate.

Source: https://libvirt.org/migration.html and the comments in libvirt's src/qemu/qemu.conf.in.
"""

from __future__ import annotations

import os
import re
import typing as t

DEFAULT_PORTS = (49152, 49215)
_QEMU_CONF = "etc/libvirt/qemu.conf"
_LISTEN = "0A"


def read(*, root: str = "/") -> dict[str, t.Any]:
    """Return {host, ports: [first, last], listening}; RV(host) None = the host's own name.

    RV(listening) are the ports on which something listens, an incoming migration for instance, None = not known.
    """
    settings = _read_settings(os.path.join(root, _QEMU_CONF))
    first, last = (_port(settings.get(f"migration_port_{end}")) for end in ("min", "max"))
    ports = [first or DEFAULT_PORTS[0], last or DEFAULT_PORTS[1]]
    listening = _listening(root)
    return {
        "host": settings.get("migration_host") or None,
        "ports": ports,
        "listening": None if listening is None else sorted(port for port in listening if ports[0] <= port <= ports[1]),
    }


def _read_settings(path: str) -> dict[str, str]:
    """Return the settings of one line each. What cannot be read has libvirt's defaults."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return {}
    return dict(re.findall(r"^\s*(\w+)\s*=\s*[\"']?([^\"'#\n]*?)[\"']?\s*(?:#.*)?$", text, re.MULTILINE))


def _port(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() and 0 < int(text) < 65536 else None


def _listening(root: str) -> set[int] | None:
    """Return the TCP ports that are listened on (/proc/net/tcp, proc(5))."""
    found: set[int] = set()
    read = False
    for name in ("proc/net/tcp", "proc/net/tcp6"):
        try:
            with open(os.path.join(root, name), encoding="ascii") as file:
                lines = file.read().splitlines()[1:]
        except OSError:
            continue
        read = True
        fields = (line.split() for line in lines)
        found.update(int(field[1].rpartition(":")[2], 16) for field in fields if len(field) > 3 and field[3] == _LISTEN)
    return found if read else None
