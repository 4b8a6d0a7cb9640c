# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: does the hypervisor of another host offer the CPU that a running domain has?

What counts is the CPU of the running domain: its definition may say no more than "that of my host" (host-model), but on
arrival libvirt insists on what the domain has had so far.

The question is virConnectCompareHypervisorCPU, whose answer falls short of the truth: QEMU gives guests features that
libvirt does not count among those of the host (topoext with KVM and the model EPYC, seen with libvirt 11.3 and QEMU
10.0), so that a running domain would not even fit on its own host. What its own host lacks by the same comparison
says nothing about another host.
"""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection


def find_missing(host: Connection, arguments: tuple[str | None, ...], cpu: ET.Element) -> str | None:
    """Return what the host lacks of the CPU, as libvirt says it, None = nothing.

    RV(arguments) are emulator, architecture, machine type and domain type.
    Raises libvirtError where it cannot tell.
    """
    api = host.api
    try:
        result = host.handle.compareHypervisorCPU(
            *arguments, ET.tostring(cpu, encoding="unicode"), api.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE
        )
    except api.libvirtError as error:
        if _errors.code_of(error) == _errors.CPU_INCOMPATIBLE:
            return str(error)
        raise
    return "it is incompatible" if result == api.VIR_CPU_COMPARE_INCOMPATIBLE else None


def comparable(source: Connection, arguments: tuple[str | None, ...], cpu: ET.Element) -> ET.Element | None:
    """Return the CPU without the features that its own host is not said to offer, None = not even the model is.

    Raises libvirtError where the host cannot tell.
    """
    features = [feature for feature in cpu.findall("feature") if feature.get("policy") != "disable"]
    bare = copy.copy(cpu)
    for feature in features:
        bare.remove(feature)
    if find_missing(source, arguments, bare) is not None:
        return None
    known = copy.copy(bare)
    for feature in features:
        one_more = copy.copy(bare)
        one_more.append(feature)
        if find_missing(source, arguments, one_more) is None:
            known.append(feature)
    return known
