#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_vcpu_balance
short_description: Spread the vCPUs of the domains over the CPUs of the host, one round
version_added: 0.1.0
description:
  - Measures over one interval how long each vCPU ran and waited for a CPU, and how busy each physical CPU of the host
    was, the host's own work included. If the load of the fullest CPU is clearly higher than that of the emptiest, as
    few vCPUs as needed are pinned to other CPUs.
  - A vCPU that is pinned to B(one) CPU may be pinned to another. A vCPU that may run on several CPUs is left to the
    kernel, which moves it by itself; see O(pin_free).
  - Only CPUs are used that are online and not isolated (C(isolcpus)). A vCPU stays in its NUMA cell unless
    O(cross_numa) is set, always in the cells of a strict C(numatune) and in the C(cpuset) of its domain. A CPU whose
    SMT sibling is busy counts as fuller by half of the sibling's load.
  - Only running domains are changed, not their definitions. The pins before the first change are kept in the
    metadata; M(virtops.balance.domain_vcpu_pin) with C(state=released) restores them.
  - A domain that a migration or another job of libvirt holds is left alone.
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
    support: partial
    details:
      - Each round measures again. On a host with even loads nothing is changed.
  platform:
    support: full
options:
  interval:
    description:
      - Over how many seconds the load is measured, from V(0.1) to V(3600). The counters have a resolution of 10 ms.
    type: float
    default: 5
  algorithm:
    description:
      - V(spread) moves or exchanges the vCPUs that even the loads most, until the spread is at most O(target).
      - V(busiest_freest) makes one move in a round and NUMA cell. If the freest CPU has no pinned vCPU it gets the
        first one of the busiest CPU, where that holds several. Otherwise, if the busiest is above O(busy_above) and
        the freest below, it gets the least used vCPU of the busiest if it stays below O(busy_above).
    type: str
    choices: [spread, busiest_freest]
    default: spread
  threshold:
    description: With V(spread), act if the loads of two CPUs differ by more than this (1.0 = one CPU busy).
    type: float
    default: 0.25
  target:
    description: With V(spread), continue until the loads differ by at most this. Half of O(threshold) if not set.
    type: float
  busy_above:
    description: A CPU with a load up to this is not relieved.
    type: float
    default: 0.5
  gain:
    description:
      - With V(spread), the least gain of a move. Afterwards, the new CPU of the vCPU must be emptier by this than the
        old CPU was before, and the old CPU must have become emptier by half of this. At least V(0.01).
    type: float
    default: 0.1
  pin_free:
    description:
      - Pin vCPUs that may run on several CPUs as well, each to one of these, largest first.
      - The kernel no longer moves such vCPUs, so balance the host regularly then.
    type: bool
    default: false
  cross_numa:
    description:
      - Let vCPUs go to CPUs of other NUMA cells, away from their memory, if their own cell does not suffice.
    type: bool
    default: false
  domains:
    description: Names or UUIDs of the domains whose vCPUs may be moved; empty = all.
    type: list
    elements: str
    default: []
  exclude:
    description: Names or UUIDs of domains whose vCPUs stay where they are.
    type: list
    elements: str
    default: []
notes:
  - It runs on the host itself, because libvirt does not report to other machines how busy each CPU is.
  - Xen's own scheduler spreads vCPUs. On a Xen host the module fails.
seealso:
  - module: virtops.balance.domain_vcpu_pin
  - module: virtops.balance.host_memory_balance
"""

EXAMPLES = r"""
- name: Spread the vCPUs that are pinned
  virtops.balance.host_vcpu_balance:

- name: Show the changes on a host whose vCPUs are all to be pinned
  virtops.balance.host_vcpu_balance:
    pin_free: true
    exclude: [firewall]
  check_mode: true
  diff: true
"""

RETURN = r"""
why:
  description: What was done, or why nothing was, in one sentence.
  returned: success
  type: str
  sample: "1 vCPU is pinned anew: the spread of the loads goes from 1.93 to 0.07."
spread:
  description: The difference between the loads of the fullest and the emptiest CPU, in cores.
  returned: success
  type: dict
  contains:
    before:
      description: The measured value.
      type: float
      sample: 1.93
    after:
      description: The expected value after the pins.
      type: float
      sample: 0.07
cpus:
  description:
    - The loads of the usable CPUs in cores. They include the CPU that vCPUs wanted and did not get, so they may exceed
      1. With O(algorithm=spread) they also include half of the loads of SMT siblings.
  returned: success
  type: list
  elements: dict
  contains:
    cpu:
      description: Number of the CPU.
      type: int
      sample: 0
    before:
      description: The measured value.
      type: float
      sample: 1.96
    after:
      description: The expected value after the pins.
      type: float
      sample: 1.0
repinned:
  description: The vCPUs that were pinned, in check mode those that would be pinned.
  returned: success
  type: list
  elements: dict
  contains:
    uuid:
      description: UUID of the domain.
      type: str
      sample: 6ba7b810-9dad-41d1-80b4-00c04fd430c8
    name:
      description: Name of the domain.
      type: str
      sample: web-1
    vcpu:
      description: Number of the vCPU.
      type: int
      sample: 0
    from:
      description: The CPUs on which it could run before. V(all) = any CPU.
      type: str
      sample: "0"
    to:
      description: The CPU to which it is pinned.
      type: str
      sample: "1"
    cores:
      description: How much CPU the vCPU wanted, in cores.
      type: float
      sample: 0.98
left_alone:
  description: Domains that could not take part, and those whose vCPUs could not be pinned.
  returned: success
  type: list
  elements: dict
  contains:
    uuid:
      description: UUID of the domain.
      type: str
      sample: 6ba7b810-9dad-41d1-80b4-00c04fd430c8
    name:
      description: Name of the domain.
      type: str
      sample: web-2
    reason:
      description: The reason, in one sentence.
      type: str
      sample: A job of libvirt holds web-2.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._tuning import vcpu_balance


def main() -> None:
    module = AnsibleModule(
        argument_spec=_connection.argument_spec(
            interval={"type": "float", "default": 5},
            algorithm={"type": "str", "choices": ["spread", "busiest_freest"], "default": "spread"},
            threshold={"type": "float", "default": 0.25},
            target={"type": "float"},
            busy_above={"type": "float", "default": 0.5},
            gain={"type": "float", "default": 0.1},
            pin_free={"type": "bool", "default": False},
            cross_numa={"type": "bool", "default": False},
            domains={"type": "list", "elements": "str", "default": []},
            exclude={"type": "list", "elements": "str", "default": []},
        ),
        supports_check_mode=True,
    )
    api = _connection.require_libvirt(module)
    options = dict(module.params)
    uri, interval = options.pop("uri"), options.pop("interval")
    try:
        settings = vcpu_balance.settings_from(options)
        result = vcpu_balance.balance(api, uri, settings, interval=interval, check_mode=module.check_mode)
    except BalanceError as error:
        module.fail_json(**error.to_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
