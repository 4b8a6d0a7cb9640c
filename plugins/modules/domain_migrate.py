#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: domain_migrate
short_description: Migrate a running libvirt domain to another host
version_added: 0.1.0
description:
  - Moves one domain live from the host on which the module runs to another one. The two libvirt daemons do it between
    themselves (peer-to-peer), so the loss of the control node or of the module does no harm.
  - Checks both hosts before the migration, and again afterwards. Their answers decide whether the domain moved, never
    an error that libvirt reported.
  - It is not an error if the fleet has changed since it was planned. A domain that is already on the destination is
    C(ok). A domain that was stopped, has moved elsewhere or is busy, or for which the destination no longer has the
    memory, is C(skipped) with a RV(reason).
  - A cap (the ceiling of the domain's CPU) would slow down the migration as well. It is lifted before and set again
    afterwards, on whichever host the domain then is. Autostart is carried over, and a domain stays persistent or
    transient, as it was.
  - A note about the move is kept in the domain's own metadata while it is under way. If the module is interrupted, its
    next run for this domain repairs what was left, which is C(changed) even if the domain is not moved any more.
  - Nothing is ever destroyed. If it is not clear where the domain is, the module reports that and changes nothing.
extends_documentation_fragment:
  - virtops.balance._connection
  - virtops.balance._destination
  - virtops.balance._destination.blockers
  - virtops.balance._destination.observed
  - virtops.balance._attributes
  - virtops.balance._attributes.actiongroup_balance
author:
  - the virtops.balance authors (@virtops)
attributes:
  check_mode:
    support: full
    details:
      - All checks are made and nothing is changed.
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    support: full
options:
  domain:
    description:
      - The UUID or the name of the domain. A UUID stays the same wherever the domain is, and is what plans use.
    type: str
    required: true
  destination_uri:
    description:
      - The libvirt connection URI of the destination, as the libvirt daemon of the source opens it.
      - The daemon uses its own credentials, usually those of C(root). With C(ssh) this is root's key. The module opens
        the same URI to look at the destination.
    type: str
    required: true
  source:
    description:
      - The name of the source in messages and in the note about the move.
      - If not set, it is the name of the host in the inventory.
    type: str
  destination:
    description:
      - The name of the destination in messages and in the note about the move.
      - If not set, it is the hostname that the destination's libvirt gives.
    type: str
  migrate_uri:
    description:
      - Where the source's hypervisor sends the memory, for example V(tcp://10.0.1.3) for a network of its own.
      - If not set, libvirt uses the destination's hostname, or C(migration_host) of its C(qemu.conf). The source must
        be able to resolve it.
    type: str
  bandwidth_mib_s:
    description:
      - The most that the migration may send, in MiB per second.
      - If not set, libvirt's own default counts, for QEMU no limit.
    type: int
  timeout_seconds:
    description:
      - A migration that takes longer is ended, and the domain stays where it is.
      - If not set, it is 800 seconds for each GiB of the domain's maximum memory and of the disks that are copied,
        which is what KubeVirt uses, and at least 120 seconds.
      - A migration that cannot be ended is reported and left alone.
    type: int
  auto_converge:
    description:
      - Whether QEMU may slow down a guest that changes its memory as fast as it can be sent.
    type: bool
    default: true
  post_copy:
    description:
      - Whether to switch to post-copy where the copy does not catch up with the guest in two iterations, or when half
        of O(timeout_seconds) has passed.
      - From then on the domain runs on the destination and its memory follows, however long that takes. If one of the
        hosts or the network between them fails before all of it is there, the domain is lost.
    type: bool
    default: false
  parallel_connections:
    description:
      - Number of connections for the memory. One is often not enough to fill a network of 25 Gbit/s or more.
      - Together with O(post_copy) QEMU 10.1 is needed on both hosts. Where one is older this is told before anything
        moves.
    type: int
  tls:
    description:
      - Whether the memory is sent encrypted. Needs the certificates for QEMU on both hosts.
    type: bool
    default: false
  copy_storage:
    description:
      - Whether disks that the destination does not share are copied while the domain runs.
      - With V(full) all of each disk, with V(incremental) only its topmost image, above a base image that both hosts
        have.
      - Unless a storage pool covers it, the image must already exist on the destination, with the right size.
    type: str
    choices:
      - none
      - full
      - incremental
    default: none
  copy_disks:
    description:
      - The targets of the disks to copy, for example V(vda).
      - If not set, these are the writable disks that are known not to be shared. A disk of which that is not known
        (a block device) is only copied when it is named here. One that both hosts see is never copied, because it would
        be copied onto itself.
    type: list
    elements: str
  lease_owner:
    description:
      - The owner of the lease of the host, see M(virtops.balance.host_lease). If set, nothing is moved unless this
        owner has the lease, and the lease is renewed during the move, so that no other run begins to act meanwhile.
    type: str
  remember:
    description:
      - Whether the host remembers a move that fails, so that later plans do not try it again at once. They wait
        for as long as C(retry_after_seconds) of the policy says.
      - It is remembered in the marks of the host, see O(virtops.balance.host_mark#module:refusals), if the domain is
        known to have stayed there. A move that succeeds removes what was remembered of the domain.
      - Nothing is remembered if O(uri) names another machine.
    type: bool
    default: false
  progress_path:
    description:
      - A file that the module rewrites every second while the migration runs, with a small JSON document about its
        progress. The module removes it at the end.
      - Set by the action plugin of this module, which shows the progress at the terminal.
    type: path
notes:
  - Runs as C(root), or as another user whose libvirt connections reach both hosts.
  - During the migration libvirt does not allow changes of the domain.
  - Run with C(ansible-playbook), the module runs in the background of the source and the action plugin prints a line
    about its progress every few seconds. If C(ansible-playbook) is ended, the module continues to its end.
  - On Xen a migration cannot be ended, and cap and weight are set again on the destination. A PV guest moves live
    only where Xen has shadow paging. See R(Xen hosts,ansible_collections.virtops.balance.docsite.xen).
seealso:
  - module: virtops.balance.host_info
  - module: virtops.balance.domain_finish_move
  - module: virtops.balance.host_lease
  - name: Guest migration with libvirt
    description: The ways of migration, their ports and their security.
    link: https://libvirt.org/migration.html
"""

EXAMPLES = r"""
- name: Move web-1 to kvm3
  virtops.balance.domain_migrate:
    domain: web-1
    destination_uri: qemu+ssh://root@kvm3.example.org/system

- name: Only check whether it could be moved
  virtops.balance.domain_migrate:
    domain: 6ba7b810-9dad-41d1-80b4-00c04fd430c8
    destination_uri: qemu+ssh://root@kvm3.example.org/system
  check_mode: true
  register: checked

- name: Move a large and busy domain over a network of its own
  virtops.balance.domain_migrate:
    domain: db-1
    destination_uri: qemu+tls://kvm3.example.org/system
    destination: kvm3
    migrate_uri: tcp://10.20.0.3
    parallel_connections: 4
    bandwidth_mib_s: 2000
    timeout_seconds: 3600
    tls: true

- name: Where the images are on a file system that libvirt does not know to be shared
  virtops.balance.domain_migrate:
    domain: web-1
    destination_uri: qemu+ssh://root@kvm3.example.org/system
    shared_paths:
      - /srv/images

- name: Copy the disks along
  virtops.balance.domain_migrate:
    domain: build-1
    destination_uri: qemu+ssh://root@kvm3.example.org/system
    copy_storage: full
"""

RETURN = r"""
uuid:
  description: The UUID of the domain.
  returned: when the domain was found
  type: str
  sample: 6ba7b810-9dad-41d1-80b4-00c04fd430c8
name:
  description: The name of the domain.
  returned: when the domain was found
  type: str
  sample: web-1
outcome:
  description:
    - Where the domain is, by the answers of both hosts.
    - V(on_source) and V(on_destination), it is on that host, and no migration is under way.
    - V(in_flight), a migration is under way.
    - V(finished_unconfirmed), it runs on the destination and the source still holds a paused copy.
    - V(never_finished), the source holds it paused after a migration that has ended, and the destination never
      started it. Only in this case it may be resumed.
    - V(may_have_run), the source holds it paused as well, but the destination may have started it, and it has ended
      there. The destination has a definition of it that it did not have before, or nothing proves that it never ran
      there. Such a copy is never resumed.
    - V(postcopy_failed), its memory is spread over both hosts.
    - V(split), it is active on both hosts.
    - V(gone), it is active on neither host.
    - V(unknown), one of the hosts does not answer, or their answers contradict each other.
  returned: when both hosts were asked
  type: str
  sample: on_destination
sentence:
  description: The same as RV(outcome), in words, with what you have to do if anything.
  returned: when both hosts were asked
  type: str
  sample: web-1 is running on kvm3.
reason:
  description: Why nothing was done.
  returned: when the module did not try to move the domain and did not fail
  type: str
  sample: web-1 is already on kvm3.
skipped:
  description: Whether the domain was left alone because the plan is stale.
  returned: when it is
  type: bool
  sample: true
checks:
  description: The checks before the migration.
  returned: when the domain was found running on the source
  type: list
  elements: dict
  contains:
    check:
      description:
        - Name of the check.
        - V(blockers), V(storage) and V(copy_disks) are about the domain, V(post_copy) is about both hosts. All others
          ask the destination.
        - V(names_free), no other domain has its name or UUID. V(machine) and V(cpu), what the guest sees can be
          offered. V(pins) and V(numa), there are the CPUs and NUMA cells that a person bound it to, and no other domain
          has the CPUs for itself. V(memory), also in pages of the sizes that it needs. V(volume), the pools and volumes
          that its disks name. V(mounts), the file systems of its shared disks. V(secret), those of its disks and its
          TPM. V(network) and V(bridge), those of its interfaces.
      type: str
      sample: memory
    ok:
      description: Whether the check passed. V(null) if it could not be made.
      type: bool
      sample: true
    message:
      description: What was found.
      type: str
      sample: kvm3 has 2800 MiB available for its 96 MiB
    kind:
      description:
        - How far a refusal holds. V(domain), for this domain on every destination. V(machine), V(cpu), V(bridge),
          V(network), V(pool), V(volume), V(mounts), V(secret), V(hugepages), V(pins) and V(numa), for every domain that
          needs the same of this destination. V(free_hugepages), for every domain that needs as many huge pages of the
          size, or more. V(null), for this domain and destination.
      type: str
      sample: memory
    about:
      description:
        - The name of the network, bridge, pool or secret (its UUID, or usage and type), or the pool and volume as
          V(pool/volume). With V(mounts), the directory of the disks. With V(pins) and V(numa), the CPUs or NUMA cells
          that are missing, as V(4-7,9). With V(hugepages) and V(free_hugepages), the size in KiB, V(null) = the default
          size. With V(memory), the MiB that all domains that come may take.
      type: raw
      sample: 2544
source:
  description: The domain on the source, as the module last saw it.
  returned: when both hosts were asked
  type: dict
  contains: &side
    host:
      description: Name of the host.
      type: str
      sample: kvm1
    reachable:
      description: Whether the host answered.
      type: bool
      sample: true
    active:
      description: Whether the domain is active there, V(null) if that is not known.
      type: bool
      sample: false
    state:
      description: State of the domain there, V(null) if it is not active.
      type: str
      sample: running
    reason:
      description: The reason that libvirt gives for the state.
      type: str
      sample: migrated
    job:
      description: The job that libvirt runs on it, V(null) if there is none.
      type: str
      sample: migration_out
    persistent:
      description: Whether the host has a definition of the domain, V(null) if it does not know it.
      type: bool
      sample: true
destination:
  description: The domain on the destination, as the module last saw it.
  returned: when both hosts were asked
  type: dict
  contains: *side
seconds:
  description: How many seconds the migration took.
  returned: when a migration was begun
  type: float
  sample: 6.3
bytes:
  description: How many bytes were sent. V(null) if it is not known.
  returned: when a migration was begun
  type: int
  sample: 80210564
downtime_ms:
  description: For how many milliseconds the guest stood still. V(null) if it is not known.
  returned: when a migration was begun
  type: int
  sample: 50
iterations:
  description: How many times QEMU went over the memory, V(null) if it is not known.
  returned: when a migration was begun
  type: int
  sample: 4
converging:
  description:
    - Whether the copy caught up with the guest. V(false) if, in two iterations in a row, the guest changed its memory
      about as fast as it could be sent. V(null) if the migration was too short to measure.
  returned: when a migration was begun
  type: bool
  sample: true
aborted:
  description: Whether the migration was ended after O(timeout_seconds).
  returned: when a migration was begun
  type: bool
  sample: false
post_copied:
  description: Whether the migration was switched to post-copy.
  returned: when a migration was begun
  type: bool
  sample: false
resumed:
  description: Whether this migration left the domain paused on the source, and the module resumed it there.
  returned: when it was
  type: bool
  sample: true
timeout_seconds:
  description: The timeout that was used.
  returned: when the checks were passed
  type: int
  sample: 120
finished_move:
  description: An earlier, interrupted move of this domain that the module finished now.
  returned: when there was one
  type: dict
  contains:
    source:
      description: The host from which it moved.
      type: str
      sample: kvm1
    destination:
      description: The host to which it moved.
      type: str
      sample: kvm3
    started_at:
      description: When the move began.
      type: str
      sample: "2026-01-31T12:00:00Z"
    cap:
      description: The cap of the domain before the move.
      type: float
      sample: 50
    autostart:
      description: Whether the domain had autostart on the source.
      type: bool
      sample: false
    destination_had:
      description:
        - A hash of the definition of the domain that the destination had before the move. V(none) if it had none.
        - V(null) if this cannot prove whether the domain ran there.
      type: str
      sample: none
lease:
  description: The lease of another owner that keeps O(lease_owner) from moving anything.
  returned: when it is so
  type: dict
  sample: {owner: control2 4be0643f, purpose: drain, since: "2026-01-31T12:00:00Z", expires_at: "2026-01-31T12:15:00Z"}
libvirt_error:
  description: The error of libvirt.
  returned: when libvirt is the cause of a failure
  type: dict
  contains:
    code:
      description: Number of the error.
      type: int
      sample: 38
    name:
      description: Name of the error.
      type: str
      sample: SYSTEM_ERROR
    domain:
      description: Number of the part of libvirt that it comes from.
      type: int
      sample: 7
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._host import lease as _lease
from ansible_collections.virtops.balance.plugins.module_utils._move import destination_options, where_it_runs
from ansible_collections.virtops.balance.plugins.module_utils._move import move as domain_move
from ansible_collections.virtops.balance.plugins.module_utils._move import run as move_run
from ansible_collections.virtops.balance.plugins.module_utils._progress_file import ProgressFile


def _with_diff(module: AnsibleModule, result: dict[str, t.Any]) -> dict[str, t.Any]:
    # Where it was not moved, what changed is what an earlier move had left behind.
    moved = result.get("outcome") == where_it_runs.ON_DESTINATION or (module.check_mode and "msg" not in result)
    if module._diff and result.get("changed") and moved and "reason" not in result:
        name, source, destination = result["name"], result["source"]["host"], result["destination"]["host"]
        result["diff"] = {
            "before": {"domain": name, "host": source},
            "after": {"domain": name, "host": destination},
        }
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec=_connection.argument_spec(
            domain={"type": "str", "required": True},
            destination_uri={"type": "str", "required": True},
            source={"type": "str"},
            destination={"type": "str"},
            migrate_uri={"type": "str"},
            bandwidth_mib_s={"type": "int"},
            timeout_seconds={"type": "int"},
            auto_converge={"type": "bool", "default": True},
            post_copy={"type": "bool", "default": False},
            parallel_connections={"type": "int"},
            tls={"type": "bool", "default": False},
            copy_storage={"type": "str", "choices": ["none", "full", "incremental"], "default": "none"},
            copy_disks={"type": "list", "elements": "str"},
            accept_blockers={"type": "list", "elements": "str", "choices": move_run.ACCEPTABLE_BLOCKERS, "default": []},
            **destination_options.ARGUMENTS,
            lease_owner={"type": "str"},
            lease_seconds={"type": "float", "default": 300},
            remember={"type": "bool", "default": False},
            progress_path={"type": "path"},
        ),
        supports_check_mode=True,
    )
    api = _connection.require_libvirt(module)
    options = dict(module.params)
    owner, seconds = options.pop("lease_owner"), options.pop("lease_seconds")
    try:
        with (
            ProgressFile(options.pop("progress_path")) as progress,
            _lease.kept(None if module.check_mode else owner, seconds=seconds),
        ):
            result = domain_move.move(
                api, move_run.Request(**options), check_mode=module.check_mode, report=progress.write
            )
    except BalanceError as error:
        module.fail_json(**_with_diff(module, error.to_result()))
    except api.libvirtError as error:
        # Every step translates its own errors: this one means that the source itself was lost before anything began.
        uri = options["uri"]
        source, destination = options["source"] or uri, options["destination"] or options["destination_uri"]
        module.fail_json(
            msg=f"{options['domain']} was not moved from {source} to {destination}, because the connection to {uri} "
            f"was lost: {error}."
        )
    module.exit_json(**_with_diff(module, result))


if __name__ == "__main__":
    main()
