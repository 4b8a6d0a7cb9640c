# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what a sampler of statistics is, and the one that serves every hypervisor but Xen."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._domain.xml import DomainXml, weight
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts, procfs, rates

# Five hundred domains take about two seconds.
STATS_TIMEOUT_SECONDS = 15.0
# A first answer that takes longer is thrown away: between the first domain and the others, a daemon that has just
# started looks for emulators (virQEMUDriverCreateCapabilities). 2.4 s of that made a fifth too much or too little CPU
# of five seconds, and a daemon with socket activation has ended after two minutes without a question.
_SLOW_FIRST_ANSWER_SECONDS = 0.5


class DomainSample(t.NamedTuple):
    """One domain at one time: its virDomain and its statistics by the names of virConnectGetAllDomainStats.

    RV(held) says that something else holds the domain, so that a question to its QEMU would wait.
    """

    handle: t.Any
    stats: t.Mapping[str, t.Any]
    held: bool = False


@dataclass(frozen=True)
class Sample:
    """All active domains at one time. RV(at) is a monotonic time in seconds.

    RV(cpu_ticks) by CPU and RV(swapped_out_kib) of the host are cumulative, None where it is another machine.
    """

    at: float
    host_counters: t.Mapping[str, int] | None
    domains: dict[str, DomainSample]
    cpu_ticks: t.Mapping[int, procfs.CpuTicks] | None = None
    swapped_out_kib: int | None = None


def is_held(stats: t.Mapping[str, t.Any]) -> bool:
    """Return whether libvirt passed over a domain that something else holds (the NOWAIT flag).

    Then the size of the balloon is there, which libvirt knows itself, but nothing that it takes from QEMU's process.
    """
    return "balloon.maximum" in stats and "balloon.rss" not in stats and "balloon.last-update" not in stats


class Sampler(t.Protocol):
    """What differs between hypervisors."""

    def sample(self) -> Sample:
        """Take one sample. Raises libvirtError or BalanceError."""

    def host_cpu(self, before: Sample, after: Sample) -> dict[str, float | None]:
        """Return {usage, iowait} of the host as fractions."""

    def threads(self) -> int | None:
        """Return the number of CPUs that the usage is about."""

    def memory(self) -> dict[str, t.Any]:
        """Return {total_mib, available_mib, swap_used_mib, zfs_cache_mib, shared_mib} of the host."""

    def tuning(self, domain: t.Any, xml: DomainXml | None) -> dict[str, float | None]:
        """Return {weight, cap} of one domain."""


class BulkSampler:
    """Samples with one call for all domains, virConnectGetAllDomainStats."""

    def __init__(
        self,
        connection: Connection,
        *,
        cgroup_version: int | None,
        monotonic: t.Callable[[], float] = time.monotonic,
        root: str = "/",
    ) -> None:
        self._connection = connection
        self._cgroup_version = cgroup_version
        self._monotonic = monotonic
        self._root = root
        self._answered = False

    def sample(self) -> Sample:
        at, rows = self._domain_stats()
        counters = host_facts.read_cpu_counters(self._connection)
        local = self._connection.local
        domains = {domain.UUIDString(): DomainSample(domain, stats, is_held(stats)) for domain, stats in rows}
        return Sample(
            at,
            counters,
            domains,
            cpu_ticks=procfs.read_cpu_ticks(root=self._root) if local else None,
            swapped_out_kib=procfs.read_swapped_out_kib(root=self._root) if local else None,
        )

    def host_cpu(self, before: Sample, after: Sample) -> dict[str, float | None]:
        return rates.host_cpu(before.host_counters, after.host_counters)

    def threads(self) -> int | None:
        return host_facts.read_threads(self._connection, root=self._root)

    def memory(self) -> dict[str, t.Any]:
        return host_facts.read_memory(self._connection, root=self._root)

    def tuning(self, domain: t.Any, xml: DomainXml | None) -> dict[str, float | None]:
        if xml is None:
            return {"weight": None, "cap": None}
        return {"weight": weight(xml.shares, self._cgroup_version), "cap": xml.cap}

    def _domain_stats(self) -> tuple[float, list[tuple[t.Any, dict[str, t.Any]]]]:
        """Return the statistics of all active domains and the time that they are of."""
        api = self._connection.api
        groups = (
            api.VIR_DOMAIN_STATS_STATE
            | api.VIR_DOMAIN_STATS_CPU_TOTAL
            | api.VIR_DOMAIN_STATS_BALLOON
            | api.VIR_DOMAIN_STATS_VCPU
        )
        # Without NOWAIT every domain that is being migrated to this host costs 30 seconds.
        flags = api.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | api.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        ask = self._connection.handle.getAllDomainStats

        def answer() -> tuple[float, float, list[tuple[t.Any, dict[str, t.Any]]]]:
            begin = self._monotonic()
            rows = self._connection.call(
                lambda: ask(groups, flags), STATS_TIMEOUT_SECONDS, doing="read the statistics of the domains"
            )
            return begin, self._monotonic(), rows

        begin, end, rows = answer()
        if not self._answered and end - begin > _SLOW_FIRST_ANSWER_SECONDS:
            begin, end, rows = answer()
        self._answered = True
        # The daemon visits one domain after the other: the middle is nearest to all of them.
        return (begin + end) / 2, rows
