#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: domain_restart
short_description: Shut a domain down on one host and start it on another
version_added: 0.1.0
description:
  - For a domain that has to leave its host and cannot be migrated live, for instance because it has the host's own CPU.
    Its guest is shut down, and boots on the other host.
  - Looks at both hosts before, between the two steps and afterwards, so that the domain never runs on both. If that
    cannot be known, the module stops and reports it.
  - As much as possible is checked before the guest is asked to shut down. The disks, and the variables of a firmware
    (UEFI), have to be on storage that both hosts see. The destination has to have the memory, the machine type and the
    networks, and to accept the definition.
  - If the domain does not start on the destination, it is started again on the source, and the module fails.
  - The whole definition moves to the destination, autostart included. In the end only one of the hosts has it.
  - A run that was killed halfway leaves a note in the domain's metadata, on both hosts. Run the module once more
    with the same options, or with O(finish), to finish the restart. The playbooks that act do so for each domain that
    P(virtops.balance.interrupted_restarts#filter) finds.
extends_documentation_fragment:
  - virtops.balance._connection
  - virtops.balance._destination
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
    description: The UUID or the name of the domain.
    type: str
    required: true
  destination_uri:
    description: The libvirt connection URI of the destination, as the module on the source opens it.
    type: str
    required: true
  source:
    description:
      - The name of the source in messages and in the note.
      - If not set, it is the hostname that its libvirt gives.
    type: str
  destination:
    description:
      - The name of the destination in messages and in the note.
      - If not set, it is O(destination_uri).
    type: str
  shared_paths:
    description: Directories that both hosts see under the same name with the same content.
    type: list
    elements: str
    default: []
  timeout_seconds:
    description: How long the guest has to shut down. It is asked every 10 seconds.
    type: int
    default: 180
  force:
    description:
      - If the guest does not shut down in time, end the domain, as a power failure would.
      - If false, this is an error, and the domain runs on where it is. If its guest shuts down later nevertheless,
        the note of the restart is still there, and a run that finishes the restart starts the domain.
    type: bool
    default: false
  finish:
    description:
      - Only finish a restart that was interrupted. If there is no note of one, nothing is done.
      - If the domain runs on one of the hosts, it stays there, and its definition is removed from the other host.
      - If it runs on neither host, it is started on the host that is named here. V(destination) counts as V(source) if
        the checks find a reason against a start on the destination.
      - Do not use it for a domain that may run on a third host.
    type: str
    choices: [source, destination]
  lease_owner:
    description:
      - The owner of the lease of the host, see M(virtops.balance.host_lease). If set, nothing is done unless this owner
        has the lease, and the lease is renewed until the domain runs again.
    type: str
  remember:
    description:
      - Whether the host remembers a restart that fails, so that later plans do not try it again at once. They wait
        for as long as C(retry_after_seconds) of the policy says.
      - It is remembered in the marks of the host, see O(virtops.balance.host_mark#module:refusals), if the domain is
        known to have stayed there. A restart that succeeds removes what was remembered of the domain.
      - Nothing is remembered if O(uri) names another machine.
    type: bool
    default: false
seealso:
  - module: virtops.balance.domain_migrate
  - module: virtops.balance.domain_state
"""

EXAMPLES = r"""
- name: Restart a domain that cannot be migrated on another host
  virtops.balance.domain_restart:
    domain: desktop-3
    source: "{{ inventory_hostname }}"
    destination: kvm2
    destination_uri: qemu+ssh://root@kvm2.example.org/system

- name: Bring to its end what an earlier run left
  virtops.balance.domain_restart:
    domain: desktop-3
    source: "{{ inventory_hostname }}"
    destination: kvm2
    destination_uri: qemu+ssh://root@kvm2.example.org/system
    finish: destination
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
  sample: desktop-3
outcome:
  description: Where the domain is, as RV(virtops.balance.domain_migrate#module:outcome).
  returned: when both hosts were asked
  type: str
  sample: on_destination
sentence:
  description: The same as RV(outcome), in words.
  returned: when both hosts were asked
  type: str
  sample: desktop-3 is running on kvm2.
reason:
  description: Why nothing was done.
  returned: when nothing was done and the module did not fail
  type: str
  sample: desktop-3 is already on kvm2.
skipped:
  description: Whether the domain was left alone because it is no longer as the request expects.
  returned: when it is
  type: bool
  sample: true
destroyed:
  description: Whether the guest was ended because it did not shut down in time.
  returned: always
  type: bool
  sample: false
seconds:
  description: How many seconds the restart took.
  returned: when the domain was restarted
  type: float
  sample: 12.5
source:
  description: The domain on the source, as the module last saw it.
  returned: when both hosts were asked
  type: dict
  sample: {host: kvm1, reachable: true, active: false, state: null, reason: null, job: null, persistent: true}
destination:
  description: The domain on the destination, as the module last saw it.
  returned: when both hosts were asked
  type: dict
  sample: {host: kvm2, reachable: true, active: true, state: running, reason: booted, job: null, persistent: true}
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._host import lease as _lease
from ansible_collections.virtops.balance.plugins.module_utils._move import destination_options
from ansible_collections.virtops.balance.plugins.module_utils._move import restart as _restart


def main() -> None:
    module = AnsibleModule(
        argument_spec=_connection.argument_spec(
            domain={"type": "str", "required": True},
            destination_uri={"type": "str", "required": True},
            source={"type": "str"},
            destination={"type": "str"},
            timeout_seconds={"type": "int", "default": 180},
            force={"type": "bool", "default": False},
            finish={"type": "str", "choices": ["source", "destination"]},
            **destination_options.ARGUMENTS,
            lease_owner={"type": "str"},
            lease_seconds={"type": "float", "default": 300},
            remember={"type": "bool", "default": False},
        ),
        supports_check_mode=True,
    )
    api = _connection.require_libvirt(module)
    options = dict(module.params)
    owner, seconds = options.pop("lease_owner"), options.pop("lease_seconds")
    request = _restart.Request(**options)
    started = time.monotonic()
    try:
        with _lease.kept(None if module.check_mode else owner, seconds=seconds):
            result = _restart.restart(api, request, check_mode=module.check_mode)
    except BalanceError as error:
        module.fail_json(**{"destroyed": False, **error.to_result()})
    except api.libvirtError as error:
        # Every step translates its own errors: this one means that the source itself was lost.
        module.fail_json(msg=f"The connection to {request.uri} was lost: {error}.", destroyed=False)
    if result["changed"]:
        before: dict[str, t.Any] = {"host": result["source"]["host"]}
        after: dict[str, t.Any] = {"host": result["destination"]["host"]}
        if request.finish is not None:
            before, after = {"interrupted_restart": True}, {"interrupted_restart": False}
        result["diff"] = {
            "before": {"domain": result["name"], **before},
            "after": {"domain": result["name"], **after},
        }
        if not module.check_mode:
            result["seconds"] = round(time.monotonic() - started, 1)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
