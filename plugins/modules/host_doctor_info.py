#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_doctor_info
short_description: Ask a host what decides whether domains can move to it and from it
version_added: 0.1.0
description:
  - Returns versions, CPU, machine types, networks, bridges, storage pools, secrets, free memory, the clock, and what
    the running domains need of any other host.
  - It changes nothing. The connection to libvirt is not read-only, because on a read-only one libvirt does not tell
    which CPU it can offer to guests.
  - Of a secret, its UUID and its usage are returned. Its value is not asked for.
  - Used by the role P(virtops.balance.balance#role) for the playbook C(virtops.balance.doctor).
extends_documentation_fragment:
  - virtops.balance._connection
  - virtops.balance._attributes
  - virtops.balance._attributes.info_module
  - virtops.balance._attributes.actiongroup_balance
author:
  - the virtops.balance authors (@virtops)
attributes:
  platform:
    support: full
options:
  migration_uri:
    description: The URI by which other hosts open libvirt of this host. It is returned as it is.
    type: str
    required: true
  migrate_uri:
    description:
      - The address to which other hosts send the memory of domains, such as V(tcp://10.20.0.2). It is returned as it
        is.
      - If not set, libvirt uses C(migration_host) of its C(qemu.conf), or else the name of the host.
    type: str
  shared_paths:
    description: As in M(virtops.balance.host_info).
    type: list
    elements: str
    default: []
  as_json:
    description: Whether RV(answer) is returned as JSON text instead of as a dictionary.
    type: bool
    default: false
seealso:
  - module: virtops.balance.host_peers_info
  - plugin: virtops.balance.doctor_questions
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Ask each host about itself
  virtops.balance.host_doctor_info:
    migration_uri: qemu+ssh://root@{{ ansible_host }}/system?no_tty=1
    shared_paths: [/srv/images]
  register: asked
"""

RETURN = r"""
answer:
  description:
    - What the host says about itself. What cannot be known is V(null).
    - C(needs) has the things that running domains need (C(domain_type), C(machine), C(network), C(bridge),
      C(disk), C(pool), C(secret)), each with the names of the domains.
    - C(migration) has the name, the ports and the ports in use of migrations to this host.
    - C(cpu.for_guests) is the CPU that C(host-model) stands for, by the domain type.
  returned: success
  type: dict
  sample:
    schema: 1
    hostname: kvm1
    uuid: 7d5fe9a4-3bd2-5c68-9d11-0e1cbd1c8e61
    user: root
    hypervisor: {type: QEMU, version: 10.0.2}
    libvirt_version: 11.3.0
    cpu: {arch: x86_64, model: EPYC-Rome, for_guests: {kvm: "<cpu>...</cpu>"}}
    domain_types: [kvm, qemu]
    machine_types: {x86_64: [pc-q35-10.0]}
    networks: [{name: lab, bridge: virbr0, active: true}]
    bridges: [br0, virbr0]
    pools: []
    secrets: [{uuid: 0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f, type: ceph, usage: client.libvirt secret}]
    memory: {total_mib: 64000, available_mib: 41000}
    needs: {things: [{kind: bridge, name: br0, domains: [web-1]}], memory_mib: {web-1: 2048}}
    migration: {host: null, ports: [49152, 49215], listening: []}
    lease: null
    asleep: []
    migration_uri: qemu+ssh://root@kvm1.example.org/system?no_tty=1
    migrate_uri: null
    shared_paths: [/srv/images]
    clock: {started_at: 1769860800.1, ended_at: 1769860800.4}
controller:
  description: When the control node asked, and when it had the answer, by its own clock.
  returned: success
  type: dict
  sample: {asked_at: 1769860799.8, answered_at: 1769860800.7}
"""

import json

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._doctor import this_host
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._option_checks import check_shared_paths


def main() -> None:
    module = AnsibleModule(
        argument_spec=_connection.argument_spec(
            migration_uri={"type": "str", "required": True},
            migrate_uri={"type": "str"},
            shared_paths={"type": "list", "elements": "str", "default": []},
            as_json={"type": "bool", "default": False},
        ),
        supports_check_mode=True,
    )
    params = module.params
    api = _connection.require_libvirt(module)
    told = this_host.Told(params["migration_uri"], params["migrate_uri"], params["shared_paths"])
    try:
        check_shared_paths(params["shared_paths"])
        answer = this_host.describe(api, params["uri"], told)
    except BalanceError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=False, answer=json.dumps(answer) if params["as_json"] else answer)


if __name__ == "__main__":
    main()
