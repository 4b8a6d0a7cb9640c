#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: domain_vcpu_pin
short_description: Pin the vCPUs of a domain to physical CPUs
version_added: 0.1.0
description:
  - Sets on which physical CPUs the vCPUs of a domain may run, or lets them run anywhere.
  - The new values are read back. It is an error if libvirt reports different values.
  - The pinning before the first change by the collection is kept in the domain's metadata, which migrates with the
    domain. O(state=released) restores it.
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
  platform:
    support: full
options:
  domain:
    description:
      - The UUID or the name of the domain. With O(state=released) it can be left out, which means every domain of the
        host.
    type: str
  state:
    description:
      - V(pinned) sets O(cpus) or O(pins).
      - V(released) restores the CPUs of every vCPU from before the collection first changed them, in the running domain
        and in its definition, and removes the record of them. Without such a record nothing is done.
    type: str
    choices: [pinned, released]
    default: pinned
  cpus:
    description:
      - The CPUs for every vCPU of the domain. V(all), a set of CPUs such as V(0-3,^2), a number, or a list of numbers.
    type: raw
  pins:
    description:
      - A mapping from the number of a vCPU to its CPUs, written as in O(cpus). Other vCPUs stay as they are.
    type: dict
  persistent:
    description:
      - Set it in the definition as well, from which the domain is started the next time. For a domain that does not
        run it is set in the definition alone.
    type: bool
    default: false
notes:
  - Libvirt writes an affinity with all CPUs of the host into the definition like any other.
  - If another host has none of the CPUs to which a vCPU is pinned, the domain cannot be migrated there.
  - On Xen the module fails, because libvirt for Python cannot pin vCPUs there.
seealso:
  - module: virtops.balance.host_vcpu_balance
  - module: virtops.balance.domain_cputune
  - name: CPU tuning
    description: The element C(vcpupin) of libvirt's domain format.
    link: https://libvirt.org/formatdomain.html#cpu-tuning
"""

EXAMPLES = r"""
- name: Give the two vCPUs of a domain a CPU each
  virtops.balance.domain_vcpu_pin:
    domain: db-1
    pins:
      0: 2
      1: 3

- name: Pin a domain to the first eight CPUs, also after its next start
  virtops.balance.domain_vcpu_pin:
    domain: batch-1
    cpus: 0-7
    persistent: true

- name: Allow a domain every CPU
  virtops.balance.domain_vcpu_pin:
    domain: batch-1
    cpus: all

- name: Restore the pinning that the domain had before the collection changed it
  virtops.balance.domain_vcpu_pin:
    domain: batch-1
    state: released
"""

RETURN = r"""
name:
  description: The name of the domain.
  returned: when O(domain) is given
  type: str
  sample: db-1
uuid:
  description: The UUID of the domain.
  returned: when O(domain) is given
  type: str
  sample: 6ba7b810-9dad-41d1-80b4-00c04fd430c8
live:
  description:
    - The CPUs of each vCPU of the running domain, in check mode those that it would have. V(all) = any CPU.
    - V(null) if there was nothing to set.
  returned: when O(domain) is given
  type: dict
  sample: {"0": "2", "1": "3"}
definition:
  description: The same for the definition of the domain.
  returned: when O(domain) is given
  type: dict
  sample: {"0": "all", "1": "all"}
domains:
  description: The domains that were released, in check mode those that would be released.
  returned: when O(domain) is not given
  type: list
  elements: dict
  contains:
    name:
      description: The name of the domain.
      type: str
      sample: db-1
    uuid:
      description: The UUID of the domain.
      type: str
      sample: 6ba7b810-9dad-41d1-80b4-00c04fd430c8
    live:
      description: Like RV(live), for this domain.
      type: dict
      sample: {"0": "all"}
    definition:
      description: Like RV(definition), for this domain.
      type: dict
      sample: {"0": "all"}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._tuning import domain_vcpu_pin


def main() -> None:
    module = AnsibleModule(
        argument_spec=_connection.argument_spec(
            domain={"type": "str"},
            state={"type": "str", "choices": ["pinned", "released"], "default": "pinned"},
            cpus={"type": "raw"},
            pins={"type": "dict"},
            persistent={"type": "bool", "default": False},
        ),
        mutually_exclusive=[("cpus", "pins")],
        required_if=[("state", "pinned", ("domain",)), ("state", "pinned", ("cpus", "pins"), True)],
        supports_check_mode=True,
    )
    api = _connection.require_libvirt(module)
    try:
        result = domain_vcpu_pin.pin(api, domain_vcpu_pin.Request(**module.params), check_mode=module.check_mode)
    except BalanceError as error:
        module.fail_json(**error.to_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
