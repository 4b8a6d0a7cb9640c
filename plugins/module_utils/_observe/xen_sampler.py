# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: statistics of a Xen host.

Libvirt's Xen driver (libxl) has neither virConnectGetAllDomainStats nor the statistics of the node, so every domain
is asked by itself and the host's CPU is the sum of its domains, Domain-0 included. There is no figure for the time
that a vCPU waits. Seen with libvirt 11.3 and Xen 4.20.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._domain.xml import DomainXml
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts, rates
from ansible_collections.virtops.balance.plugins.module_utils._observe.sampler import DomainSample, Sample

_DEFAULT_WEIGHT = 256


def read_stats(api: t.Any, domain: t.Any) -> dict[str, int] | None:
    """Return what Xen tells of a domain, by the names of the bulk statistics; None where it is gone.

    Raises libvirtError.
    """
    try:
        state, maximum, current, vcpus, cpu_time = domain.info()
        reason = domain.state(0)[1]
    except api.libvirtError as error:
        if _errors.code_of(error) == _errors.NO_DOMAIN:
            return None
        raise
    return {
        "state.state": state,
        "state.reason": reason,
        "cpu.time": cpu_time,
        "vcpu.current": vcpus,
        "balloon.maximum": maximum,
        "balloon.current": current,
    }


class XenSampler:
    """Samples domain by domain."""

    def __init__(self, connection: Connection, *, monotonic: t.Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._monotonic = monotonic

    def sample(self) -> Sample:
        api, handle = self._connection.api, self._connection.handle
        begin = self._monotonic()
        domains: dict[str, DomainSample] = {}
        counters: dict[str, int] = {}
        for domain in handle.listAllDomains(api.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            stats = read_stats(api, domain)
            if stats is None:
                continue
            uuid = domain.UUIDString()
            counters[uuid] = stats["cpu.time"]
            # Domain-0 is the host itself.
            if domain.ID() != 0:
                domains[uuid] = DomainSample(domain, stats)
        return Sample((begin + self._monotonic()) / 2, counters, domains)

    def host_cpu(self, before: Sample, after: Sample) -> dict[str, float | None]:
        """Return the host's usage. A domain that is new, or whose counter went backwards, counts from zero."""
        unknown: dict[str, float | None] = {"usage": None, "iowait": None}
        first, second = before.host_counters or {}, after.host_counters or {}
        elapsed, threads = after.at - before.at, self.threads()
        if elapsed <= 0 or not threads:
            return unknown
        used = 0
        for uuid, cpu_time in second.items():
            grown = rates.increase(first, second, uuid)
            used += cpu_time if grown is None else grown
        usage = used / rates.NANOSECONDS / elapsed / threads
        return {"usage": round(min(usage, 1.0), 4), "iowait": None}

    def threads(self) -> int | None:
        return host_facts.read_node_info(self._connection).get("cpus")

    def memory(self) -> dict[str, t.Any]:
        return host_facts.read_memory(self._connection)

    def tuning(self, domain: t.Any, xml: DomainXml | None) -> dict[str, float | None]:
        """Ask Xen's scheduler (credit or credit2): its values are not in the definition."""
        parameters = host_facts.ask(self._connection, domain.schedulerParameters) or {}
        share = parameters.get("weight")
        return {
            "weight": None if share is None else round(share / _DEFAULT_WEIGHT, 3),
            "cap": parameters.get("cap"),
        }
