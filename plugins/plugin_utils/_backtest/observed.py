# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The fleet of a replay as it would be observed: a snapshot as of data_model.rst."""

from __future__ import annotations

import typing as t
from collections import deque
from datetime import timedelta

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.world import World, WorldDomain, WorldHost
from ansible_collections.virtops.balance.plugins.plugin_utils._power_model import Power
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import SCHEMA
from ansible_collections.virtops.balance.plugins.plugin_utils._times import stamp

Json = dict[str, t.Any]


class Observer:
    """Makes snapshots of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._hosts = {name: _facts_of_host(host) for name, host in world.hosts.items()}
        self._domains = {uuid: _facts_of_domain(domain) for uuid, domain in world.domains.items()}

    def snapshot(self) -> Json:
        """The fleet now."""
        world, moment = self._world, self._time(self._world.seconds)
        shares = {name: world.share(host) for name, host in world.hosts.items() if host.awake}
        return {
            "schema": SCHEMA,
            "taken_at": moment,
            "hosts": {
                name: self._host(host, *shares[name], moment) if host.awake else self._asleep(host)
                for name, host in world.hosts.items()
            },
            "domains": {
                uuid: self._domain(domain, domain.host, shares[domain.host][1], moment)
                for uuid, domain in world.domains.items()
                if domain.host is not None
            },
            "doubts": [],
        }

    def _time(self, seconds: float) -> str:
        return stamp(self._world.recording.begins_at + timedelta(seconds=seconds))

    def _asleep(self, host: WorldHost) -> Json:
        facts = host.facts
        before = {
            "since": self._time(host.asleep_since),
            "threads": facts.threads,
            "memory_total_mib": facts.memory_mib,
        }
        return {**self._hosts[facts.name], "state": "asleep", "asleep": before}

    def _host(self, host: WorldHost, asked: float, share: float, moment: str) -> Json:
        facts, found = host.facts, self._hosts[host.facts.name]
        free = facts.memory_mib - facts.own_mib - self._world.held_mib(host)
        return {
            **found,
            "state": "active",
            "cpu": {**found["cpu"], "usage": self._world.used(host, asked, share)},
            "memory": {**found["memory"], "available_mib": max(0.0, free)},
            "marks": dict(host.marks),
            "history": self._history(moment, cpu=host.past, own_cores=host.own_past),
        }

    def _domain(self, domain: WorldDomain, name: str, share: float, moment: str) -> Json:
        speed = self._world.hosts[name].facts.speed
        wanted = self._world.wanted(domain)
        cores = domain.cores if speed == 1.0 else [None if got is None else got / speed for got in domain.cores]
        return {
            **self._domains[domain.facts.uuid],
            "host": name,
            "cpu_cores": None if wanted is None else min(wanted, domain.most(speed)) * share / speed,
            "cpu_ready": 1.0 - share,
            "last_moved_at": None if domain.moved_at is None else self._time(domain.moved_at),
            "history": self._history(moment, cpu_cores=cores, cpu_ready=domain.ready),
        }

    def _history(self, moment: str, **columns: deque[float | None] | list[float | None]) -> Json | None:
        """Cores are those of the present host, as those that it measures are."""
        if not all(columns.values()):
            return None
        found = {name: list(values) for name, values in columns.items()}
        return {"step_seconds": self._world.recording.step, "ends_at": moment, **found}


def _facts_of_host(host: WorldHost) -> Json:
    """What never changes, or is as it was in the end."""
    facts = host.facts
    return {
        "may_sleep": facts.power is not None,
        **facts.facts,
        "problem": None,
        "speed": facts.speed,
        "power_model": _watts(facts.power),
        "cpu": {**(facts.facts.get("cpu") or {}), "threads": facts.threads},
        "memory": {"hugepages": [], **(facts.facts.get("memory") or {}), "total_mib": facts.memory_mib},
    }


def _facts_of_domain(domain: WorldDomain) -> Json:
    facts = domain.facts
    sizes = dict.fromkeys(("maximum_mib", "current_mib", "rss_mib"), facts.memory_mib)
    return {
        "hugepages": False,
        "blockers": [],
        **facts.facts,
        "name": facts.name,
        "destination": None,
        "state": "running",
        "job": None,
        "unfinished_move": None,
        "vcpus": facts.vcpus,
        "cap": facts.cap,
        "memory": {**sizes, **(facts.facts.get("memory") or {})},
    }


def _watts(power: Power | None) -> list[float] | Json | None:
    if power is None:
        return None
    if len(power.points) > 2:
        return list(power.points)
    return {"idle_watts": power.idle, "max_watts": power.full}
