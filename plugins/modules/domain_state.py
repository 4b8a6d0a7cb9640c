#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: domain_state
short_description: Create, start or shut down a domain on the host that it is assigned to
version_added: 0.1.0
description:
  - Checks whether the domain runs on this host, and creates it, shuts it down or leaves it, so that the domain runs on
    the host to which it is assigned, or nowhere.
  - Does what the table in the notes says, one row for each case. RV(action) names the row's action, in check mode too.
  - It knows one host only. Ask for O(state=create) only where it is certain that the domain runs on no other host.
  - A domain that a migration or another job of libvirt holds is not shut down and not started. The module fails at
    once.
extends_documentation_fragment:
  - virtops.balance._connection
  - virtops.balance._attributes
  - virtops.balance._attributes.actiongroup_balance
author:
  - the virtops.balance authors (@virtops)
attributes:
  check_mode:
    support: full
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
  assigned:
    description: Whether this is the host where the domain belongs.
    type: bool
    required: true
  state:
    description: The wanted state of the domain, on whichever host it is.
    type: str
    required: true
    choices:
      stop: It should be shut off. Its definition stays.
      create: It runs on no host and should be started on its assigned host.
      run: It runs on some host and should run on, on its assigned host.
  xml:
    description:
      - The definition to create the domain from, libvirt's XML. Its name or its UUID must be O(domain).
      - For a template, render it with the lookup P(ansible.builtin.template#lookup).
      - Without this and O(xml_path) the domain is started from the definition that the host has of it.
    type: str
  xml_path:
    description: A file on the host with the definition.
    type: path
  persistent:
    description:
      - Whether a domain that is created from O(xml) or O(xml_path) is also defined, so that its definition stays when
        it ends.
    type: bool
    default: true
  weight:
    description: The weight of the domain while it runs here, as for M(virtops.balance.domain_cputune).
    type: float
  cap:
    description: The cap of the domain while it runs here, as for M(virtops.balance.domain_cputune).
    type: float
  cgroup_version:
    description: The cgroup version of the hypervisor, as for M(virtops.balance.domain_cputune).
    type: int
    choices: [1, 2]
  timeout_seconds:
    description: How long the guest has to shut down. It is asked every 10 seconds.
    type: int
    default: 180
  force:
    description:
      - If the guest does not shut down in time, end the domain, as a power failure would.
      - If false, this is an error, and the domain runs on. A paused guest cannot react, and is never waited for.
    type: bool
    default: false
  memory_reserve_mib:
    description: How much memory the host must have left beside the maximum of a domain that is created.
    type: int
    default: 256
notes:
  - 'Assigned, state, running here - action:'
  - 'yes, stop, yes - V(shut_down).'
  - 'yes, stop, no - V(none).'
  - 'yes, create, yes - V(mark_run): only its weight and cap are changed, and RV(state) is V(run).'
  - 'yes, create, no - V(create), if the host has the memory; RV(state) is V(run).'
  - 'yes, run, yes - V(tune): it gets its weight and cap.'
  - 'yes, run, no - V(wait): it is migrated here, or not at all.'
  - 'no, stop, yes - V(shut_down).'
  - 'no, run, yes - V(migrate): nothing is done here, M(virtops.balance.domain_migrate) brings it to its host.'
  - 'no, create, yes - V(report_and_shut_down): it is shut down, and the module fails with a message about it.'
  - 'no, any, no - V(none).'
  - This is the table of the host monitor of XenGreenCom, a controller of allocations on Xen.
seealso:
  - module: virtops.balance.domain_cputune
  - module: virtops.balance.domain_migrate
"""

EXAMPLES = r"""
- name: Start a domain here from a template, with half a CPU at most
  virtops.balance.domain_state:
    domain: web-7
    assigned: true
    state: create
    xml: "{{ lookup('ansible.builtin.template', 'web.xml.j2') }}"
    cap: 50

- name: Shut a domain down on whichever host it runs
  virtops.balance.domain_state:
    domain: web-7
    assigned: false
    state: stop
    timeout_seconds: 300
"""

RETURN = r"""
action:
  description: The action in the row of the table in the notes that applies.
  returned: success
  type: str
  sample: create
why:
  description: The same as a sentence.
  returned: success
  type: str
  sample: web-7 must be created here.
state:
  description: The O(state) to ask for in later runs. It is V(run) for a domain that was created.
  returned: success
  type: str
  sample: run
running:
  description: Whether the domain runs here now, in check mode whether it would.
  returned: success
  type: bool
  sample: true
destroyed:
  description: Whether the guest was ended because it did not shut down in time.
  returned: success
  type: bool
  sample: false
tuned:
  description:
    - The result of setting weight and cap, as M(virtops.balance.domain_cputune) returns it.
    - V(null) if there was nothing to set.
  returned: success
  type: dict
  sample: {changed: true, live: {weight: 1, cap: 50}, definition: {weight: 1, cap: 50}}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._move import desired_state


def main() -> None:
    module = AnsibleModule(
        argument_spec=_connection.argument_spec(
            domain={"type": "str", "required": True},
            assigned={"type": "bool", "required": True},
            state={"type": "str", "required": True, "choices": ["stop", "create", "run"]},
            xml={"type": "str"},
            xml_path={"type": "path"},
            persistent={"type": "bool", "default": True},
            weight={"type": "float"},
            cap={"type": "float"},
            cgroup_version={"type": "int", "choices": [1, 2]},
            timeout_seconds={"type": "int", "default": 180},
            force={"type": "bool", "default": False},
            memory_reserve_mib={"type": "int", "default": 256},
        ),
        mutually_exclusive=[("xml", "xml_path")],
        supports_check_mode=True,
    )
    api = _connection.require_libvirt(module)
    try:
        result = desired_state.reach(api, desired_state.Request(**module.params), check_mode=module.check_mode)
    except BalanceError as error:
        module.fail_json(**error.to_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
