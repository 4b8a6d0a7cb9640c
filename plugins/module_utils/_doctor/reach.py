# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: does a name lead to an address here, and do packets to a port there arrive?

Nothing listens on the ports of migrations before there is one. So "connection refused" is the good answer: it comes
from the other host itself, while a firewall says nothing, or refuses with a message of another kind (ICMP).
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import struct
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._doctor.deadline import NoAnswerError, within

REACHED = ("open", "refused")
_RESOLVE_SECONDS = 10.0

# Of linux/in.h, linux/in6.h and linux/errqueue.h, which the module socket does not have in Python 3.9.
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_FROM_ICMP = (2, 3)

# (family, address for connect())
Address = tuple[int, tuple[t.Any, ...]]


def resolve(host: str) -> tuple[list[Address], str | None]:
    """Return the addresses of a name in the order in which libvirt tries them, and what is wrong if there is none."""
    try:
        found = within(
            _RESOLVE_SECONDS, lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        )
    except NoAnswerError:
        return [], f"no answer within {_RESOLVE_SECONDS:g} seconds"
    except (OSError, UnicodeError) as error:
        return [], getattr(error, "strerror", None) or str(error)
    return [(family, sockaddr) for family, _type, _protocol, _name, sockaddr in found], None


def is_loopback(address: Address) -> bool:
    try:
        return ipaddress.ip_address(str(address[1][0]).partition("%")[0]).is_loopback
    except ValueError:
        return False


def probe(addresses: t.Sequence[Address], port: int, seconds: float) -> str:
    """Return what becomes of a connection to a port: ``open``, ``refused``, ``rejected`` (by a firewall), ``timeout``,
    ``no_route``, or the error's name. As libvirt does, the addresses are tried one after the other.
    """
    answer = "no_route"
    for family, address in addresses:
        answer = _probe_one(family, (address[0], port, *address[2:]), seconds)
        if answer in REACHED:
            break
    return answer


def _probe_one(family: int, address: tuple[t.Any, ...], seconds: float) -> str:
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as connection:
        connection.settimeout(seconds)
        with contextlib.suppress(OSError):
            if family == socket.AF_INET6:
                connection.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
            else:
                connection.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        try:
            connection.connect(address)
        except socket.timeout:
            return "timeout"
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                return "rejected" if _came_by_icmp(connection) else "refused"
            if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM):
                return "no_route"
            if error.errno == errno.ETIMEDOUT:
                return "timeout"
            return errno.errorcode.get(error.errno or 0, str(error))
    return "open"


def _came_by_icmp(connection: socket.socket) -> bool:
    """Return whether the refusal was a message of ICMP. The host itself would have reset the connection.

    Kernels before 5.9 do not tell, and then it counts as refused by the host.
    """
    # What is not there now will not come.
    connection.setblocking(False)
    try:
        _data, ancillary, _flags, _address = connection.recvmsg(1, 512, socket.MSG_ERRQUEUE)
    except OSError:
        return False
    # struct sock_extended_err: u32 errno, u8 origin, ...
    return any(len(data) > 4 and struct.unpack_from("=IB", data)[1] in _FROM_ICMP for _level, _type, data in ancillary)
