# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: names for libvirt's numbers about a domain's state, its reason and its job.

Source: libvirt/libvirt-domain.h (virDomainState, virDomain*Reason, virDomainJobOperation). The numbers are part of
libvirt's stable interface.
"""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.module_utils import _errors

_STATES = {
    1: "running",
    2: "blocked",
    3: "paused",
    4: "shutdown",
    5: "shutdown",
    6: "crashed",
    7: "pmsuspended",
}
_RUNNING = [
    "unknown",
    "booted",
    "migrated",
    "restored",
    "from_snapshot",
    "unpaused",
    "migration_canceled",
    "save_canceled",
    "wakeup",
    "crashed",
    "postcopy",
    "postcopy_failed",
]
_PAUSED = [
    "unknown",
    "user",
    "migration",
    "save",
    "dump",
    "ioerror",
    "watchdog",
    "from_snapshot",
    "shutting_down",
    "snapshot",
    "crashed",
    "starting_up",
    "postcopy",
    "postcopy_failed",
    "api_error",
]
_SHUTDOWN = ("unknown", "user")
_CRASHED = ("unknown", "panicked")
_REASONS: dict[int, t.Sequence[str]] = {1: _RUNNING, 3: _PAUSED, 4: _SHUTDOWN, 6: _CRASHED}
_OPERATIONS = [
    "unknown",
    "start",
    "save",
    "restore",
    "migration_in",
    "migration_out",
    "snapshot",
    "snapshot_revert",
    "dump",
    "backup",
    "snapshot_delete",
]
# Reasons of a domain that a migration or a start holds. With post-copy it runs on the other side.
_ON_THE_WAY = ("migration", "starting_up", "postcopy", "postcopy_failed")
_MIB = 1024 * 1024


# virDomainState SHUTOFF, and virDomainShutoffReason MIGRATED.
_LEFT = (5, 4)


def left_by_migration(state: int, reason: int) -> bool:
    """Return whether a domain is shut off on this host because it was migrated to another one."""
    return (state, reason) == _LEFT


def state_name(state: int | None) -> str:
    """Return the name of a virDomainState, "unknown" for one that is not known."""
    return _STATES.get(state or 0, "unknown")


def reason_name(state: int | None, reason: int | None) -> str | None:
    """Return the name of the reason that belongs to a state, None where libvirt gives none."""
    names = _REASONS.get(state or 0, ())
    return names[reason] if reason is not None and 0 <= reason < len(names) else None


def job_entry(
    operation: str,
    *,
    elapsed_ms: int | None = None,
    remaining_bytes: int | None = None,
    dirty_bytes_s: int | None = None,
) -> dict[str, t.Any]:
    """Return a job in the form of the observation."""
    return {
        "operation": operation,
        "elapsed_seconds": None if elapsed_ms is None else round(elapsed_ms / 1000, 1),
        "remaining_mib": None if remaining_bytes is None else remaining_bytes // _MIB,
        "dirty_mib_s": None if dirty_bytes_s is None else round(dirty_bytes_s / _MIB, 1),
    }


def read_job(api: t.Any, domain: t.Any) -> dict[str, t.Any] | None:
    """Ask libvirt for the job of one domain, one call. None = there is none, or this hypervisor knows no jobs.

    Raises libvirtError where the domain is gone or the connection is lost.
    """
    try:
        stats: dict[str, t.Any] = domain.jobStats()
    except api.libvirtError as error:
        code = _errors.code_of(error)
        if code == _errors.NO_SUPPORT:
            return None
        if code == _errors.OPERATION_UNSUPPORTED:
            # "migration statistics are available only on the source host"
            return job_entry("migration_in")
        if code == _errors.NO_DOMAIN or _errors.is_connection_lost(error):
            raise
        # Libvirt could not look: something holds the domain.
        return job_entry("unknown")
    if not stats.get("type"):
        return None
    number = stats.get("operation", 0)
    # In pages, and 0 until the first round over the memory has ended (QEMU, qapi/migration.json).
    pages, size = stats.get("memory_dirty_rate"), stats.get("memory_page_size")
    return job_entry(
        _OPERATIONS[number] if 0 <= number < len(_OPERATIONS) else "unknown",
        elapsed_ms=stats.get("time_elapsed"),
        remaining_bytes=stats.get("data_remaining"),
        dirty_bytes_s=pages * size if pages and size else None,
    )


def left_paused(state: int | None, reason: int | None) -> bool:
    """Return whether a domain is paused as a migration or a start leaves it, which is right while one is under way.

    Not that of a user who paused it: libvirt has a reason of its own for that.
    """
    return state_name(state) == "paused" and reason_name(state, reason) in _ON_THE_WAY


def why_stopped(api: t.Any, domain: t.Any) -> str | None:
    """Return how an active domain stands still because a migration or a start of it ended in the middle, else None.

    Raises libvirtError.
    """
    # In this order: what is under way when the job is read may have come to its end when the state is.
    job = read_job(api, domain)
    state, reason = domain.state()[:2]
    if not left_paused(state, reason) or (job is not None and reason_name(state, reason) != "postcopy_failed"):
        return None
    return f"{domain.name()} does not run: it is paused here ({reason_name(state, reason)}), and nothing is under way."


def why_held(api: t.Any, domain: t.Any) -> str | None:
    """Return why a domain must be left alone, one sentence: libvirt blocks changes for 30 s while a job holds it.

    Raises libvirtError.
    """
    if not domain.isActive():
        return f"{domain.name()} is not running here."
    state, reason = domain.state()
    if reason_name(state, reason) in _ON_THE_WAY:
        return f"A migration of {domain.name()} is under way, or was left in the middle."
    job = read_job(api, domain)
    return None if job is None else f"Libvirt runs a job on {domain.name()} ({job['operation']})."
