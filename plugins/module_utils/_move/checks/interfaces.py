# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: does the destination have the networks and bridges of the domain?"""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Check, Subject
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts


def check_interfaces(subject: Subject, destination: Connection, bridges: t.Collection[str] | None) -> t.Iterator[Check]:
    seen = set()
    for interface in subject.live.interfaces:
        if interface.transient or interface.source is None or (interface.type, interface.source) in seen:
            continue
        seen.add((interface.type, interface.source))
        if interface.type == "network":
            yield _network(subject, destination, interface.source)
        elif interface.type == "bridge":
            yield _bridge(subject, destination, interface.source, bridges)


def _network(subject: Subject, destination: Connection, name: str) -> Check:
    api, handle = destination.api, destination.handle
    try:
        active = handle.networkLookupByName(name).isActive()
    except api.libvirtError as error:
        if _errors.code_of(error) == _errors.NO_NETWORK:
            return Check("network", False, f"{subject.destination} has no network {name}", about=name)
        if destination.lost(error):
            raise
        return Check("network", None, f"{subject.destination} cannot be asked for its networks", about=name)
    if not active:
        return Check("network", False, f"the network {name} is not active on {subject.destination}", about=name)
    return Check("network", True, f"{subject.destination} has the network {name}", about=name)


def _bridge(subject: Subject, destination: Connection, name: str, observed: t.Collection[str] | None) -> Check:
    api, handle = destination.api, destination.handle
    try:
        handle.interfaceLookupByName(name)
    except api.libvirtError as error:
        if _errors.code_of(error) == _errors.NO_INTERFACE:
            return Check("bridge", False, f"{subject.destination} has no bridge {name}", about=name)
        if destination.lost(error):
            raise
        # Not every libvirt is built with, or runs, the driver for interfaces: Debian 13 does not install it by itself.
        return _bridge_without_interfaces(subject, destination, name, observed)
    return Check("bridge", True, f"{subject.destination} has the bridge {name}", about=name)


def _bridge_without_interfaces(
    subject: Subject, destination: Connection, name: str, observed: t.Collection[str] | None
) -> Check:
    networks = host_facts.read_networks(destination)
    present = host_facts.read_bridges(destination, networks)
    active = {network["bridge"] for network in networks or () if network["active"]}
    if name in active or name in (present or ()):
        return Check("bridge", True, f"{subject.destination} has the bridge {name}", about=name)
    if present is not None:
        return Check("bridge", False, f"{subject.destination} has no bridge {name}", about=name)
    if observed is None:
        return Check("bridge", None, f"{subject.destination} cannot be asked for its bridges", about=name)
    if name in observed:
        return Check("bridge", True, f"{subject.destination} was observed with the bridge {name}", about=name)
    return Check("bridge", False, f"{subject.destination} was observed without a bridge {name}", about=name)
