# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The hosts and domains that take part in an allocation, as a problem to solve.

A host offers ``cpu_limit`` of its threads and ``memory_limit`` of its memory, less its reserve. The present load does
not count, because what domains get must not depend on what they happen to use at the moment. Domains that are not
allocated count with the CPU that they demand and with their maximum memory, and stay on their host.
"""

from __future__ import annotations

import math
import typing as t
from collections.abc import Mapping

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.problem import (
    DomainRequest,
    HostOffer,
    Problem,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.wanted_domains import (
    STOP,
    AllocationSettings,
    WantedDomain,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import FleetError, PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU
from ansible_collections.virtops.balance.plugins.plugin_utils._power_model import Power
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.interrupted_restarts import interrupted_restarts

# What is measured of domains that are not allocated is rounded up, so that it does not flicker from run to run.
_CORES_STEP = 0.1
_MEMORY_STEPS = 100
# Of memory, where the problem wants a figure above 0.
_HARDLY_ANY = 1e-6
_ROUNDING = 1e-6


class Participants:
    """The hosts and domains. A domain has a label: its name, or its UUID where several domains have that name.

    ``usable``: hosts by name. By label: ``wanted``, the domains to allocate; ``domains``, those of them that run;
    ``homes``, their hosts; ``to_stop``, those to shut down; ``fixed``, those that cannot be moved; and ``aside``, those
    that cannot be allocated in this run; the last three with the reason.
    """

    def __init__(self, fleet: Fleet, settings: AllocationSettings, wanted: list[WantedDomain]) -> None:
        self.fleet, self.settings, self.rules = fleet, settings, Rules(fleet)
        self.usable = {
            host.name: host for host in fleet.counted() if not fleet.domains or self.rules.closed(host) is None
        }
        names = [domain.name for domain in wanted]
        self.wanted = {domain.name if names.count(domain.name) == 1 else domain.key: domain for domain in wanted}
        self.domains = {
            label: fleet[wanted.domain.uuid] for label, wanted in self.wanted.items() if wanted.domain is not None
        }
        self.to_stop: dict[str, str] = {}
        self.fixed: dict[str, Reason] = {}
        self.aside: dict[str, Reason] = {}
        self._sort_out()
        self.homes = {label: domain.home.name for label, domain in self.domains.items()}
        self.power = {name: self._power(name) for name in self.usable}

    def _sort_out(self) -> None:
        """Find the domains that cannot be moved, and those that cannot be allocated in this run."""
        for label, wanted in self.wanted.items():
            if wanted.settings.state == STOP and wanted.domain is None:
                continue
            reason = self._why_aside(label, wanted)
            if reason is not None:
                self.aside[label] = reason
            elif wanted.settings.state == STOP:
                self.to_stop[label] = f"{label} is to be stopped (balance_domains)."
            elif label in self.domains:
                held = self._why_fixed(self.domains[label])
                if held is not None:
                    self.fixed[label] = held

    def _why_aside(self, label: str, wanted: WantedDomain) -> Reason | None:
        domain = self.domains.get(label)
        if domain is None:
            silent = [host.name for host in self.fleet.hosts if host.facts.state == "unknown"]
            if silent:
                return Reason("unknown_host", f"it may run on {silent[0]}, which did not answer")
            return None
        if domain.facts.destination is not None or domain.facts.job is not None:
            return Reason("in_flight", "a migration or another job of libvirt holds it")
        if wanted.settings.state == STOP:
            return None
        if wanted.cpu_max is None or wanted.memory_mib is None:
            return Reason("unknown_domain", "its vCPUs or its memory are not known")
        if domain.home.name not in self.usable:
            held = self._why_fixed(domain)
            if held is not None:
                return held
            if domain.home.facts.state == "unknown" or domain.home.ignored:
                return Reason("ignored_host", f"{domain.home.name} takes no part")
            if domain.home.facts.marks_problem is not None and not domain.home.drained:
                return Reason("unknown_marks", f"it is not known whether {domain.home.name} is drained")
        return None

    def _why_fixed(self, domain: ProjectedDomain) -> Reason | None:
        """Why the domain has to stay on its host."""
        reason = self.rules.fixed(domain, repair=bool(self.rules.violations(domain)))
        if reason is not None:
            return reason
        for group in domain.groups:
            if group.must and group.kind != "anti_affinity":
                return Reason(group.kind, f"an allocation does not move domains of {group.name}")
        if domain.huge_mib:
            return Reason("memory", "an allocation does not move domains that have huge pages")
        return None

    def _power(self, name: str) -> Power | None:
        found = self.usable[name].facts.power_model or self.settings.power
        if found is None and self.settings.power_weight > 0.0:
            raise PolicyError(
                f"balance_allocation.power_weight is above 0, but what {name} draws is not known: set "
                "balance_power_model for it, or balance_allocation.power for all hosts, as {idle_watts, max_watts}."
            )
        return found

    def problem(self, pins: Mapping[str, str], stranded: t.Container[str]) -> Problem:
        """The problem. ``pins``: hosts of domains that may be on no other. ``stranded``: domains to leave alone."""
        items = {
            label: wanted
            for label, wanted in self.wanted.items()
            if wanted.settings.state != STOP and label not in self.aside and label not in stranded
        }
        gone = {self.domains[label].index for label in (*items, *self.to_stop) if label in self.domains}
        hosts = {name: offer for name, host in self.usable.items() if (offer := self._offer(host, gone)) is not None}
        if not hosts:
            raise FleetError(
                "No host has room for domains: every one is unknown, drained or ignored, or keeps all it has."
            )
        enough = 1.0 + sum(wanted.settings.share * (wanted.cpu_max or 0.0) for wanted in items.values())
        enough += self.settings.power_weight * sum(found.full for found in self.power.values() if found is not None)
        return Problem(
            hosts=hosts,
            domains={label: self._request(label, wanted, pins, enough, hosts) for label, wanted in items.items()},
            power_weight=self.settings.power_weight,
            refuses=self._refuses,
        )

    def _offer(self, host: ProjectedHost, gone: t.Container[int]) -> HostOffer | None:
        policy, facts = self.fleet.policy, host.facts
        total = facts.memory_total_mib or 0.0
        cores = ((facts.threads or 0) * policy.cpu_limit - host.reserved_cores) * facts.speed
        own = host.committed_mib - sum(domain.committed_mib for domain in host.domains.values())
        step = total / _MEMORY_STEPS
        memory = total * policy.memory_limit * policy.memory_overcommit - _up(own, step)
        if cores <= 0.0 or memory <= 0.0:
            return None
        others = [domain for index, domain in host.domains.items() if index not in gone]
        return HostOffer(
            cores=cores,
            memory_mib=memory,
            power=self.power[host.name],
            cpu_used=min(cores, _up(sum(domain.demand[CPU] for domain in others), _CORES_STEP)),
            memory_used_mib=min(memory, sum(domain.committed_mib for domain in others)),
            apart=tuple(sorted({name for domain in others for name in _apart(domain)})),
        )

    def _request(
        self, label: str, wanted: WantedDomain, pins: Mapping[str, str], enough: float, hosts: t.Container[str]
    ) -> DomainRequest:
        domain, settings = self.domains.get(label), wanted.settings
        allowed: t.Iterable[str] | None = settings.hosts
        if domain is None:
            self._check_not_interrupted(wanted)
        if domain is None and settings.xml_path is None and settings.template is None:
            defined = self._defined(wanted)
            allowed = defined if allowed is None else [host for host in allowed if host in defined]
        if domain is not None and label in self.fixed:
            allowed = (domain.home.name,)
        if label in pins:
            allowed = (pins[label],)
        most = wanted.cpu_max or 0.0
        huge = domain is not None and domain.huge_mib > 0.0
        return DomainRequest(
            cpu_min=min(settings.cpu_min, most),
            cpu_max=most,
            share=settings.share,
            utility_running=enough if settings.must_run else 0.0,
            # Huge pages are set aside before, so they are no part of what is handed out.
            memory_mib=_HARDLY_ANY if huge else wanted.memory_mib or 0.0,
            hosts=None if allowed is None else tuple(host for host in allowed if host in hosts),
            apart=tuple(sorted({*settings.apart, *(() if domain is None else _apart(domain))})),
        )

    def _check_not_interrupted(self, wanted: WantedDomain) -> None:
        """Raise PolicyError if the same run would also start the domain to finish its interrupted restart."""
        for found in interrupted_restarts(self.fleet.snapshot.raw):
            if wanted.key in (found["name"], found["uuid"]):
                raise PolicyError(
                    f"balance_domains.{wanted.name} is shut off because its restart from {found['source']} to "
                    f"{found['destination']} was interrupted: run rebalance.yml first, which brings that to its end."
                )

    def _defined(self, wanted: WantedDomain) -> list[str]:
        """The hosts on which a domain that does not run is defined."""
        raw = self.fleet.snapshot.raw["hosts"]
        found = [
            name
            for name in sorted(raw)
            if any(wanted.key in (one.get("name"), one.get("uuid")) for one in raw[name].get("inactive_domains") or ())
        ]
        if not found:
            raise PolicyError(
                f"balance_domains.{wanted.name} runs nowhere and no host has a definition of it: give it the key "
                "'xml_path' or 'template'."
            )
        return found

    def _refuses(self, label: str, host_name: str) -> Reason | None:
        domain, host = self.domains.get(label), self.usable[host_name]
        if domain is None:
            vcpus, threads = self.wanted[label].vcpus or 0, host.facts.threads or 0
            if vcpus > threads:
                return Reason("vcpus", f"has {vcpus} vCPUs, {host.name} has {threads} threads")
            return None
        if host is not domain.home:
            return self.rules.suits(domain, host)
        if label in self.fixed:
            return None
        # Whatever else there may be against the host, the domain runs there.
        return next((reason for reason in self.rules.violations(domain) if reason.constraint == "pins"), None)

    def may_stay(self, label: str) -> bool:
        hosts = self.wanted[label].settings.hosts
        return self.homes[label] in self.usable and (hosts is None or self.homes[label] in hosts)


def _apart(domain: ProjectedDomain) -> t.Iterator[str]:
    for group in domain.groups:
        if group.must and group.kind == "anti_affinity":
            yield group.name


def _up(value: float, step: float) -> float:
    return math.ceil(value / step - _ROUNDING) * step
