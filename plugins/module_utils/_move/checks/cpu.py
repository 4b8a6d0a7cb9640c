# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: can the destination offer the machine and the CPU that the domain has?"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._move import guest_cpu
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Check, Subject, plain


def _hypervisor_arguments(subject: Subject) -> tuple[str | None, str | None, str | None, str | None]:
    return (
        subject.migratable.findtext("devices/emulator"),
        subject.live.arch,
        subject.live.machine,
        subject.live.type,
    )


def check_machine(subject: Subject, destination: Connection) -> Check:
    """Ask for the capabilities of exactly this emulator, machine and domain type: libvirt refuses unknown ones."""
    what = f"machine type {subject.live.machine}, domain type {subject.live.type}"
    try:
        destination.handle.getDomainCapabilities(*_hypervisor_arguments(subject), 0)
    except destination.api.libvirtError as error:
        if destination.lost(error):
            raise
        if _errors.code_of(error) in (_errors.NO_SUPPORT, _errors.OPERATION_DENIED, _errors.ACCESS_DENIED):
            return Check("machine", None, f"{subject.destination} cannot be asked for its machine types")
        kind = "machine"
        if _offered_otherwise(subject, destination):
            # So what it said does not hold for domains with another emulator.
            kind, what = "emulator", f"{what} by {subject.migratable.findtext('devices/emulator')}"
        return Check(kind, False, f"{subject.destination} does not offer {what}: {plain(error)}")
    return Check("machine", True, f"{subject.destination} offers {what}")


def _offered_otherwise(subject: Subject, destination: Connection) -> bool:
    """Does the destination offer the machine by its own emulator, where the domain names another one?"""
    emulator, *rest = _hypervisor_arguments(subject)
    if emulator is None:
        return False
    try:
        destination.handle.getDomainCapabilities(None, *rest, 0)
    except destination.api.libvirtError as error:
        if destination.lost(error):
            raise
        return False
    return True


def check_cpu(subject: Subject, source: Connection, destination: Connection) -> Check:
    cpu = subject.cpu
    if cpu is None or cpu.find("model") is None:
        # host-passthrough, maximum: a blocker says so where nobody accepted it, and there is nothing to compare.
        return Check("cpu", None, "its CPU has no model that could be compared")
    arguments = _hypervisor_arguments(subject)
    asked = destination
    try:
        missing = guest_cpu.find_missing(destination, arguments, cpu)
        if missing is not None:
            asked = source
            cpu = guest_cpu.comparable(source, arguments, cpu)
            if cpu is None:
                return Check("cpu", None, f"not even {subject.source} is said to offer its CPU")
            asked = destination
            missing = guest_cpu.find_missing(destination, arguments, cpu)
    except asked.api.libvirtError as error:
        if asked.lost(error):
            raise
        name = subject.source if asked is source else subject.destination
        return Check("cpu", None, f"{name} cannot compare CPUs: {plain(error)}")
    if missing is not None:
        return Check("cpu", False, f"{subject.destination} cannot offer its CPU: {plain(missing)}")
    return Check("cpu", True, f"{subject.destination} can offer its CPU")
