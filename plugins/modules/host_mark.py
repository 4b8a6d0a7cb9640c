#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_mark
short_description: Remember something about a host, on the host
description:
  - Writes what runs have to remember from one to the next to C(/var/lib/virtops.balance/marks.json) on the host.
    No control node needs a memory. M(virtops.balance.host_info) returns it as
    RV(virtops.balance.host_info#module:observation.host.marks).
  - What is not given stays as it is.
extends_documentation_fragment:
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
  uneven_rounds:
    description: In how many runs in a row the fleet was found uneven without being levelled (C(hold) of the policy).
    type: int
  idle_rounds:
    description: In how many runs in a row the host was found without a domain (C(idle_rounds) of the policy).
    type: int
  detection:
    description: What the detector of the last run has to remember. An empty dictionary makes the host forget it.
    type: dict
  asleep:
    description: All other hosts that runs have put to sleep and that are not awake again, by name.
    type: dict
  inside:
    description: When something cheaper than a migration was last done inside the host, by the name of the action.
    type: dict
notes:
  - Runs as C(root), or as another user who may write to that directory.
seealso:
  - module: virtops.balance.host_info
  - plugin: virtops.balance.plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Remember that the fleet was found uneven once more
  virtops.balance.host_mark:
    uneven_rounds: "{{ balance_plan.uneven_rounds }}"

- name: Remember which other host sleeps
  virtops.balance.host_mark:
    asleep:
      kvm3:
        since: "2026-01-31T12:00:00Z"
        threads: 32
        memory_total_mib: 128000
"""

RETURN = r"""
marks:
  description: What the host remembers now.
  returned: success
  type: dict
  contains:
    uneven_rounds:
      description: In how many runs in a row the fleet was found uneven without being levelled.
      type: int
      sample: 2
    idle_rounds:
      description: In how many runs in a row the host was found without a domain.
      type: int
      sample: 0
    detection:
      description: What the detector of the last run has to remember.
      type: dict
      sample: null
    asleep:
      description: Other hosts that runs have put to sleep.
      type: dict
      sample: {}
    inside:
      description: When something cheaper than a migration was last done inside the host.
      type: dict
      sample: {vcpu: "2026-01-31T12:00:00Z"}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils import _marks
from ansible_collections.virtops.balance.plugins.module_utils._checks import check_number
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError


def main() -> None:
    counters = ("uneven_rounds", "idle_rounds")
    module = AnsibleModule(
        argument_spec={
            **{name: {"type": "int"} for name in counters},
            "detection": {"type": "dict"},
            "asleep": {"type": "dict"},
            "inside": {"type": "dict"},
        },
        required_one_of=[(*counters, "detection", "asleep", "inside")],
        supports_check_mode=True,
    )
    given = {name: value for name, value in module.params.items() if value is not None}
    before = _marks.read()
    after = {**before, **given}
    after["detection"] = after["detection"] or None
    try:
        for name in counters:
            check_number(name, after[name], 0, 1_000_000)
        if before != after and not module.check_mode:
            _marks.write(after)
    except BalanceError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=before != after, marks=after, diff={"before": before, "after": after})


if __name__ == "__main__":
    main()
