#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: domain_cputune
short_description: Set weight and cap of a domain
version_added: 0.1.0
description:
  - Sets what share of contended CPU time a domain gets (weight), and how much CPU it gets at most (cap), on QEMU and on
    Xen alike.
  - The new values are read back. It is an error if the hypervisor reports different values.
  - A domain that a migration or another job of libvirt holds is not changed, because libvirt would block for 30
    seconds. If a change is needed, the module fails at once.
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
    details:
      - Values are compared as the hypervisor's whole numbers. If these are equal, nothing is changed.
  platform:
    support: full
options:
  domain:
    description: The UUID or the name of the domain.
    type: str
    required: true
  weight:
    description:
      - The share relative to other domains of the host, where CPU time is contended. V(1.0) is the weight
        of a domain without any setting. A number from V(0.02) to V(100).
      - QEMU has it as C(cpu_shares), 1024 or, with cgroup version 2, 100 for V(1.0), Xen as C(weight), 256 for V(1.0).
    type: float
  cap:
    description:
      - The most CPU that the domain as a whole gets, in percent of B(one) physical CPU. V(0) = no ceiling, else a
        number from V(1) to V(1000000) (Xen V(65535)).
      - QEMU has it as C(global_quota) of C(global_period). It holds for all threads of the domain, those of emulation
        and input/output included. A ceiling for each virtual CPU (C(vcpu_quota)) is removed, so that
        there is only one.
    type: float
  live:
    description: Set the values for the running domain. For a domain that does not run nothing is set.
    type: bool
    default: true
  persistent:
    description:
      - Set the values in the definition, from which the domain is started the next time. Nothing is set for a domain
        without a definition (transient), nor on Xen, whose definitions keep neither value.
    type: bool
    default: true
  cgroup_version:
    description:
      - The cgroup version of the hypervisor. Only needed for O(weight), if O(uri) names a machine other than the one on
        which the module runs.
    type: int
    choices: [1, 2]
seealso:
  - module: virtops.balance.domain_migrate
  - module: virtops.balance.host_info
  - name: CPU tuning
    description: How libvirt applies the values.
    link: https://libvirt.org/formatdomain.html#cpu-tuning
"""

EXAMPLES = r"""
- name: Give a domain twice the usual share, and half a CPU at most
  virtops.balance.domain_cputune:
    domain: web-1
    weight: 2
    cap: 50

- name: Take the cap away until the domain is started the next time
  virtops.balance.domain_cputune:
    domain: web-1
    cap: 0
    persistent: false
"""

RETURN = r"""
name:
  description: The name of the domain.
  returned: success
  type: str
  sample: web-1
uuid:
  description: The UUID of the domain.
  returned: success
  type: str
  sample: 6ba7b810-9dad-41d1-80b4-00c04fd430c8
live:
  description:
    - The values of the running domain, in check mode those that it would have.
    - V(null) if there was nothing to set.
  returned: success
  type: dict
  contains:
    weight:
      description: The weight, calculated from the hypervisor's number. V(null) if it is not known.
      type: float
      sample: 2
    cap:
      description: The cap in percent of one physical CPU, 0 = none.
      type: float
      sample: 50
definition:
  description: The same for the definition of the domain.
  returned: success
  type: dict
  sample: {weight: 2, cap: 50}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._tuning import domain_cputune as cputune


def main() -> None:
    module = AnsibleModule(
        argument_spec=_connection.argument_spec(
            domain={"type": "str", "required": True},
            weight={"type": "float"},
            cap={"type": "float"},
            live={"type": "bool", "default": True},
            persistent={"type": "bool", "default": True},
            cgroup_version={"type": "int", "choices": [1, 2]},
        ),
        required_one_of=[("weight", "cap")],
        supports_check_mode=True,
    )
    api = _connection.require_libvirt(module)
    try:
        result = cputune.tune(api, cputune.Request(**module.params), check_mode=module.check_mode)
    except BalanceError as error:
        module.fail_json(**error.to_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
