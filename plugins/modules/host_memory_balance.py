#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_memory_balance
short_description: Move memory between the domains of a host by their balloons, one round
version_added: 0.1.0
description:
  - Looks at how much memory each guest of the host could still use, and moves balloons. A guest that could use less
    than O(low_mib) gets what it uses and O(step_mib) more, as far as the host has it. A guest that could use more than
    O(high_mib) gives O(factor) of what is above, where the host needs it.
  - A guest is never brought below what it uses and O(margin_mib), nor below O(minimum_mib). One that swaps gives
    nothing. No domain gets more than its maximum memory.
  - Nothing is given while the host is short, that is, less than O(host_reserve_mib) is available, tasks wait for memory
    (O(max_pressure)), the host swaps, or its available memory is not known. Memory that a round takes can be given in
    the next round, when the host really has it.
  - A guest that has no figures, or figures older than two periods or a minute, is left alone. If nobody collects
    figures, the round switches this on for as long as the domain runs.
  - Balloons are watched until they have changed. If a balloon does not change at all, its former size is set again,
    and the next attempt is after an hour.
  - A domain whose balloon is of no use (no device, no driver, huge pages, a PCI device of the host, locked memory and
    so on) is warned about once. The warning is recorded in the domain's metadata, and removed when the balloon works or
    the domain is started anew.
  - Only running domains are changed, not their definitions. The size before the first change is kept in the
    metadata; M(virtops.balance.domain_memory) with C(state=released) restores it.
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
      - Each round measures again. If no guest starves, nothing is changed, unless O(reclaim=always).
  platform:
    support: full
options:
  interval:
    description: The seconds between the two samples that show who swaps, from V(0.1) to V(3600).
    type: float
    default: 5
  low_mib:
    description: A guest that could use less than this starves.
    type: int
    default: 128
  high_mib:
    description: A guest that could use more than this gives memory. A guest that swaps starves below it.
    type: int
    default: 256
  factor:
    description: The share of its memory above O(high_mib) that a guest gives in one round.
    type: float
    default: 0.5
  step_mib:
    description:
      - How much a starving guest should be able to use afterwards. From O(low_mib) to O(high_mib), so that the next
        round does not take it again.
    type: int
    default: 256
  reclaim:
    description:
      - V(needed) takes memory only while the host is short or cannot give what starving guests need, and no more than
        that. Guests use memory that nobody needs as a cache.
      - V(always) takes it from every guest that could use more than O(high_mib).
    type: str
    choices: [needed, always]
    default: needed
  minimum_mib:
    description: No domain is made smaller than this.
    type: int
    default: 128
  margin_mib:
    description: What a guest must at least be able to use beyond what it uses now, when memory is taken from it.
    type: int
    default: 64
  max_change_mib:
    description: How much the size of one domain changes at most in one round, V(16) or more.
    type: int
    default: 1024
  host_reserve_mib:
    description: How much memory the host keeps available.
    type: int
    default: 512
  max_pressure:
    description:
      - Nothing is given while tasks of the host waited for memory for more than this share of the last minute (PSI,
        C(some avg60)). If the kernel does not report this, it does not count.
    type: float
    default: 0.1
  stats_period_seconds:
    description: How often the guest's figures are collected if nobody collects them yet.
    type: int
    default: 5
  verify_seconds:
    description: How long to watch balloons until they have changed.
    type: float
    default: 10
  domains:
    description: Names or UUIDs of the domains whose memory may be changed; empty = all.
    type: list
    elements: str
    default: []
  exclude:
    description: Names or UUIDs of domains whose memory stays as it is.
    type: list
    elements: str
    default: []
notes:
  - It runs on the host itself, because libvirt does not report to other machines whether a host is short of memory.
  - Libvirt's Xen driver does not report how much guests could still use. On a Xen host the module fails.
seealso:
  - module: virtops.balance.domain_memory
  - module: virtops.balance.host_vcpu_balance
"""

EXAMPLES = r"""
- name: Give memory to guests that starve
  virtops.balance.host_memory_balance:
    host_reserve_mib: 4096

- name: Shrink all guests to the memory that they need
  virtops.balance.host_memory_balance:
    reclaim: always
    low_mib: 512
    high_mib: 1024
    step_mib: 768
    exclude: [db-1]
"""

RETURN = r"""
why:
  description: What was decided, in one or two sentences.
  returned: success
  type: str
  sample: 128 MiB are given and 0 MiB taken.
host:
  description: The host's own memory.
  returned: success
  type: dict
  contains:
    available_mib:
      description: Available memory. V(null) = not known.
      type: int
      sample: 2048
    pressure:
      description: The share of the last minute in which tasks waited for memory. V(null) = not known to the kernel.
      type: float
      sample: 0.0
    swapping:
      description: Whether the host swapped out more than 1 MiB per second between the two samples. V(null) = not known.
      type: bool
      sample: false
changes:
  description: The domains whose balloons changed, in check mode those that would change.
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
    before_mib:
      description: Size of the balloon before.
      type: int
      sample: 512
    target_mib:
      description: The size that was set as the target of the balloon.
      type: int
      sample: 640
    after_mib:
      description: The size that was reached. A balloon that needs longer continues by itself.
      type: int
      sample: 640
    why:
      description: The reason, in one sentence.
      type: str
      sample: web-1 could use 80 MiB more, less than 128 MiB.
left_alone:
  description: Domains that were left alone, in every round.
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
      sample: appliance-1
    code:
      description:
        - The reason, as one word. V(no_device), V(no_driver), V(no_statistics), V(statistics_started), V(stale),
          V(does_not_follow), V(hugepages), V(host_device), V(locked), V(virtio_mem), V(encrypted), V(busy), V(gone) or
          V(unknown).
      type: str
      sample: no_device
    reason:
      description: The reason, in one sentence.
      type: str
      sample: appliance-1 has no balloon device.
starving:
  description: Domains that lack memory and get none.
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
    reason:
      description: The reason, in one sentence.
      type: str
      sample: web-1 has its maximum of 1024 MiB.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._tuning import memory_balance


def main() -> None:
    module = AnsibleModule(
        argument_spec=_connection.argument_spec(
            interval={"type": "float", "default": 5},
            low_mib={"type": "int", "default": 128},
            high_mib={"type": "int", "default": 256},
            factor={"type": "float", "default": 0.5},
            step_mib={"type": "int", "default": 256},
            reclaim={"type": "str", "choices": ["needed", "always"], "default": "needed"},
            minimum_mib={"type": "int", "default": 128},
            margin_mib={"type": "int", "default": 64},
            max_change_mib={"type": "int", "default": 1024},
            host_reserve_mib={"type": "int", "default": 512},
            max_pressure={"type": "float", "default": 0.1},
            stats_period_seconds={"type": "int", "default": 5},
            verify_seconds={"type": "float", "default": 10},
            domains={"type": "list", "elements": "str", "default": []},
            exclude={"type": "list", "elements": "str", "default": []},
        ),
        supports_check_mode=True,
    )
    api = _connection.require_libvirt(module)
    options = dict(module.params)
    uri, interval = options.pop("uri"), options.pop("interval")
    try:
        settings = memory_balance.settings_from(options)
        result = memory_balance.balance(api, uri, settings, interval=interval, check_mode=module.check_mode)
    except BalanceError as error:
        module.fail_json(**error.to_result())
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
