#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Observe a libvirt host and its domains
version_added: 0.1.0
description:
  - Returns the load of a host, what each of its domains uses, and what prevents migrating a domain live.
  - The connection to libvirt is read-only. Nothing is changed, not even the period of a domain's balloon statistics.
    With O(record), what was observed is stored in a file on the host.
  - Rates come from two samples. Each is one call for all domains together, however many there are.
  - A value that cannot be known is V(null), never 0 and never an empty list.
extends_documentation_fragment:
  - virtops.balance._connection
  - virtops.balance._attributes
  - virtops.balance._attributes.info_module
  - virtops.balance._attributes.actiongroup_balance
author:
  - the virtops.balance authors (@virtops)
attributes:
  check_mode:
    support: full
    details:
      - The module does the same in check mode, but that nothing is stored with O(record).
  idempotent:
    support: partial
    details:
      - With O(record), every run stores a sample. Else the module never changes anything.
  platform:
    support: full
options:
  interval:
    description:
      - Seconds between the two samples. The module takes this long, and a little more.
      - The kernel counts the time of a virtual CPU in steps of 10 ms, so below 5 seconds the rates of mostly idle
        domains become coarse.
      - With V(0) only one sample is taken and all rates are V(null).
    type: float
    default: 5
  as_json:
    description:
      - Whether RV(observation) is returned as JSON text instead of as a dictionary.
      - The filters of this collection take both. With hundreds of hosts text is much faster, because Ansible looks at
        every value of a dictionary whenever it is used.
    type: bool
    default: false
  history:
    description:
      - How many minutes of history to return. The host has it from the agent of the role
        P(virtops.balance.agent#role), or from earlier observations with O(record).
      - With V(0) no history is read.
    type: int
    default: 0
  history_step:
    description:
      - Length of a step of the history in seconds. Each step is the mean of the samples in it.
      - Use the same length on all hosts, so that their histories fit together.
    type: int
    default: 60
  record:
    description:
      - Store the observation on the host, in C(/var/lib/virtops.balance/history.sqlite), where O(history) finds it
        later. It is stored as the mean of the time since the last one, or of O(interval) if that is longer than an
        hour ago or the host was started since.
      - Nothing is stored in check mode, nor while the agent runs, which stores by itself, nor with an O(uri) that
        names another machine.
      - The file keeps a week, and is at most 256 MiB large. Where the settings of an agent are on the host, its limits
        count. C(root) and its group can read it.
      - If it cannot be written, RV(observation.host.history_problem) says why.
    type: bool
    default: false
  shared_paths:
    description:
      - Absolute paths of directories, and of block devices or directories of them, that all hosts of the fleet see
        under the same name with the same content.
      - Files on network and cluster file systems that libvirt itself regards as shared need not be declared.
      - Libvirt does not know this declaration. M(virtops.balance.domain_migrate) with the same O(shared_paths) makes it
        migrate a file there whose cache mode is V(none) or V(directsync), and no other.
    type: list
    elements: str
    default: []
notes:
  - Values that libvirt does not report (pressure, the kernel's estimate of available memory, swap, cgroups, the type
    of a file system) are read from C(/proc) and C(/sys). So they are V(null) with an O(uri) that names another
    machine, and so is RV(observation.domains[].weight) of a domain with shares of its own.
  - The statistics of domains need libvirt 2.3 or newer, RV(observation.domains[].cpu_ready) needs libvirt 7.2 and a
    kernel with C(CONFIG_SCHED_INFO), as those of the distributions are.
  - RV(observation.domains[].memory.usable_mib) needs a balloon driver in the guest and C(<stats period='...'/>) in
    its definition.
  - On Xen every domain needs a call of its own, and RV(observation.domains[].cpu_ready) and the guests' own memory
    figures are V(null). See R(Xen hosts,ansible_collections.virtops.balance.docsite.xen).
  - A libvirt daemon that does not answer at all ends the module after 30 seconds.
seealso:
  - module: virtops.balance.host_mark
  - ref: ansible_collections.virtops.balance.docsite.data_model
    description: The data model that all parts of the collection share.
"""

EXAMPLES = r"""
- name: Observe all hypervisors at once
  virtops.balance.host_info:
  register: observed

- name: Observe a host on which no Python is installed, from the control node
  virtops.balance.host_info:
    uri: qemu+ssh://root@kvm1.example.org/system
  delegate_to: localhost
  register: observed

- name: Where the images are on a file system that libvirt does not know to be shared
  virtops.balance.host_info:
    shared_paths:
      - /srv/images
    interval: 10
  register: observed

- name: Observe, and remember it for the next time
  virtops.balance.host_info:
    record: true
    history: 120

- name: Show what cannot be moved
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.blockers | map(attribute='message') | join('; ') }}"
  loop: "{{ observed.observation.domains | selectattr('blockers') }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
brief:
  description: A short summary for playbooks, so that they need not read the observation.
  returned: success
  type: dict
  contains:
    cgroup_version:
      description: Version of cgroups on the host, V(null) if it is not known.
      type: int
      sample: 2
    bridges:
      description: Bridges of the host, V(null) if they are not known.
      type: list
      elements: str
      sample: [br0]
    zfs_cache_mib:
      description: What the ZFS cache of the host would give back, V(null) if it is not known.
      type: int
      sample: 0
    mounts:
      description: RV(observation.host.mounts), V(null) if they are not known.
      type: list
      elements: dict
      sample: []
    shared_memory_mib:
      description: Shared memory of the host (tmpfs and the like), V(null) if it is not known.
      type: int
      sample: 12
    migrations:
      description: Names of the domains that are being migrated.
      type: list
      elements: str
      sample: []
    unfinished_moves:
      description: Domains with a note about an interrupted move, for M(virtops.balance.domain_finish_move).
      type: list
      elements: dict
      contains:
        uuid:
          description: UUID of the domain.
          type: str
          sample: 6ba7b810-9dad-11d1-80b4-00c04fd430c8
        name:
          description: Name of the domain.
          type: str
          sample: web-1
observation:
  description:
    - One host at one time. The keys and their units are those of the collection's data model.
    - Any value below may be V(null) if it is not known.
  returned: success
  type: dict
  contains:
    schema:
      description: Version of this format. Within one version, keys are only added.
      type: int
      sample: 1
    taken_at:
      description: When the second sample was taken, by the clock of the machine on which the module ran, in UTC.
      type: str
      sample: "2026-01-31T12:00:00Z"
    interval_seconds:
      description: Measured time between the two samples.
      type: float
      sample: 5.004
    host:
      description: The host itself.
      type: dict
      contains:
        hostname:
          description: The name of the host in libvirt.
          type: str
          sample: kvm1
        uuid:
          description: The host's UUID by libvirt. Two hosts with one UUID refuse to migrate to each other.
          type: str
          sample: 4c4c4544-0042-3510-8051-b4c04f4e3332
        hypervisor:
          description: Type and version of the hypervisor.
          type: dict
          sample: {type: QEMU, version: 7.2.22}
        libvirt_version:
          description: Version of libvirt on the host.
          type: str
          sample: 9.0.0
        cgroup_version:
          description: The version of cgroups that has the CPU controller, V(1) or V(2).
          type: int
          sample: 2
        cpu:
          description: The host's CPUs.
          type: dict
          contains:
            arch:
              description: Architecture.
              type: str
              sample: x86_64
            model:
              description: Libvirt's name for the model.
              type: str
              sample: Skylake-Server
            vendor:
              description: Vendor.
              type: str
              sample: Intel
            features:
              description: Features beyond those of the model, sorted.
              type: list
              elements: str
              sample: [avx512f, vmx]
            usable_models:
              description:
                - Libvirt's named models whose features the CPU has. The hypervisor is not asked.
              type: list
              elements: str
              sample: [Nehalem, qemu64]
            threads:
              description: Number of CPUs to which RV(observation.host.cpu.usage) refers.
              type: int
              sample: 32
            mhz:
              description: Clock rate that libvirt reports.
              type: int
              sample: 2400
            max_mhz:
              description:
                - Highest clock rate of the CPUs, the mean of them. On Xen the rate of their counters.
                  Null where nothing tells it, in a virtual machine for example.
              type: int
              sample: 3700
            usage:
              description: Fraction of the CPUs' time that was spent working.
              type: float
              sample: 0.41
            iowait:
              description: Fraction of the CPUs' time that was spent idle while something waited for a disk.
              type: float
              sample: 0.01
            pressure:
              description: Fraction of the last minute in which something waited for a CPU (PSI C(some avg60)).
              type: float
              sample: 0.02
        memory:
          description: The host's memory.
          type: dict
          contains:
            total_mib:
              description: Memory in total.
              type: int
              sample: 128000
            available_mib:
              description:
                - What the kernel takes for available, and what the ZFS cache would give back. With an O(uri) that
                  names another machine it is libvirt's free memory, buffers and cache.
              type: int
              sample: 52000
            swap_used_mib:
              description: Swap in use.
              type: int
              sample: 0
            zfs_cache_mib:
              description:
                - What the ZFS cache would give back, which is part of RV(ignore:available_mib). V(0) without ZFS.
                - V(null) if O(uri) names another machine, whose libvirt does not tell.
              type: int
              sample: 0
            shared_mib:
              description:
                - Shared memory (C(Shmem)), which is what tmpfs holds, and guests whose memory others share. It is no
                  part of RV(ignore:available_mib).
                - V(null) if O(uri) names another machine, whose libvirt counts it among what is cached.
              type: int
              sample: 12
            pressure:
              description: Fraction of the last minute in which something waited for memory (PSI C(some avg60)).
              type: float
              sample: 0.0
            hugepages:
              description: Huge pages per size, over all NUMA cells.
              type: list
              elements: dict
              sample: [{size_kib: 2048, total: 512, free: 12}]
        numa:
          description: NUMA cells with their memory and CPUs.
          type: list
          elements: dict
          sample: [{id: 0, total_mib: 64000, free_mib: 20000, cpus: [0, 1]}]
        networks:
          description: Libvirt's networks.
          type: list
          elements: dict
          sample: [{name: default, bridge: virbr0, active: true}]
        bridges:
          description: Linux bridges and Open vSwitch bridges.
          type: list
          elements: str
          sample: [br0, virbr0]
        storage_pools:
          description: Libvirt's storage pools. Sizes are those of the last refresh.
          type: list
          elements: dict
          sample:
            - name: images
              uuid: 0b1d3c8e-64b7-4c5b-9c0e-0f6f5c2f6a52
              type: netfs
              path: /srv/images
              active: true
              shared: true
              total_mib: 900000
              available_mib: 400000
        mounts:
          description:
            - File systems on which shared disks may be, those that hosts may share and those at and below
              O(shared_paths) and the storage pools. V(null) if O(uri) names another machine.
          type: list
          elements: dict
          contains:
            path:
              description: Where it is mounted, or the path itself of a shared path or a storage pool.
              type: str
              sample: /srv/images
            type:
              description: Type of the file system.
              type: str
              sample: nfs4
            source:
              description: What was mounted.
              type: str
              sample: filer:/images
            root:
              description: Which directory of the file system is seen at the path.
              type: str
              sample: /
            identity:
              description:
                - The identity of a local file system, which no other one has (C(f_fsid) of statfs(2)). V(null) for all
                  others, and where the kernel gives none.
              type: str
              sample: "17712732303371485611"
        machine_types:
          description: Machine types per architecture, without aliases.
          type: dict
          sample: {x86_64: [pc-i440fx-7.2, pc-q35-7.2]}
        domain_types:
          description: Types of domains that the host can run.
          type: list
          elements: str
          sample: [kvm, qemu]
        power:
          description: The power that the host draws. These figures are measured, never estimated.
          type: dict
          contains:
            watts:
              description:
                - What the whole machine draws at the moment, measured by its BMC (DCMI). Needs C(ipmitool) and the
                  device C(/dev/ipmi0) on the host.
              type: float
              sample: 213
            source:
              description: V(measured), or V(null) if there is no figure.
              type: str
              sample: measured
            cpu_watts:
              description:
                - What the CPU packages and their memory drew over the interval, by the counters of the CPU (RAPL).
                - It is a part of what the machine draws. Virtual machines have no such counters.
              type: float
              sample: 88.4
            cpu_source:
              description: V(measured), or V(null) if there is no figure.
              type: str
              sample: measured
        marks:
          description:
            - What M(virtops.balance.host_mark) stored on the host.
            - V(null) if O(uri) names another machine, or if RV(observation.host.marks_problem) says why.
          type: dict
          sample: {uneven_rounds: 0, idle_rounds: 0, detection: null, asleep: {}, inside: {}, drained: null}
        marks_problem:
          description:
            - Why the marks of the host are not known, and so whether it is drained, in sentences. V(null) if they
              are known.
            - No plan moves a domain to such a host.
          type: str
          sample: null
        interrupted_restarts:
          description:
            - Domains that are shut off here and carry the note of an interrupted M(virtops.balance.domain_restart), see
              P(virtops.balance.interrupted_restarts#filter).
            - V(null) if that is not known.
          type: list
          elements: dict
          sample: []
        history:
          description:
            - Earlier measurements, oldest first, in equal steps. A gap is V(null).
            - V(null) if nothing was kept, or with O(history=0).
          type: dict
          sample: {step_seconds: 60, ends_at: "2026-01-31T12:00:00Z", cpu: [0.41, null, 0.44]}
        history_problem:
          description: Why the history is incomplete. V(null) if it is complete, or with O(history=0).
          type: str
          sample: null
    domains:
      description:
        - All active domains, sorted by name.
        - A domain that ended between the two samples is left out. A domain that started between them has no rates.
        - A domain whose definition libvirt did not return has V(null) for its values, and a blocker.
      type: list
      elements: dict
      contains:
        uuid:
          description: UUID.
          type: str
          sample: 6ba7b810-9dad-11d1-80b4-00c04fd430c8
        name:
          description: Name.
          type: str
          sample: web-1
        state:
          description:
            - One of V(running), V(blocked), V(paused), V(shutdown), V(crashed), V(pmsuspended) and V(unknown).
          type: str
          sample: running
        reason:
          description: Libvirt's reason for the state, in lower case.
          type: str
          sample: booted
        persistent:
          description: Whether it has a definition that stays when the domain ends.
          type: bool
          sample: true
        type:
          description: Type of the domain.
          type: str
          sample: kvm
        arch:
          description: Architecture of the guest.
          type: str
          sample: x86_64
        machine:
          description: Machine type.
          type: str
          sample: pc-q35-7.2
        vcpus:
          description: Number of virtual CPUs at the moment.
          type: int
          sample: 2
        cpu_cores:
          description: CPU used, in cores. V(1.0) is one physical thread busy.
          type: float
          sample: 0.63
        cpu_ready:
          description: Share of the time wanted by the virtual CPUs that they spent waiting for a physical one.
          type: float
          sample: 0.12
        memory:
          description: Memory of the domain.
          type: dict
          contains:
            maximum_mib:
              description: The most that the domain can have.
              type: int
              sample: 4096
            current_mib:
              description: Size of the balloon, that is, the memory that the guest has at the moment.
              type: int
              sample: 4096
            rss_mib:
              description: Memory of the host that the process of the hypervisor holds.
              type: int
              sample: 3100
            usable_mib:
              description: Memory that the guest could still use. V(null) without a balloon driver or if it is old.
              type: int
              sample: 1200
            available_mib:
              description: Memory that the guest sees.
              type: int
              sample: 3900
            fresh:
              description:
                - Whether the figures of the guest are recent, that is, not older than two of their periods and not
                  older than 60 seconds. V(null) if the guest gives none.
              type: bool
              sample: true
        disks:
          description: Disks and drives.
          type: list
          elements: dict
          contains:
            target:
              description: Name in the guest.
              type: str
              sample: vda
            device:
              description: Kind of device.
              type: str
              sample: disk
            type:
              description: Libvirt's type of the source.
              type: str
              sample: file
            source:
              description: Where the data is. V(null) for a drive without a medium.
              type: str
              sample: /srv/images/web-1.qcow2
            shared:
              description: Whether other hosts see it too, and also the images on which it is based.
              type: bool
              sample: true
            readonly:
              description: Whether the guest can only read it.
              type: bool
              sample: false
        interfaces:
          description: Network interfaces, and the networks or bridges to which they are attached.
          type: list
          elements: dict
          sample: [{type: bridge, source: br0, mac: "52:54:00:12:34:56"}]
        cpu:
          description: The CPU that the guest sees, with the features beyond its model and those that it lacks of it.
          type: dict
          sample: {mode: custom, model: Nehalem, features: [aes], disabled: []}
        weight:
          description: Relative share of the CPU. V(1.0) is the default.
          type: float
          sample: 1.0
        cap:
          description: Ceiling of the whole domain in percent of one physical CPU. V(0) is none.
          type: float
          sample: 0
        pins:
          description: The physical CPUs to which virtual CPUs are pinned. Empty when all are free to run anywhere.
          type: dict
          sample: {"0": [0, 1]}
        hugepages:
          description: Whether its memory is on huge pages.
          type: bool
          sample: false
        hugepage_sizes:
          description: How much of its memory has to be on huge pages of which size. Empty if none has to be.
          type: list
          elements: dict
          contains:
            size_kib:
              description: Size of a page. V(null) for the default size of the host, whatever that is.
              type: int
              sample: 1048576
            mib:
              description: The most memory that it has on such pages.
              type: int
              sample: 4096
        secrets:
          description:
            - The secrets of libvirt that its disks and its TPM name, by UUID, or by usage and type. Never their values.
          type: list
          elements: str
          sample: [0b1d3c8e-64b7-4c5b-9c0e-0f6f5c2f6a52, client.libvirt secret (ceph)]
        bound:
          description:
            - What of a host a person bound it to. Where it is to run, all of that has to be there.
            - Pins of this collection do not count, because they are released when it moves. A thread that may run on
              all CPUs of its host is free.
          type: dict
          contains:
            cpus:
              description: Physical CPUs, of its vCPUs, its emulator and its I/O threads.
              type: list
              elements: int
              sample: [0, 1]
            cells:
              description: NUMA cells, of its memory.
              type: list
              elements: int
              sample: [0]
        tags:
          description: Tags from the collection's metadata in the domain.
          type: list
          elements: str
          sample: [web]
        allocation:
          description:
            - What an administrator stored for allocations in the collection's metadata of the domain.
            - Any of C(cpu_min), C(cpu_max) (cores) and C(share). V(null) if there is nothing.
          type: dict
          sample: {cpu_min: 0.5, cpu_max: 2, share: 3}
        last_moved_at:
          description: When the collection last moved it. V(null) when it never did.
          type: str
          sample: "2026-01-30T04:00:00Z"
        unfinished_move:
          description: The note of an interrupted move. V(null) when there is none.
          type: dict
          sample: null
        job:
          description:
            - The job that libvirt runs on the domain. V(null) when there is none.
            - The operation is V(unknown) if the domain is busy and libvirt cannot find out why.
          type: dict
          sample: {operation: migration_out, elapsed_seconds: 3.2, remaining_mib: 812, dirty_mib_s: 14.5}
        blockers:
          description: Why the domain cannot be migrated live. Empty if it can.
          type: list
          elements: dict
          sample: [{code: local_disk, message: "disk vda: /var/lib/libvirt/images/a.qcow2 is not on shared storage"}]
        history:
          description:
            - Earlier measurements of it on this host, oldest first, in equal steps. A gap is V(null).
            - V(null) if nothing was kept, or with O(history=0).
          type: dict
          sample: {step_seconds: 60, ends_at: "2026-01-31T12:00:00Z", cpu_cores: [0.6, 0.7], cpu_ready: [0.0, 0.1]}
    inactive_domains:
      description: Domains that are defined but not running.
      type: list
      elements: dict
      sample: [{uuid: 9d2b4c5e-0a1f-4a6b-8c7d-1e2f3a4b5c6d, name: old-1}]
    departed_domains:
      description: Histories of domains that have left this host, by UUID.
      type: dict
      sample: {}
libvirt_error:
  description: The error of libvirt, if it caused the failure.
  returned: failure
  type: dict
  sample: {code: 38, name: SYSTEM_ERROR, domain: 7}
"""

import json

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils._connection import argument_spec, require_libvirt
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError, translate
from ansible_collections.virtops.balance.plugins.module_utils._history import recorded
from ansible_collections.virtops.balance.plugins.module_utils._observe.host import (
    Lookback,
    brief,
    check_options,
    observe_host,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec=argument_spec(
            interval={"type": "float", "default": 5},
            as_json={"type": "bool", "default": False},
            history={"type": "int", "default": 0},
            history_step={"type": "int", "default": 60},
            record={"type": "bool", "default": False},
            shared_paths={"type": "list", "elements": "str", "default": []},
        ),
        supports_check_mode=True,
    )
    uri: str = module.params["uri"]
    interval: float = module.params["interval"]
    shared_paths: list[str] = module.params["shared_paths"]
    record: bool = module.params["record"]
    lookback = Lookback(minutes=module.params["history"], step=module.params["history_step"], recorded=record)
    libvirt = require_libvirt(module)
    try:
        check_options(interval=interval, shared_paths=shared_paths)
        recorded.check_options(minutes=lookback.minutes, step=lookback.step)
        observation = observe_host(
            libvirt,
            uri,
            interval=interval,
            shared_paths=shared_paths,
            lookback=lookback,
            store=record and not module.check_mode,
        )
    except BalanceError as error:
        module.fail_json(**error.to_result())
    except libvirt.libvirtError as error:
        module.fail_json(**translate(libvirt, error, doing=f"observe {uri}").to_result())
    module.exit_json(
        changed=False,
        observation=json.dumps(observation) if module.params["as_json"] else observation,
        brief=brief(observation),
    )


if __name__ == "__main__":
    main()
