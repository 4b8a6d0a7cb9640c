# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what an observation says about one domain."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._domain import state as domain_state
from ansible_collections.virtops.balance.plugins.module_utils._domain.required import Required
from ansible_collections.virtops.balance.plugins.module_utils._domain.xml import DomainXml
from ansible_collections.virtops.balance.plugins.module_utils._observe import migration_blockers, rates
from ansible_collections.virtops.balance.plugins.module_utils._observe.shared_storage import SharedStorage

Stats = t.Mapping[str, t.Any]

_FRESH_SECONDS = 60


def describe_memory(before: Stats, after: Stats, xml: DomainXml | None, *, now: float) -> dict[str, t.Any]:
    """Return the memory of a domain.

    The size and the maximum are in the definition as well, for a domain whose statistics are missing. RV(now) is
    seconds since 1970.
    """
    fresh = freshness(before, after, xml.stats_period_seconds if xml else None, now=now)
    maximum, current = after.get("balloon.maximum"), after.get("balloon.current")
    if xml is not None:
        maximum = xml.memory_kib if maximum is None else maximum
        current = xml.current_memory_kib if current is None else current
    return {
        "maximum_mib": _mib(maximum),
        "current_mib": _mib(current),
        "rss_mib": _mib(after.get("balloon.rss")),
        "usable_mib": _mib(after.get("balloon.usable")) if fresh else None,
        "available_mib": _mib(after.get("balloon.available")) if fresh else None,
        "fresh": fresh,
    }


def describe_domain(
    *,
    uuid: str,
    name: str,
    before: Stats,
    after: Stats,
    elapsed_seconds: float,
    xml: DomainXml | None,
    needs: Required | None,
    job: dict[str, t.Any] | None,
    tuning: t.Mapping[str, float | None],
    persistent: bool | None,
    has_snapshot: bool | None,
    shadow_paging: bool | None,
    storage: SharedStorage,
    now: float,
) -> dict[str, t.Any]:
    """Return one entry of RV(observation.domains)."""
    state = domain_state.state_name(after.get("state.state"))
    reason = domain_state.reason_name(after.get("state.state"), after.get("state.reason"))
    return {
        "uuid": uuid,
        "name": name,
        "state": state,
        "reason": reason,
        "persistent": persistent,
        "type": xml.type if xml else None,
        "arch": xml.arch if xml else None,
        "machine": xml.machine if xml else None,
        "vcpus": after.get("vcpu.current", xml.vcpus if xml else None),
        "cpu_cores": rates.cpu_cores(before, after, elapsed_seconds),
        "cpu_ready": rates.cpu_ready(before, after),
        "memory": describe_memory(before, after, xml, now=now),
        "disks": _disks(xml, storage) if xml else None,
        "interfaces": _interfaces(xml) if xml else None,
        "cpu": _cpu(xml) if xml else None,
        "weight": tuning["weight"],
        "cap": tuning["cap"],
        "pins": xml.pins if xml else None,
        "hugepages": xml.hugepages if xml else None,
        "hugepage_sizes": _hugepage_sizes(needs) if needs else None,
        "secrets": list(needs.secrets) if needs else None,
        "bound": {"cpus": sorted(needs.cpus), "cells": sorted(needs.cells)} if needs else None,
        "tags": list(xml.state.tags) if xml else None,
        "allocation": xml.state.allocation if xml else None,
        "last_moved_at": xml.state.last_moved_at if xml else None,
        "unfinished_move": xml.state.unfinished_move.to_result() if xml and xml.state.unfinished_move else None,
        "job": job,
        "blockers": migration_blockers.find_blockers(
            xml,
            storage,
            state=state,
            reason=reason,
            job=job,
            has_snapshot=has_snapshot,
            shadow_paging=shadow_paging,
        ),
    }


def fresh_seconds(period: int | None) -> int:
    """Return how old figures may be that a guest gives every RV(period) seconds: two periods, at most a minute."""
    # The time is in whole seconds, so it looks up to one second older than it is.
    return min(_FRESH_SECONDS, 2 * period + 1) if period else _FRESH_SECONDS


def freshness(before: Stats, after: Stats, period: int | None, *, now: float) -> bool | None:
    """Return whether the guest's own figures are recent; None = it gives none.

    Source: virDomainMemoryStats, "last-update" in seconds since 1970 by the host's clock, 0 = never. Because that
    clock need not be this one, figures that came between the two samples are recent as well.
    """
    updated = after.get("balloon.last-update")
    if not updated or "balloon.available" not in after:
        return None
    previous = before.get("balloon.last-update")
    if previous is not None and updated > previous:
        return True
    return bool(abs(now - updated) <= fresh_seconds(period))


def _mib(kib: int | None) -> int | None:
    return None if kib is None else kib // 1024


def _hugepage_sizes(needs: Required) -> list[dict[str, t.Any]]:
    sizes = sorted(needs.pages, key=lambda size: size or 0)
    return [{"size_kib": size, "mib": -(-needs.pages[size] // 1024)} for size in sizes]


def _disks(xml: DomainXml, storage: SharedStorage) -> list[dict[str, t.Any]]:
    return [
        {
            "target": disk.target,
            "device": disk.device,
            "type": disk.type,
            "source": disk.source,
            "shared": migration_blockers.disk_shared(disk, storage),
            "readonly": disk.readonly,
        }
        for disk in xml.disks
    ]


def _interfaces(xml: DomainXml) -> list[dict[str, t.Any]]:
    return [{"type": found.type, "source": found.source, "mac": found.mac} for found in xml.interfaces]


def _cpu(xml: DomainXml) -> dict[str, t.Any]:
    cpu = xml.cpu
    return {"mode": cpu.mode, "model": cpu.model, "features": list(cpu.features), "disabled": list(cpu.disabled)}
