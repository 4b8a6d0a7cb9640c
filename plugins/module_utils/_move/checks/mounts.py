# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: are the shared disks of the domain on the same file system there?

Two hosts are compared by their tables of mounts. That of the destination was observed, as libvirt does not tell it.
Only what is certainly another file system is refused.
"""

from __future__ import annotations

import contextlib
import posixpath
import re
import socket
import typing as t
import urllib.parse

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Check, Known, Subject
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts, mounts
from ansible_collections.virtops.balance.plugins.module_utils._observe.shared_storage import SharedStorage

Seen = t.Mapping[str, t.Any]
_FAMILIES = {"nfs4": "nfs", "cifs": "smb", "smb3": "smb", "smbfs": "smb", "fuse.glusterfs": "glusterfs"}
# The server and the directory in what was mounted. Of a cluster each host may ask another server.
_SERVER_AND_PATH = {
    "nfs": re.compile(r"(?P<server>\[[^]]+\]|[^:]+):(?P<path>/.*)"),
    "smb": re.compile(r"//(?P<server>[^/]+)(?P<path>/.*)"),
    "glusterfs": re.compile(r"(?P<server>):?[^:]*:/?(?P<path>.+)"),
    "ceph": re.compile(r"(?P<server>).*[:=](?P<path>/.*)"),
}


class Exported(t.NamedTuple):
    """A directory of a server; of a cluster, which any of its servers may be asked for, RV(server) is empty."""

    server: str
    path: str


def check_mounts(
    subject: Subject, storage: SharedStorage, destination: Connection, known: Known, *, copied: t.Collection[str] = ()
) -> t.Iterator[Check]:
    """Compare each directory in which the domain has disks that RV(storage) takes for shared."""
    if known.mounts is None:
        return
    seen = set()
    for path in _paths(subject, copied):
        directory = posixpath.dirname(path)
        here = storage.describe(path) if directory not in seen and storage.file(path) else None
        if here is None:
            continue
        seen.add(directory)
        there = mounts.find(path, known.mounts)
        same, how = compare(here, there, lambda server: _is(server, subject, destination))
        if same is False and (known.trusts_storage or (there is None and _has_file(destination, path))):
            same = None
        on = subject.destination
        if same is False:
            message = f"{path} is on {_text(here)} on {subject.source}, and on {_text(there)} on {on}"
        elif same is None:
            message = f"it is not known whether {path} is on the same file system on {on}{how}"
        else:
            message = f"{path} is on {_text(there)} on {on} as well"
        yield Check("mounts", same, message, about=directory)


def compare(here: Seen, there: Seen | None, is_a_host: t.Callable[[str], bool]) -> tuple[bool | None, str]:
    """Return whether two hosts see the same at a path, None = not known, and why that is not known.

    RV(is_a_host) says whether a server is one of the two hosts: it has what it exports on a file system of its own.
    """
    local_here, local_there = here["type"] in mounts.LOCAL, there is None or there["type"] in mounts.LOCAL
    if there is not None and not local_there and here["type"] != there["type"] and _perhaps_shared(here, there):
        # One may be the other by FUSE, or be mounted when it is used.
        return None, ""
    if local_here and local_there:
        return _compare_local(here, there), ""
    if local_here or local_there:
        exported = _exported(there if local_here and there is not None else here)
        if exported is not None and exported.server and is_a_host(exported.server):
            return None, f", because {exported.server} exports it itself"
        return False, ""
    if there is None or _family(here) != _family(there):
        return False, ""
    mine, other = _exported(here), _exported(there)
    if mine is None or other is None:
        equal = (here["source"], here["root"]) == (there["source"], there["root"])
        return equal or None, ""
    if mine.server != other.server and not _addresses(mine.server) & _addresses(other.server):
        return None, f": the servers are called {mine.server} and {other.server}"
    if mine.path == other.path:
        return True, ""
    # What NFS shows as / in version 4 may be a directory of the server in version 3.
    return (False, "") if here["type"] == there["type"] else (None, "")


def _compare_local(here: Seen, there: Seen | None) -> bool | None:
    """Two hosts see the same local file system only where they are parts of one machine, as containers are."""
    if there is None or here["identity"] is None or there["identity"] is None:
        return None
    return (here["identity"], here["root"]) == (there["identity"], there["root"])


def _perhaps_shared(*both: Seen) -> bool:
    return any(mounts.perhaps_shared(seen["type"]) for seen in both)


def _family(seen: Seen) -> str:
    return _FAMILIES.get(seen["type"]) or str(seen["type"])


def _exported(seen: Seen) -> Exported | None:
    pattern = _SERVER_AND_PATH.get(_family(seen))
    found = None if pattern is None else pattern.fullmatch(seen["source"])
    if found is None:
        return None
    return Exported(found["server"].lower(), found["path"].rstrip("/") + seen["root"].rstrip("/"))


def _text(seen: Seen | None) -> str:
    if seen is None:
        return "no file system that hosts share"
    return f"{seen['source']}{'' if seen['root'] == '/' else ' ' + seen['root']} ({seen['type']})"


def _paths(subject: Subject, copied: t.Collection[str]) -> t.Iterator[str]:
    """Return the files that the domain writes to. What it only reads may be a copy on each host."""
    for disk in subject.live.disks:
        if disk.layers and not disk.readonly and disk.target not in copied:
            layer = disk.layers[0]
            if layer.type == "file" and layer.source:
                yield layer.source


def _has_file(destination: Connection, path: str) -> bool:
    """Return whether a storage pool of the destination has the file: its path may lead elsewhere by a symbolic link."""
    return host_facts.ask(destination, destination.handle.storageVolLookupByPath, path) is not None


def _is(server: str, subject: Subject, destination: Connection) -> bool:
    """Return whether a server is the source or the destination."""
    names = [subject.destination, urllib.parse.urlsplit(destination.uri).hostname]
    names.append(host_facts.ask(destination, destination.handle.getHostname))
    addresses = _addresses(server)
    return server in names or any(addresses & _addresses(name) for name in names if name) or _is_here(addresses)


def _addresses(name: str) -> frozenset[str]:
    with contextlib.suppress(OSError, UnicodeError):
        return frozenset(str(found[4][0]) for found in socket.getaddrinfo(name.strip("[]"), None))
    return frozenset()


def _is_here(addresses: t.Iterable[str]) -> bool:
    """Return whether one of these is an address of this machine: only such a one can be bound."""
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
            return True
    return False
