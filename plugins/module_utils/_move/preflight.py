# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what can be known before a migration about whether the destination takes the domain.

Every check is one or two cheap calls. A check that cannot be made because this hypervisor, version or user gets no
answer is neither passed nor failed: libvirt itself looks again when the migration begins, before anything is moved.
Only the memory is different, because libvirt does not look at it: what is not known there does not pass.
"""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._move.checks import (
    cpu,
    interfaces,
    memory,
    mounts,
    names,
    pins,
    secrets,
    volumes,
)
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Check, Known, Subject
from ansible_collections.virtops.balance.plugins.module_utils._observe.shared_storage import SharedStorage


def check_destination(
    subject: Subject,
    source: Connection,
    destination: Connection,
    known: Known,
    *,
    storage: SharedStorage,
    copied: t.Collection[str] = (),
) -> t.Iterator[Check]:
    """Make all checks that ask the destination. Raises libvirtError where the connection is lost.

    RV(storage) is that of the source; RV(copied) are the targets of the disks that are copied along.
    """
    yield names.check_names(subject, destination)
    yield cpu.check_machine(subject, destination)
    yield cpu.check_cpu(subject, source, destination)
    yield from pins.check_pins(subject, source, destination)
    yield memory.check_memory(
        subject.live,
        subject.migratable,
        destination,
        known,
        host=subject.destination,
        used_mib=subject.used_mib,
    )
    yield from volumes.check_volumes(subject, destination, copied=copied)
    yield from mounts.check_mounts(subject, storage, destination, known, copied=copied)
    yield from secrets.check_secrets(subject, destination)
    yield from interfaces.check_interfaces(subject, destination, known.bridges)
