# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: does the destination have the CPUs and NUMA cells that the domain is bound to?

What this collection pinned is released on the way (see portable.py), so all that is looked at here a person wrote.
"""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import original_settings, required, vcpu_affinity
from ansible_collections.virtops.balance.plugins.module_utils._domain.vcpu_affinity import Affinity, HostCpus
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import PINS, Check, Subject
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts


def check_pins(subject: Subject, source: Connection, destination: Connection) -> t.Iterator[Check]:
    """Make the checks that the domain gives a reason for: none where nothing is bound."""
    pins = required.bound_threads(subject.migratable)
    if pins:
        cpus = host_facts.read_cpus(destination)
        if cpus is None:
            yield Check("pins", None, f"{subject.destination} cannot be asked for its CPUs")
        else:
            yield _cpus_there(subject, pins, cpus)
            yield from _cpus_free(subject, pins, source, destination)
    cells = required.bound_cells(subject.migratable)
    if cells:
        yield _cells_there(subject, cells, destination)


def _cpus_there(subject: Subject, pins: t.Mapping[str, Affinity], cpus: HostCpus) -> Check:
    lacking = {name: wanted - cpus.online for name, wanted in pins.items() if wanted - cpus.online}
    if not lacking:
        return Check("pins", True, f"{subject.destination} has the CPUs that it is pinned to")
    numbers = frozenset().union(*lacking.values())
    missing = frozenset(number for number in numbers if number >= cpus.count)
    problems = [
        f"which {subject.destination} {what}: {vcpu_affinity.cpuset(some)}"
        for some, what in ((missing, "does not have"), (numbers - missing, "has offline"))
        if some
    ]
    message = f"it is pinned ({', '.join(lacking)}) to CPUs {', and '.join(problems)}"
    return Check("pins", False, message, kind=PINS, about=vcpu_affinity.cpuset(numbers))


def _cpus_free(
    subject: Subject, pins: t.Mapping[str, Affinity], source: Connection, destination: Connection
) -> t.Iterator[Check]:
    """Check that no vCPU that has its CPUs for itself would share them all on the destination."""
    alone = {name: cpus for name, cpus in pins.items() if len(cpus) == 1}
    if not alone:
        return
    taken = _taken(destination, subject.uuid)
    shared = {name: cpu for name, (cpu,) in alone.items() if cpu in taken}
    if shared:
        # Who shares a CPU already may share one there.
        here = _taken(source, subject.uuid)
        shared = {name: cpu for name, cpu in shared.items() if cpu not in here}
    for name, cpu in shared.items():
        yield Check(
            "pins",
            False,
            f"{name} is pinned to CPU {cpu} alone, and so is a vCPU of {taken[cpu]} on {subject.destination}",
        )


def _taken(connection: Connection, uuid: str) -> dict[int, str]:
    """Return the CPUs to which a person pinned a vCPU of another domain alone, with the name of the domain.

    Neither call waits for a job on the domain, as the question for its definition would.
    """
    api, cpus = connection.api, host_facts.read_cpus(connection)
    found: dict[int, str] = {}
    if cpus is None:
        return found
    domains = host_facts.ask(connection, connection.handle.listAllDomains, api.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    for domain in domains or ():
        if domain.UUIDString() == uuid:
            continue
        try:
            pins = vcpu_affinity.read(api, domain, cpus, flags=api.VIR_DOMAIN_AFFECT_LIVE)
            ours = original_settings.read(api, domain, flags=api.VIR_DOMAIN_AFFECT_LIVE).pins
        except api.libvirtError as error:
            if connection.lost(error):
                raise
            # It has ended meanwhile.
            continue
        for number, affinity in pins.items():
            if len(affinity) == 1 and number not in ours and len(cpus.online) > 1:
                found[next(iter(affinity))] = domain.name()
    return found


def _cells_there(subject: Subject, wanted: Affinity, destination: Connection) -> Check:
    cells = host_facts.read_capabilities(destination).cells
    if cells is None:
        return Check("numa", None, f"{subject.destination} does not tell its NUMA cells")
    missing = wanted - {cell.id for cell in cells}
    if missing:
        text = vcpu_affinity.cpuset(missing)
        message = f"its memory is bound to NUMA cell {text}, which {subject.destination} does not have"
        return Check("numa", False, message, about=text)
    return Check("numa", True, f"{subject.destination} has the NUMA cells that its memory is bound to")
