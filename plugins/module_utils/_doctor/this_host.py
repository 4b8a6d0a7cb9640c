# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what a host says about itself that decides whether domains can move to it and from it."""

from __future__ import annotations

import getpass
import os
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection, connect
from ansible_collections.virtops.balance.plugins.module_utils._doctor import (
    cpu_models,
    guest_needs,
    migration_address,
    secrets,
)
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError, translate
from ansible_collections.virtops.balance.plugins.module_utils._host import lease as host_lease
from ansible_collections.virtops.balance.plugins.module_utils._host import marks as host_marks
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts, procfs
from ansible_collections.virtops.balance.plugins.module_utils._observe.shared_storage import SharedStorage

SCHEMA = 1
# All questions together are some hundred calls of less than a millisecond each.
_SECONDS = 60.0


@dataclass(frozen=True)
class Told:
    """What the inventory says, and others need to know: how they connect to this host, and where they migrate to."""

    migration_uri: str
    migrate_uri: str | None
    shared_paths: t.Sequence[str]


def describe(api: t.Any, uri: str, told: Told) -> dict[str, t.Any]:
    """Return the answer of RV(answer). Raises BalanceError where libvirt does not answer."""
    started_at = time.time()
    with connect(api, uri, read_only=False) as connection:
        try:
            found = connection.call(lambda: _ask(connection, told), _SECONDS, doing=f"ask {uri} about this host")
        except api.libvirtError as error:
            raise translate(api, error, doing=f"ask {uri} about this host") from error
    return {
        "schema": SCHEMA,
        **found,
        "migration_uri": told.migration_uri,
        "migrate_uri": told.migrate_uri or None,
        "shared_paths": list(told.shared_paths),
        "user": _user(),
        "clock": {"started_at": started_at, "ended_at": time.time()},
    }


def _ask(connection: Connection, told: Told) -> dict[str, t.Any]:
    handle, local = connection.handle, connection.local
    capabilities = host_facts.read_capabilities(connection)
    storage = SharedStorage(mounts=procfs.read_mounts() if local else None, shared_paths=told.shared_paths)
    networks = host_facts.read_networks(connection)
    memory = host_facts.read_memory(connection)
    needs = guest_needs.read(connection)
    return {
        "hostname": host_facts.ask(connection, handle.getHostname),
        "uuid": capabilities.uuid,
        "hypervisor": {
            "type": host_facts.ask(connection, handle.getType),
            "version": host_facts.version_text(host_facts.ask(connection, handle.getVersion)),
        },
        "libvirt_version": host_facts.version_text(host_facts.ask(connection, handle.getLibVersion)),
        "cpu": {
            "arch": capabilities.arch,
            "model": capabilities.cpu_model,
            "for_guests": cpu_models.read(connection, capabilities.arch, capabilities.domain_types),
        },
        "domain_types": list(capabilities.domain_types) or None,
        "machine_types": capabilities.machine_types or None,
        "networks": networks,
        "bridges": host_facts.read_bridges(connection, networks),
        "pools": host_facts.read_pools(connection, storage),
        "secrets": secrets.read(connection),
        "memory": {name: memory[name] for name in ("total_mib", "available_mib")},
        "needs": None if needs is None else needs.to_result(),
        "migration": migration_address.read() if local else None,
        "lease": _lease() if local else None,
        "asleep": _asleep() if local else [],
    }


def _lease() -> str | None:
    """Return who has leased the host, None = nobody. One that cannot be read is told by the runs that need it."""
    try:
        lease = host_lease.read()
    except BalanceError:
        return None
    return None if lease is None else lease.owner


def _asleep() -> list[str]:
    """Return the other hosts of which this one knows that a run has put them to sleep."""
    marks = host_marks.observe()["marks"] or {}
    return sorted(marks.get("asleep") or {})


def _user() -> str:
    return "root" if os.geteuid() == 0 else getpass.getuser()
