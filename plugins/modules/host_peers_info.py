#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_peers_info
short_description: Ask a host whether it can reach other hosts for migrations
version_added: 0.1.0
description:
  - Opens libvirt of each other host as a migration would, resolves the name to which the memory of domains would be
    sent, tries ports of migrations there, and looks for the test files of M(virtops.balance.host_path_test).
  - All others are asked at the same time, eight at most at once, and each has a deadline of its own. One that does
    not answer costs the module one timeout. After eight that do not answer, the rest is not asked.
  - It changes nothing.
  - Nothing listens on ports of migrations before a migration, so a refused connection is the good answer. A host that
    answers with an RST for a firewall cannot be told from that.
  - Run it as C(root), because libvirt's daemon, which opens the connections of migrations, has the keys of root.
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
  name:
    description: The name of this host in O(questions).
    type: str
    required: true
  questions:
    description: What the filter P(virtops.balance.doctor_questions#filter) returns. The same for all hosts.
    type: dict
    required: true
  connect_seconds:
    description: How long opening libvirt of another host may take.
    type: float
    default: 20
  port_seconds:
    description: How long a connection to a port may take.
    type: float
    default: 3
notes:
  - A port on which something listens is not tried, because QEMU would take the connection for the migration that it
    waits for. One that begins to listen meanwhile would see the connection all the same, and that migration would fail
    and leave its domain where it is. Do not migrate by hand while this module runs.
seealso:
  - module: virtops.balance.host_doctor_info
  - module: virtops.balance.host_path_test
"""

EXAMPLES = r"""
- name: Ask each host about itself
  virtops.balance.host_doctor_info:
    migration_uri: qemu+ssh://root@{{ ansible_host }}/system?no_tty=1
  register: asked

- name: Ask each host about the others
  virtops.balance.host_peers_info:
    name: "{{ inventory_hostname }}"
    questions: "{{ selves | virtops.balance.doctor_questions(run='1') }}"
  vars:
    selves: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'asked'))) }}"
  register: answered
"""

RETURN = r"""
answer:
  description:
    - The answers, as JSON text.
    - C(peers) has for each other host C(connection) (C(problem) is what libvirt or ssh said) and C(address) (C(ports)
      says of each port C(open), C(refused), C(rejected), C(timeout) or C(no_route)); or C(not_asked), with the reason.
    - C(paths) says of each shared directory whose test file is there.
    - C(baselines) has the best common CPUs that this host was asked for.
  returned: success
  type: str
  sample: '{"peers": {}, "paths": {}, "baselines": []}'
"""

import json

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._doctor import other_hosts
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError


def main() -> None:
    module = AnsibleModule(
        argument_spec=_connection.argument_spec(
            name={"type": "str", "required": True},
            questions={"type": "dict", "required": True},
            connect_seconds={"type": "float", "default": 20},
            port_seconds={"type": "float", "default": 3},
        ),
        supports_check_mode=True,
    )
    params = module.params
    api = _connection.require_libvirt(module)
    deadlines = other_hosts.Deadlines(params["connect_seconds"], params["port_seconds"])
    try:
        answer = other_hosts.ask(api, params["uri"], params["name"], params["questions"], deadlines)
    except BalanceError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=False, answer=json.dumps(answer))


if __name__ == "__main__":
    main()
