# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what the running domains of a host need of any host that they are to move to."""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import xml as domain_xml
from ansible_collections.virtops.balance.plugins.module_utils._move import guest_cpu
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts

# A fleet has few kinds of guests. Each further kind is one more question to each other host.
MOST_CPUS = 20


@dataclass
class GuestCpu:
    """A CPU that some domains have: what libvirt is asked with, and their names.

    RV(arguments) are emulator, architecture, machine type and domain type.
    """

    arguments: tuple[str | None, ...]
    xml: str
    domains: list[str] = field(default_factory=list)

    def element(self) -> ET.Element:
        return ET.fromstring(self.xml)


@dataclass
class GuestNeeds:
    """RV(things) are (kind, name) with the domains that need it; the kinds are ``domain_type``, ``machine``,
    ``network``, ``bridge``, ``disk`` (a path), ``pool`` and ``secret``. RV(memory_mib) is the maximum of each domain by
    name."""

    things: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    memory_mib: dict[str, int] = field(default_factory=dict)
    cpus: list[GuestCpu] = field(default_factory=list)

    def add(self, name: str, text: str) -> None:
        """Add what the live definition of a domain needs. Raises ValueError where it is no XML."""
        parsed = domain_xml.parse(text)
        root = ET.fromstring(text)
        for need in _things(parsed, root):
            self.things.setdefault(need, []).append(name)
        if parsed.memory_kib is not None:
            self.memory_mib[name] = -(-parsed.memory_kib // 1024)
        cpu = root.find("cpu")
        # With host-passthrough or maximum there is nothing to compare.
        if cpu is not None and cpu.find("model") is not None:
            arguments = (root.findtext("devices/emulator"), parsed.arch, parsed.machine, parsed.type)
            self._add_cpu(name, arguments, ET.tostring(cpu, encoding="unicode"))

    def _add_cpu(self, name: str, arguments: tuple[str | None, ...], xml: str) -> None:
        for known in self.cpus:
            if (known.arguments, known.xml) == (arguments, xml):
                known.domains.append(name)
                return
        self.cpus.append(GuestCpu(arguments, xml, [name]))

    def to_result(self) -> dict[str, t.Any]:
        return {
            "things": [
                {"kind": kind, "name": name, "domains": sorted(domains)}
                for (kind, name), domains in sorted(self.things.items())
            ],
            "memory_mib": self.memory_mib,
        }


def read(connection: Connection) -> GuestNeeds | None:
    """Read what the running domains need, None where they cannot be listed. Raises libvirtError where the connection is
    lost."""
    api, handle = connection.api, connection.handle
    domains = host_facts.ask(connection, handle.listAllDomains, api.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    if domains is None:
        return None
    needs = GuestNeeds()
    for domain in domains:
        text = host_facts.ask(connection, domain.XMLDesc, 0)
        if text is None:
            # It has just ended, or is on its way to this host.
            continue
        try:
            needs.add(domain.name(), text)
        except ValueError:
            continue
    return needs


def comparable_cpus(connection: Connection, needs: GuestNeeds) -> list[tuple[GuestCpu, ET.Element]]:
    """Return the CPUs with what of each another host can be asked for: its own host may not be said to offer all of it.

    Raises libvirtError where the connection is lost.
    """
    found = []
    for kind in needs.cpus[:MOST_CPUS]:
        cpu = kind.element()
        try:
            if guest_cpu.find_missing(connection, kind.arguments, cpu) is not None:
                reduced = guest_cpu.comparable(connection, kind.arguments, cpu)
                if reduced is None:
                    continue
                cpu = reduced
        except connection.api.libvirtError as error:
            if connection.lost(error):
                raise
            continue
        found.append((kind, cpu))
    return found


def missing_on(destination: Connection, cpus: t.Sequence[tuple[GuestCpu, ET.Element]]) -> list[dict[str, t.Any]]:
    """Return [{domains, missing}] for the CPUs that the destination cannot offer. Raises libvirtError where the
    connection is lost."""
    found = []
    for kind, cpu in cpus:
        try:
            missing = guest_cpu.find_missing(destination, kind.arguments, cpu)
        except destination.api.libvirtError as error:
            if destination.lost(error):
                raise
            # That it has not the machine type is told by another question.
            if _errors.code_of(error) is not None:
                continue
            raise
        if missing is not None:
            found.append({"domains": sorted(kind.domains), "missing": missing.strip().rstrip(".")})
    return found


def _things(parsed: domain_xml.DomainXml, root: ET.Element) -> t.Iterator[tuple[str, str]]:
    found: set[tuple[str, str | None]] = {
        ("domain_type", f"{parsed.arch} {parsed.type}" if parsed.arch and parsed.type else None),
        ("machine", f"{parsed.arch} {parsed.machine}" if parsed.arch and parsed.machine else None),
        # An interface of a network says as well which bridge that has; the network brings its own.
        *(
            (interface.type, interface.source)
            for interface in parsed.interfaces
            if interface.type in ("network", "bridge") and not interface.transient
        ),
        *(
            ("disk", layer.source)
            for disk in parsed.disks
            for layer in disk.layers
            if (layer.source or "").startswith("/")
        ),
        *(("pool", layer.pool) for disk in parsed.disks for layer in disk.layers if layer.type == "volume"),
        *(("secret", _secret(secret)) for secret in root.iter("secret")),
    }
    return ((kind, name) for kind, name in found if name)


def _secret(secret: ET.Element) -> str | None:
    """Return how a definition names a secret: by its UUID, or by its type and what it is used for."""
    uuid, usage = secret.get("uuid"), secret.get("usage")
    if uuid:
        return uuid.lower()
    return f"{secret.get('type')} {usage}" if usage else None
