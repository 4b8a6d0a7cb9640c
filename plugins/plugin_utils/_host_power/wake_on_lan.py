# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Wake on LAN: a datagram that a sleeping network card waits for. It is not answered."""

from __future__ import annotations

import re
import socket
import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.switch import PowerError

_MAC = re.compile(r"[0-9a-f]{2}([:-]?[0-9a-f]{2}){5}", re.IGNORECASE)


def magic_packet(mac: str) -> bytes:
    """Six bytes ff and sixteen times the address, 102 bytes. Source: AMD, "Magic Packet Technology", number 20213."""
    if not _MAC.fullmatch(mac):
        raise PowerError(f"wake_on_lan.mac must be an Ethernet address such as 52:54:00:12:34:56, but it is {mac!r}.")
    return b"\xff" * 6 + bytes.fromhex(re.sub(r"[:-]", "", mac)) * 16


class WakeOnLan:
    """Wakes by magic packets."""

    again: t.Final = True

    def __init__(self, *, mac: str, address: str, port: int) -> None:
        self._packet = magic_packet(mac)
        self._address, self._port = address, port

    def on(self) -> None:
        try:
            found = socket.getaddrinfo(self._address, self._port, type=socket.SOCK_DGRAM)
            family, kind, protocol, _name, target = found[0]
            with socket.socket(family, kind, protocol) as sender:
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                sender.sendto(self._packet, target)
        except OSError as error:
            raise PowerError(
                f"The magic packet cannot be sent to {self._address} port {self._port}: {error.strerror}."
            ) from error
