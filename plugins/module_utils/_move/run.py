# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: one run of a live migration, and its messages."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.virtops.balance.plugins.module_utils._domain.portable import Change
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._move import destination_options, libvirt_migration
from ansible_collections.virtops.balance.plugins.module_utils._move.where_it_runs import Residency, Side
from ansible_collections.virtops.balance.plugins.module_utils._option_checks import (
    check_number,
    check_printable,
)

# What a person may take the risk of, by the codes of _observe/migration_blockers.py.
ACCEPTABLE_BLOCKERS = [
    "block_disk",
    "host_cpu",
    "host_device",
    "local_disk",
    "local_media",
    "network_device",
    "shared_memory",
    "snapshot",
    "tpm",
    "unknown_storage",
    "virtiofs",
]

Report = t.Callable[[dict[str, t.Any]], None]


@dataclass(frozen=True)
class Request:
    """What was asked for: the options of the module, under their names."""

    uri: str
    domain: str
    destination_uri: str
    source: str | None = None
    destination: str | None = None
    migrate_uri: str | None = None
    bandwidth_mib_s: int | None = None
    timeout_seconds: int | None = None
    auto_converge: bool = True
    post_copy: bool = False
    parallel_connections: int | None = None
    tls: bool = False
    copy_storage: str = "none"
    copy_disks: t.Sequence[str] | None = None
    shared_paths: t.Sequence[str] = ()
    accept_blockers: t.Sequence[str] = ()
    memory_reserve_mib: int = 256
    destination_cgroup_version: int | None = None
    destination_bridges: t.Sequence[str] | None = None
    destination_mounts: t.Sequence[t.Mapping[str, t.Any]] | None = None
    destination_zfs_cache_mib: int | None = None
    destination_shared_memory_mib: int | None = None
    memory_overcommit: float = 1.0
    remember: bool = False


class MoveError(BalanceError):
    """The domain did not move, or did and something is not right after it. RV(details) are part of the result."""

    def __init__(self, message: str, details: dict[str, t.Any]) -> None:
        super().__init__(message, details=details)


def check_request(request: Request) -> None:
    """Raise BalanceError where the options make no sense."""
    for name, least, most in (
        ("bandwidth_mib_s", 1, 1_000_000),
        ("timeout_seconds", 1, 7 * 24 * 3600),
        ("parallel_connections", 1, 255),
    ):
        value = getattr(request, name)
        if value is not None:
            check_number(name, value, least, most)
    if request.migrate_uri is not None:
        check_printable("migrate_uri", request.migrate_uri)
    destination_options.check(request)
    if request.copy_disks is not None and request.copy_storage == "none":
        raise BalanceError("copy_disks needs copy_storage to be full or incremental.")


@dataclass
class MoveRun:
    """One run. Grows as more becomes known."""

    api: t.Any
    request: Request
    check_mode: bool
    report: Report
    now: t.Callable[[], str]
    clock: libvirt_migration.Clock
    # The memory in MiB that other moves will have freed on the destination before; they take some where it is negative.
    room_mib: int = 0
    uuid: str = ""
    name: str = ""
    source: str = ""
    destination: str = ""
    xen: bool = False
    # What runs on the source and on the destination, where it is not the same.
    software: tuple[str, str] | None = None
    # Why it failed, without what the message says about the way and about where the domain is now.
    why: str = ""
    result: dict[str, t.Any] = field(default_factory=dict)

    def tell(self, progress: dict[str, t.Any]) -> None:
        destination = self.destination or self.request.destination or self.request.destination_uri
        self.report(
            {"name": self.name or self.request.domain, "source": self.source, "destination": destination, **progress}
        )

    @property
    def quoted(self) -> str:
        """The name, safe to print: it comes from whoever named the guest."""
        return self.name if self.name.isprintable() else repr(self.name)

    @property
    def way(self) -> str:
        """From where to where, with what runs there where it is not the same."""
        if self.software is None:
            return f"from {self.source} to {self.destination}"
        here, there = self.software
        return f"from {self.source} ({here}) to {self.destination} ({there})"

    def record(self, residency: Residency, here: Side, there: Side) -> None:
        self.result.update(
            # What an earlier move had left behind is put right before anything else.
            changed="finished_move" in self.result,
            uuid=self.uuid,
            name=self.name,
            outcome=residency.outcome,
            sentence=residency.sentence,
            source=here.to_result(),
            destination=there.to_result(),
        )

    def skip(self, reason: str) -> None:
        self.result.update(skipped=True, reason=reason.rstrip(".") + ".")
        self.result.setdefault("changed", False)

    def failure(self, message: str, *, why: str = "") -> MoveError:
        self.why = why
        return MoveError(message, self.result)


@dataclass(frozen=True)
class Needs:
    """What a domain that can be moved needs on the way."""

    persistent: bool
    autostart: bool
    transfer: libvirt_migration.Transfer
    timeout_seconds: int
    change: Change
    definition: str | None
    destination_had: str | None


def because(error: Exception) -> str:
    return (error.message if isinstance(error, BalanceError) else str(error)).strip().rstrip(".")


def also(problems: t.Sequence[str]) -> str:
    return f" And: {'; '.join(problems)}." if problems else ""
