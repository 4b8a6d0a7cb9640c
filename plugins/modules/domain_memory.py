#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: domain_memory
short_description: Set the size of a domain's memory balloon
version_added: 0.1.0
description:
  - Gives memory to a running domain or takes some from it, by its balloon, up to the domain's maximum memory.
  - Memory is only taken from a guest with recent figures of how much it could still use. It keeps what it uses and a
    margin. Below that its kernel would kill processes, or panic.
  - The size is changed in steps, and the balloon is watched until it has moved. Libvirt reports success also where the
    guest has no driver and nothing happens. Here that is an error, and the former size is restored, so that a driver
    that is loaded later does not change the size.
  - The size before the first change by the collection is kept in the domain's metadata, which migrates with the domain.
    O(state=released) restores it.
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
      - A size that differs by less than 1 MiB is no change.
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
      - V(sized) sets O(memory_mib).
      - V(released) restores the size that the domain had before the collection first changed it, in the running domain
        and in its definition, and removes the record of it. Without such a record nothing is done.
    type: str
    choices: [sized, released]
    default: sized
  memory_mib:
    description: The size of the balloon, which is the memory that the domain has.
    type: int
  minimum_mib:
    description: It is an error to go below this size, even if the guest needs less.
    type: int
    default: 128
  margin_mib:
    description: What the guest must at least be able to use beyond what it uses now, when memory is taken from it.
    type: int
    default: 64
  step_mib:
    description: How much the size is changed at a time. After each step the guest must report again what it needs.
    type: int
    default: 256
  host_reserve_mib:
    description: What the host must still have available when memory is given.
    type: int
    default: 512
  timeout_seconds:
    description: How long all steps together may take.
    type: float
    default: 60
  stats_period_seconds:
    description:
      - How often the guest's figures are collected if nobody collects them yet. This stays switched on for as long as
        the domain runs.
    type: int
    default: 5
  persistent:
    description:
      - Set it in the definition as well, from which the domain is started the next time. For a domain that does not run
        it is set in the definition alone.
    type: bool
    default: false
notes:
  - On Xen memory is given and never taken, because libvirt does not tell how much a guest could still use.
seealso:
  - module: virtops.balance.host_memory_balance
  - name: Memory balloon device
    description: How a domain gets one, and how its statistics are collected.
    link: https://libvirt.org/formatdomain.html#memory-balloon-device
"""

EXAMPLES = r"""
- name: Take memory from a domain
  virtops.balance.domain_memory:
    domain: batch-1
    memory_mib: 2048
    margin_mib: 256

- name: Restore the memory that the domain had before the collection changed it
  virtops.balance.domain_memory:
    domain: batch-1
    state: released
"""

RETURN = r"""
name:
  description: The name of the domain.
  returned: when O(domain) is given
  type: str
  sample: batch-1
uuid:
  description: The UUID of the domain.
  returned: when O(domain) is given
  type: str
  sample: 6ba7b810-9dad-41d1-80b4-00c04fd430c8
live:
  description:
    - The memory of the running domain in MiB, in check mode the memory that it would have.
    - V(null) if there was nothing to set.
  returned: when O(domain) is given
  type: int
  sample: 2048
definition:
  description: The same for the definition of the domain.
  returned: when O(domain) is given
  type: int
  sample: 4096
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
      type: int
      sample: 4096
    definition:
      description: Like RV(definition), for this domain.
      type: int
      sample: 4096
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._tuning import domain_memory as memory_size


def main() -> None:
    module = AnsibleModule(
        argument_spec=_connection.argument_spec(
            domain={"type": "str"},
            state={"type": "str", "choices": ["sized", "released"], "default": "sized"},
            memory_mib={"type": "int"},
            minimum_mib={"type": "int", "default": 128},
            margin_mib={"type": "int", "default": 64},
            step_mib={"type": "int", "default": 256},
            host_reserve_mib={"type": "int", "default": 512},
            timeout_seconds={"type": "float", "default": 60},
            stats_period_seconds={"type": "int", "default": 5},
            persistent={"type": "bool", "default": False},
        ),
        required_if=[("state", "sized", ("domain", "memory_mib"))],
        supports_check_mode=True,
    )
    api = _connection.require_libvirt(module)
    try:
        result = memory_size.size(api, memory_size.Request(**module.params), check_mode=module.check_mode)
    except BalanceError as error:
        module.fail_json(**error.to_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
