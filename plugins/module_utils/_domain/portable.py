# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the definition of a domain as another host takes it.

Libvirt sends what the domain has on its host. Of that some numbers mean something else on another host, and some were
only set by this collection for as long as the domain is there.
"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils._domain import cpu_shares, original_settings
from ansible_collections.virtops.balance.plugins.module_utils._domain import metadata as domain_metadata
from ansible_collections.virtops.balance.plugins.module_utils._domain.vcpu_affinity import ALL
from ansible_collections.virtops.balance.plugins.module_utils._domain.xml import QEMU_NAMESPACE, integer, parse_cpuset

_QUOTAS = ("quota", "global_quota", "emulator_quota", "iothread_quota")
_PINS = ("vcpupin", "emulatorpin", "iothreadpin")


@dataclass(frozen=True)
class Change:
    """What is different between two hosts: the versions of their cgroups, and the CPUs that the source has online.

    What is not known (None) changes nothing.
    """

    source_version: int | None = None
    destination_version: int | None = None
    source_cpus: t.Collection[int] | None = None


def portable(text: str, change: Change = Change()) -> str:
    """Return a definition that the other host takes too, see adapt()."""
    root = ET.fromstring(text)
    return serialise(root) if adapt(root, change) else text


def adapt(root: ET.Element, change: Change) -> bool:
    """Change a definition so that the other host takes it. Returns whether there was anything to change.

    It loses the quotas that limit nothing, gets the number that means its weight there, and its vCPUs go back to where
    they might run before this collection pinned them.
    """
    changed = drop_empty_quotas(root)
    changed |= convert_weight(root, change.source_version, change.destination_version)
    return release_pins(root, change.source_cpus) or changed


def convert_weight(root: ET.Element, source_version: int | None, destination_version: int | None) -> bool:
    """Give a definition the number that means its weight at the destination. Returns whether that is another one.

    Libvirt sends cpu_shares as they are, so 1024 (the default of cgroup version 1) would be ten times the default of
    version 2.
    """
    if source_version is None or destination_version is None or source_version == destination_version:
        return False
    shares = root.find("cputune/shares")
    before = integer(None if shares is None else shares.text)
    if shares is None or before is None or before < 0:
        return False
    wanted = cpu_shares.shares_for(before, source_version=source_version, destination_version=destination_version)
    shares.text = str(wanted)
    return wanted != before


def drop_empty_quotas(root: ET.Element) -> bool:
    """Take the quotas out of a definition that limit nothing. Returns whether there were any.

    Libvirt keeps a quota that was taken away as -1, and as 17592186044415 where somebody wrote what cgroup version 2
    shows for none. A destination with version 1 refuses the latter ("Invalid value for 'cpu.cfs_quota_us'").
    """
    tune = root.find("cputune")
    empty = [] if tune is None else [child for child in tune if child.tag in _QUOTAS and not _limits(child)]
    for child in empty:
        t.cast(ET.Element, tune).remove(child)
    return bool(empty)


def _limits(quota: ET.Element) -> bool:
    return cpu_shares.limits(integer(quota.text))


def release_pins(root: ET.Element, all_cpus: t.Collection[int] | None) -> bool:
    """Give the vCPUs of a definition the CPUs that they had before this collection pinned them, and forget that it did.
    Returns whether there was anything to do.

    A thread that may run on RV(all_cpus), those of its host, is free: nothing is said about it, because another host
    has others.
    """
    changed = _restore_pins(root)
    if not all_cpus:
        return changed
    tune, vcpu = root.find("cputune"), root.find("vcpu")
    for pin in [] if tune is None else [child for child in tune if child.tag in _PINS]:
        if set(all_cpus).issubset(parse_cpuset(pin.get("cpuset"))):
            t.cast(ET.Element, tune).remove(pin)
            changed = True
    if vcpu is not None and set(all_cpus).issubset(parse_cpuset(vcpu.get("cpuset"))):
        del vcpu.attrib["cpuset"]
        changed = True
    return changed


def _restore_pins(root: ET.Element) -> bool:
    state, tune = domain_metadata.find(root), root.find("cputune")
    remembered = original_settings.parse_text(None if state is None else ET.tostring(state, encoding="unicode")).pins
    if state is None or not remembered:
        return False
    for pin in [] if tune is None else tune.findall("vcpupin"):
        cpus = remembered.get(int(pin.get("vcpu", "-1")))
        if cpus == ALL and tune is not None:
            tune.remove(pin)
        elif cpus is not None:
            pin.set("cpuset", cpus)
    original_settings.forget_pins(state)
    return True


def serialise(root: ET.Element) -> str:
    """Return the text of a definition, with the prefixes that libvirt's own have."""
    ET.register_namespace(domain_metadata.PREFIX, domain_metadata.NAMESPACE)
    ET.register_namespace("qemu", QEMU_NAMESPACE)
    return ET.tostring(root, encoding="unicode")
