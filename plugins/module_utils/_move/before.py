# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: may this domain be moved, and what does it need on the way?"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import move_note, portable
from ansible_collections.virtops.balance.plugins.module_utils._domain import xml as domain_xml
from ansible_collections.virtops.balance.plugins.module_utils._domain.find import find_domain
from ansible_collections.virtops.balance.plugins.module_utils._move import (
    destination_options,
    libvirt_migration,
    preflight,
    where_it_runs,
)
from ansible_collections.virtops.balance.plugins.module_utils._move.both_hosts import read_side, settle
from ansible_collections.virtops.balance.plugins.module_utils._move.checks import blockers, hypervisors, storage
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Check, Subject
from ansible_collections.virtops.balance.plugins.module_utils._move.run import MoveRun, Needs
from ansible_collections.virtops.balance.plugins.module_utils._move.where_it_runs import Side
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts, procfs, qcow2, xen_hypervisor
from ansible_collections.virtops.balance.plugins.module_utils._observe.shared_storage import SharedStorage

# For how long a situation that is not clear may become clear by itself.
_PATIENCE_SECONDS = 3
# Since this version libvirt shows what a qcow2 image keeps in another file.
_SHOWS_DATA_FILES = 10_010_000


def find_on_source(run: MoveRun, source: Connection) -> t.Any | None:
    """Find the domain, None where the source has none, and write down what both are called."""
    run.source = run.request.source or host_facts.ask(source, source.handle.getHostname) or run.request.uri
    run.xen = source.xen
    found = find_domain(source, run.request.domain)
    run.name, run.uuid = (run.request.domain, "") if found is None else (found.name(), found.UUIDString())
    return found


def look_and_check(run: MoveRun, source: Connection, destination: Connection, found: t.Any | None) -> Needs | None:
    """Return what to do, or None where the result says that nothing is to be done."""
    _check_two_hosts(run, source, destination)
    if found is None:
        found_there = find_domain(destination, run.request.domain)
        if found_there is None:
            run.skip(f"Neither {run.source} nor {run.destination} has a domain {run.quoted}")
            return None
        run.name, run.uuid = found_there.name(), found_there.UUIDString()
    residency, here, there = settle(
        run.quoted,
        lambda: (read_side(source, run.uuid, run.source), read_side(destination, run.uuid, run.destination)),
        patience=_PATIENCE_SECONDS,
        clock=run.clock,
    )
    run.record(residency, here, there)
    if residency.outcome == where_it_runs.ON_DESTINATION:
        _already_there(run, destination)
        return None
    if residency.outcome in (where_it_runs.IN_FLIGHT, where_it_runs.GONE):
        run.skip(residency.sentence)
        return None
    if residency.outcome != where_it_runs.ON_SOURCE:
        raise run.failure(f"Nothing was done. {residency.sentence}")
    if here.job is not None:
        run.skip(f"{run.quoted} is busy on {run.source}: libvirt runs a job on it ({here.job})")
        return None
    if here.state not in ("running", "blocked") and (here.state, here.reason) != ("paused", "user"):
        run.skip(f"{run.quoted} is {here.state} ({here.reason}) on {run.source}")
        return None
    _finish_left_over(run, source, run.source)
    return _check(run, source, destination, here, there)


def _check_two_hosts(run: MoveRun, source: Connection, destination: Connection) -> None:
    uuids = [host_facts.read_capabilities(connection).uuid for connection in (source, destination)]
    if uuids[0] is None or uuids[0] != uuids[1]:
        return
    hostnames = [host_facts.ask(connection, connection.handle.getHostname) for connection in (source, destination)]
    if hostnames[0] == hostnames[1]:
        raise run.failure(
            f"{run.request.destination_uri} is {run.source} itself: {run.quoted} cannot be migrated to the host that "
            "it is on. Give another destination_uri."
        )
    raise run.failure(
        f"{hostnames[0]} and {hostnames[1]} have the same host UUID {uuids[0]}, so libvirt takes them for one host and "
        "refuses to migrate between them. Give each a host_uuid of its own in libvirtd.conf (virtqemud.conf)."
    )


def _already_there(run: MoveRun, destination: Connection) -> None:
    run.result.update(reason=f"{run.quoted} is already on {run.destination}.")
    _finish_left_over(run, destination, run.destination)


def _finish_left_over(run: MoveRun, connection: Connection, host: str) -> None:
    domain = connection.handle.lookupByUUIDString(run.uuid)
    try:
        note = move_note.read(run.api, domain)
        if note is None:
            return
        if not run.check_mode:
            move_note.finish_left_over(run.api, domain, note, xen=run.xen, host=host, now=run.now())
    except run.api.libvirtError as error:
        raise _errors.translate(run.api, error, doing=f"finish an earlier move of {run.quoted}") from error
    run.result.update(changed=True, finished_move=note.to_result())


def _check(run: MoveRun, source: Connection, destination: Connection, here: Side, there: Side) -> Needs | None:
    api, request = run.api, run.request
    domain = source.handle.lookupByUUIDString(run.uuid)
    text = domain.XMLDesc(api.VIR_DOMAIN_XML_MIGRATABLE)
    migratable = ET.fromstring(text)
    cpus = host_facts.read_cpus(source)
    portable.release_pins(migratable, None if cpus is None else cpus.online)
    running = domain.XMLDesc(0)
    live = domain_xml.parse(running)
    if source.local and (host_facts.ask(source, source.handle.getLibVersion) or 0) < _SHOWS_DATA_FILES:
        live = qcow2.with_data_files(live)
    subject = Subject(
        name=run.name,
        uuid=run.uuid,
        source=run.source,
        destination=run.destination,
        migratable=migratable,
        live=live,
        used_mib=host_facts.read_used_mib(source, domain) if request.memory_overcommit > 1 else None,
        cpu=ET.fromstring(running).find("cpu"),
    )
    mounts = procfs.read_mounts() if source.local else None
    declared = SharedStorage(mounts=mounts, shared_paths=request.shared_paths)
    if any(layer.type == "volume" for disk in subject.live.disks for layer in disk.layers):
        declared.add_pools(host_facts.read_pools(source, declared) or [])
    checks: list[Check] = []
    copied: list[str] = []
    if request.copy_storage != "none":
        copied, objections = storage.disks_to_copy(subject, declared, chosen=request.copy_disks)
        checks.extend(objections)
    unsafe, objections_to_unsafe = (
        (False, [])
        if run.xen
        else storage.needs_unsafe(
            migratable,
            recognised=SharedStorage(mounts=mounts),
            declared=declared,
            copied=copied,
            drops_cache=hypervisors.drop_cache(source, destination),
        )
    )
    if unsafe and objections_to_unsafe:
        checks.append(
            Check(
                "storage",
                False,
                "libvirt does not take its storage for shared, and what shared_paths declares is not enough: "
                + "; ".join(objections_to_unsafe),
            )
        )
    # Xen has no snapshots.
    snapshots = host_facts.ask(source, domain.snapshotNum, 0)
    checks.append(
        blockers.check_blockers(
            subject,
            declared,
            state=here.state or "unknown",
            reason=here.reason,
            has_snapshot=None if snapshots is None and not run.xen else bool(snapshots),
            accepted=request.accept_blockers,
            copied=copied,
            shadow_paging=xen_hypervisor.has_shadow_paging(source),
        )
    )
    # A guest that stands still changes nothing, and libvirt refuses it post-copy.
    post_copy = request.post_copy and here.state != "paused"
    checks.extend(
        hypervisors.check_post_copy(
            subject,
            source,
            destination,
            post_copy=post_copy,
            connections=request.parallel_connections,
        )
    )
    checks.extend(
        preflight.check_destination(
            subject,
            source,
            destination,
            destination_options.known(
                request, trusts_storage="unknown_storage" in request.accept_blockers, room_mib=run.room_mib
            ),
            storage=declared,
            copied=copied,
        )
    )
    run.result["checks"] = [check.to_result() for check in checks]
    failed = [check for check in checks if check.ok is False]
    if failed:
        why = "; ".join(check.message for check in failed)
        reason = f"{run.quoted} cannot be moved from {run.source} to {run.destination}: {why}."
        if all(check.stale for check in failed):
            run.skip(reason)
            return None
        raise run.failure(reason, why=why)
    total = (subject.live.memory_kib or 0) * 1024 + sum(domain.blockInfo(target)[0] for target in copied)
    persistent = bool(domain.isPersistent())
    change = portable.Change(
        source_version=procfs.read_cgroup_version() if source.local else None,
        destination_version=request.destination_cgroup_version,
        source_cpus=None if cpus is None else cpus.online,
    )
    needs = Needs(
        persistent=persistent,
        autostart=bool(domain.autostart()) if persistent else False,
        transfer=libvirt_migration.Transfer(
            migrate_uri=request.migrate_uri,
            bandwidth_mib_s=request.bandwidth_mib_s,
            auto_converge=request.auto_converge,
            post_copy=post_copy,
            parallel_connections=request.parallel_connections,
            tls=request.tls,
            copy_storage=request.copy_storage,
            copied=copied,
            unsafe=unsafe,
        ),
        timeout_seconds=request.timeout_seconds or libvirt_migration.default_timeout(total),
        change=change,
        definition=portable.portable(domain.XMLDesc(api.VIR_DOMAIN_XML_INACTIVE | api.VIR_DOMAIN_XML_SECURE), change)
        if persistent
        else None,
        # Xen's driver starts a domain before it defines it, so that there nothing is proved by it.
        destination_had=there.definition if persistent and not run.xen else None,
    )
    run.result["timeout_seconds"] = needs.timeout_seconds
    here_runs, there_runs = host_facts.read_software(source), host_facts.read_software(destination)
    if here_runs and there_runs and here_runs != there_runs:
        run.software = (here_runs, there_runs)
    if run.check_mode:
        run.result["changed"] = True
        return None
    return needs
