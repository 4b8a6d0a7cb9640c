# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the CPU that a host can offer to guests, and the best one that several hosts can offer.

Source: https://libvirt.org/html/libvirt-libvirt-host.html, virConnectBaselineHypervisorCPU.
"""

from __future__ import annotations

import re
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts

_MOST_UNKNOWN_FEATURES = 100
# Its x86 driver: x86ModelFromCPU in libvirt's src/cpu/cpu_x86.c.
_UNKNOWN_FEATURE = re.compile(r"Unknown CPU feature (\S+)")


def read(connection: Connection, arch: str | None, domain_types: t.Sequence[str]) -> dict[str, str]:
    """Return the CPU that ``host-model`` stands for, by the domain type. Raises libvirtError where the connection is
    lost."""
    found = {}
    for domain_type in ("kvm", "qemu"):
        if arch is not None and domain_type in domain_types:
            text = host_facts.ask(connection, connection.handle.getDomainCapabilities, None, arch, None, domain_type, 0)
            xml = None if text is None else host_model(text)
            if xml is not None:
                found[domain_type] = xml
    return found


def host_model(capabilities: str) -> str | None:
    """Return the CPU of the mode host-model in the capabilities of domains as a CPU of its own, None = there is none.

    Source: https://libvirt.org/formatdomaincaps.html, "CPU configuration".
    """
    try:
        mode = ET.fromstring(capabilities).find("cpu/mode[@name='host-model'][@supported='yes']")
    except ET.ParseError:
        return None
    if mode is None or mode.find("model") is None:
        return None
    cpu = ET.Element("cpu")
    for part in mode:
        # The rest, such as the size of addresses, is of no use to a baseline.
        if part.tag in ("model", "vendor", "feature"):
            cpu.append(ET.Element(part.tag, part.attrib))
            cpu[-1].text = part.text
    return ET.tostring(cpu, encoding="unicode")


def best_common(connection: Connection, *, arch: str, domain_type: str, cpus: t.Sequence[str]) -> dict[str, t.Any]:
    """Return {xml, problem}: the best CPU that hosts with all of these can offer, or why libvirt does not say.

    A newer libvirt knows more features. One that this host does not know it cannot offer, so it is left out of all.
    Raises libvirtError where the connection is lost.
    """
    api = connection.api
    asked = [ET.fromstring(cpu) for cpu in cpus]
    for _attempt in range(_MOST_UNKNOWN_FEATURES):
        try:
            answer = connection.handle.baselineHypervisorCPU(
                None,
                arch,
                None,
                domain_type,
                [ET.tostring(cpu, encoding="unicode") for cpu in asked],
                api.VIR_CONNECT_BASELINE_CPU_MIGRATABLE,
            )
        except api.libvirtError as error:
            if connection.lost(error):
                raise
            problem = str(error).strip().rstrip(".")
            unknown = _UNKNOWN_FEATURE.search(problem)
            if unknown is None or not _drop(asked, unknown.group(1)):
                return {"xml": None, "problem": problem}
        else:
            return {"xml": answer.strip(), "problem": None}
    return {"xml": None, "problem": problem}


def _drop(cpus: t.Sequence[ET.Element], name: str) -> bool:
    """Remove a feature from all CPUs. Return whether one had it."""
    found = [(cpu, feature) for cpu in cpus for feature in cpu.findall("feature") if feature.get("name") == name]
    for cpu, feature in found:
        cpu.remove(feature)
    return bool(found)
