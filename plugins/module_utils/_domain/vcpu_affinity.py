# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: on which physical CPUs the vCPUs of a domain may run, read and written.

An affinity is a set of CPU numbers; with all CPUs of the host in it the vCPU is free. Source: virDomainPinVcpuFlags and
virDomainGetVcpuPinInfo, whose CPU maps are tuples of booleans, by CPU number.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import original_settings
from ansible_collections.virtops.balance.plugins.module_utils._domain import xml as domain_xml
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError

ALL = "all"
_CPUSET = re.compile(r" *\^?[0-9]{1,6}(-[0-9]{1,6})? *(, *\^?[0-9]{1,6}(-[0-9]{1,6})? *)*")
# No host has as many; it only keeps a broken number out of messages.
_MOST_CPUS = 1_000_000
Affinity = frozenset[int]


@dataclasses.dataclass(frozen=True)
class HostCpus:
    """The host's CPUs: how many numbers there are, and which of them are online."""

    count: int
    online: Affinity

    @classmethod
    def read(cls, connection: Connection) -> HostCpus:
        """Raises libvirtError."""
        count, online, _number = connection.handle.getCPUMap(0)
        return cls(count, frozenset(number for number, there in enumerate(online) if there))

    def parse(self, value: t.Any, *, what: str) -> Affinity:
        """Return the affinity that an option names: "all", a cpuset such as "0-3,^2", a number or a list of numbers.

        Raises BalanceError where it is malformed, empty, or names a CPU that the host does not have online.
        """
        if isinstance(value, str) and value.strip() == ALL:
            return self.online
        if isinstance(value, str):
            numbers: t.Sequence[t.Any] = domain_xml.parse_cpuset(value) if _CPUSET.fullmatch(value) else []
        else:
            numbers = value if isinstance(value, list) else [value]
            if not all(_is_number(number) for number in numbers):
                numbers = []
        if not numbers:
            raise BalanceError(
                f'{what} must be "{ALL}", a set of CPUs such as "0-3,^2" or a list of CPU numbers, not {value!a:.60}.'
            )
        wrong = sorted(set(numbers) - self.online)
        if wrong:
            raise BalanceError(f"{what} names CPU {wrong[0]}, but the host has {self.text(self.online, short=False)}.")
        return frozenset(numbers)

    def text(self, affinity: t.Iterable[int], *, short: bool = True) -> str:
        """Return "all" or a cpuset such as "0-3,8"."""
        numbers = self.online.intersection(affinity)
        return ALL if short and len(numbers) == len(self.online) else cpuset(numbers)

    def numbers(self, text: str) -> Affinity:
        """Return the affinity that text() wrote, as far as this host has the CPUs: it may have come from another."""
        if text == ALL:
            return self.online
        return self.online.intersection(domain_xml.parse_cpuset(text)) or self.online


def cpuset(cpus: t.Iterable[int]) -> str:
    """Return a cpuset such as "0-3,8"."""
    numbers = sorted(cpus)
    parts: list[str] = []
    start = 0
    for index, number in enumerate(numbers):
        if index + 1 == len(numbers) or numbers[index + 1] != number + 1:
            parts.append(str(number) if index == start else f"{numbers[start]}-{number}")
            start = index + 1
    return ",".join(parts)


def _is_number(value: t.Any) -> bool:
    # True and False are integers to Python.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_CPUS


def read(api: t.Any, domain: t.Any, cpus: HostCpus, *, flags: int) -> dict[int, Affinity]:
    """Return the affinity of each vCPU of the running domain, or of its definition. Raises libvirtError."""
    found = {
        number: cpus.online.intersection(cpu for cpu, set_ in enumerate(row) if set_)
        for number, row in enumerate(domain.vcpuPinInfo(flags))
    }
    if flags & api.VIR_DOMAIN_AFFECT_LIVE:
        # Those that could be plugged in are listed too, and cannot be pinned.
        plugged = {row[0] for row in domain.vcpus()[0]}
        found = {number: affinity for number, affinity in found.items() if number in plugged}
    return found


def write(api: t.Any, domain: t.Any, cpus: HostCpus, number: int, affinity: Affinity, *, flags: int) -> None:
    """Pin one vCPU. Raises libvirtError."""
    pinned = tuple(cpu in affinity for cpu in range(cpus.count))
    if not cpus.online <= affinity:
        domain.pinVcpuFlags(number, pinned, flags)
        return
    try:
        # Free means the CPUs too that are offline now.
        domain.pinVcpuFlags(number, (True,) * cpus.count, flags)
    except api.libvirtError as error:
        # Cgroup version 1 refuses a set with a CPU that is offline, such as the other threads where SMT is off.
        if _errors.is_connection_lost(error) or all(pinned):
            raise
        domain.pinVcpuFlags(number, pinned, flags)


def change(
    api: t.Any, domain: t.Any, cpus: HostCpus, wanted: t.Mapping[int, Affinity], *, flags: int, forget: bool = False
) -> None:
    """Remember the affinities that are changed for the first time, set the wanted ones and read them again.

    With RV(forget) they are the remembered ones, which are forgotten. Raises libvirtError, or BalanceError where one
    did not take.
    """
    before = read(api, domain, cpus, flags=flags)
    known = original_settings.read(api, domain, flags=flags)
    if not forget:
        kept = {number: cpus.text(before[number]) for number in wanted if number in before}
        kept.update(known.pins)
        if kept != known.pins:
            # Before anything is changed: who is killed in between leaves a note too many, never one too few.
            original_settings.write(api, domain, dataclasses.replace(known, pins=kept), flags=flags)
    for number, affinity in wanted.items():
        write(api, domain, cpus, number, affinity, flags=flags)
    after = read(api, domain, cpus, flags=flags)
    for number, affinity in wanted.items():
        if after.get(number) != affinity:
            shown = cpus.text(after.get(number, ()))
            raise BalanceError(
                f"Libvirt accepted the CPUs {cpus.text(affinity)} for vCPU {number} of {domain.name()}, "
                f"but reports {shown}."
            )
    if forget:
        original_settings.write(api, domain, dataclasses.replace(known, pins={}), flags=flags)
