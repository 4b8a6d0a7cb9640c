# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what a check of a migration is about, and what it found."""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils._domain import xml as domain_xml

# How far a refusal holds, by the name of the check, where not for this domain and destination alone: for this domain
# wherever it is to go, or for all that need the same of this destination. The planner knows these words.
DOMAIN = "domain"
_KINDS = {
    DOMAIN: DOMAIN,
    "blockers": DOMAIN,
    "storage": DOMAIN,
    "machine": "machine",
    "cpu": "cpu",
    "network": "network",
    "bridge": "bridge",
    "memory": "memory",
    "mounts": "mounts",
    "secret": "secret",
    "numa": "numa",
}
# Of checks whose refusals are not all of one kind: no such CPUs, as opposed to CPUs that are taken; no such pool, or
# not the volume in it; no huge pages of a size, or too few that are free.
PINS = "pins"
POOL, VOLUME = "pool", "volume"
HUGE_PAGES, FREE_HUGE_PAGES = "hugepages", "free_hugepages"


@dataclass(frozen=True)
class Check:
    """One check. RV(ok) is None where it could not be made; RV(stale): the reason may be over with the next plan.

    RV(about) is the name of the network, bridge, pool or secret, or C(pool/volume); the directory of disks; the CPUs or
    NUMA cells that there are not; the size of huge pages in KiB, None = the default size; or of the memory, how many
    MiB all domains that come may take. RV(kind) is that of the refusal, where the name does not tell it.
    """

    name: str
    ok: bool | None
    message: str
    stale: bool = False
    about: str | int | None = None
    kind: str | None = None

    def to_result(self) -> dict[str, t.Any]:
        return {
            "check": self.name,
            "ok": self.ok,
            "message": self.message,
            "kind": self.kind or _KINDS.get(self.name),
            "about": self.about,
        }


@dataclass(frozen=True)
class Subject:
    """The domain that is to move.

    RV(migratable) is the definition that libvirt would send, parsed; RV(cpu) is the CPU that it has to have on the
    destination: that of the running domain, or that of the definition where it starts there anew. RV(used_mib) is the
    memory that its hypervisor holds now, None = not known.
    """

    name: str
    uuid: str
    source: str
    destination: str
    migratable: ET.Element
    live: domain_xml.DomainXml
    cpu: ET.Element | None
    used_mib: int | None = None


@dataclass(frozen=True)
class Known:
    """What the caller knows of the destination and libvirt does not tell, None = not known, and what it wants of it.

    What it was observed with: RV(bridges), RV(mounts) (as the module utils C(mounts.py) describes them),
    RV(zfs_cache_mib) (what the ZFS cache would give back) and RV(shared_memory_mib) (tmpfs and the like).
    RV(memory_overcommit): how many times its memory may be promised. RV(trusts_storage): somebody vouches for what is
    not known of storage. RV(room_mib): the memory that other moves will have freed there before, less than 0 where they
    take some.
    """

    bridges: t.Collection[str] | None = None
    mounts: t.Sequence[t.Mapping[str, t.Any]] | None = None
    zfs_cache_mib: int | None = None
    shared_memory_mib: int | None = None
    memory_reserve_mib: int = 256
    memory_overcommit: float = 1.0
    trusts_storage: bool = False
    room_mib: int = 0


def plain(error: Exception | str) -> str:
    """Return an error's text without the full stop, to go on with."""
    return str(error).strip().rstrip(".")
