# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the options about a destination of the modules that move domains, or ask about moves."""

from __future__ import annotations


class ModuleDocFragment:
    # Of all of them.
    DOCUMENTATION = r"""
options:
  shared_paths:
    description:
      - Absolute paths of directories, and of block devices or directories of them, that both hosts see under the same
        name with the same content.
      - Libvirt refuses to migrate a domain with a disk on a file system that it does not know to be shared. If
        all such disks are below these paths, the module asks libvirt to skip that check (C(VIR_MIGRATE_UNSAFE)).
      - That check is also about the cache mode. V(none) and V(directsync) are safe, and with QEMU 4.0 on both hosts all
        modes but V(unsafe), because it drops what the destination has cached.
      - A wrong declaration destroys data.
    type: list
    elements: str
    default: []
  memory_reserve_mib:
    description:
      - How much memory must remain available on the destination beyond the maximum of the domain, in MiB. It is for
        the hypervisor's own needs.
    type: int
    default: 256
  memory_overcommit:
    description:
      - How many times the memory of the destination may be promised, as in the policy. With 1 the maximum of the domain
        must be available. Above 1 what the domain holds now must be available, and all domains of the destination
        together must not be able to grow beyond its memory times this.
      - Not for domains in huge pages, for hosts with huge pages, and for Xen, which cannot promise memory twice. There
        the maximum of the domain must be available.
    type: float
    default: 1
"""

    # Of those that migrate, or ask about it.
    BLOCKERS = r"""
options:
  accept_blockers:
    description:
      - Codes of blockers that are accepted, as RV(virtops.balance.host_info#module:observation.domains[].blockers)
        names them, for example V(host_cpu) or V(block_disk).
      - With V(unknown_storage), a path is not refused because it is on another file system of the destination either.
    type: list
    elements: str
    choices:
      - block_disk
      - host_cpu
      - host_device
      - local_disk
      - local_media
      - network_device
      - shared_memory
      - snapshot
      - tpm
      - unknown_storage
      - virtiofs
    default: []
"""

    # Of those that act: with what the destination was observed.
    OBSERVED = r"""
options:
  destination_cgroup_version:
    description:
      - The cgroup version of the destination, as RV(virtops.balance.host_info#module:observation.host.cgroup_version)
        returns it.
      - If it differs from that of the source, the number of CPU shares is rewritten on the way, so that the domain
        keeps its relative weight. If not set, the shares are left as they are.
    type: int
    choices:
      - 1
      - 2
  destination_bridges:
    description:
      - The bridges of the destination, as RV(virtops.balance.host_info#module:observation.host.bridges) returns them.
      - They count where the destination's libvirt cannot be asked for its bridges, because it has no driver for
        interfaces (C(libvirt-daemon-driver-interface), which Debian 13 does not install by itself). If not set, such a
        bridge is left for libvirt to check when the domain gets there.
    type: list
    elements: str
  destination_mounts:
    description:
      - The file systems of the destination, as RV(virtops.balance.host_info#module:observation.host.mounts) returns
        them. With them a path that is shared, or declared to be, is refused where it is certainly on another file
        system there. If not set, that is not checked.
    type: list
    elements: dict
    suboptions:
      path:
        description: Where it is seen.
        type: str
        required: true
      type:
        description: Type of the file system.
        type: str
        required: true
      source:
        description: What was mounted, for example V(filer:/images).
        type: str
        required: true
      root:
        description: Which directory of the file system is seen there.
        type: str
        default: /
      identity:
        description: What tells a local file system from all others.
        type: str
  destination_zfs_cache_mib:
    description:
      - What the ZFS cache of the destination would give back, in MiB, as
        RV(virtops.balance.host_info#module:observation.host.memory.zfs_cache_mib) returns it. Libvirt counts it as
        used; the check of the memory adds it.
    type: int
  destination_shared_memory_mib:
    description:
      - The shared memory of the destination (tmpfs, and guests whose memory others share), in MiB, as
        RV(virtops.balance.host_info#module:observation.host.memory.shared_mib) returns it. Libvirt counts it among what
        is cached; the check of the memory takes it away, because nobody else can have it.
    type: int
  lease_seconds:
    description: How long the lease lasts each time that it is renewed.
    type: float
    default: 300
"""
