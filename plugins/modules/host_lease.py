#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_lease
short_description: Lease a host, so that only one run at a time acts on it
version_added: 0.1.0
description:
  - A lease says which run acts on a host, why, since when and until when. It is a file on the host,
    C(/var/lib/virtops.balance/lease.json), so every control node, cron and AWX see the same one.
  - If several runs want it at the same moment, exactly one gets it. The others fail with a message that says who acts
    since when.
  - A lease expires by itself, so an owner that was killed blocks others for at most O(lease_seconds).
extends_documentation_fragment:
  - virtops.balance._attributes
  - virtops.balance._attributes.actiongroup_balance
author:
  - the virtops.balance authors (@virtops)
attributes:
  check_mode:
    support: full
    details:
      - If another owner has the lease, the module fails in check mode too, without waiting.
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - Renewing the owner's lease is no change.
  platform:
    support: full
options:
  state:
    description:
      - V(present) takes the lease, or prolongs it if O(owner) has it. An expired lease of another owner is taken over,
        and is in RV(taken_over).
      - V(renew) prolongs the lease of O(owner), and fails if another owner has it now.
      - V(absent) gives the lease of O(owner) back. A lease of another owner is left as it is.
    type: str
    choices: [present, renew, absent]
    default: present
  owner:
    description: A unique name of the run that wants to act, for example the control node's name and a random number.
    type: str
    required: true
  purpose:
    description: The reason for the lease. Others that are refused see it.
    type: str
    default: virtops.balance
  lease_seconds:
    description: How long the lease lasts from now, unless it is renewed.
    type: float
    default: 900
  wait_seconds:
    description: With O(state=present), how long to wait for a lease of another owner.
    type: float
    default: 0
notes:
  - Runs as C(root), or as another user who may write to that directory.
  - To lease several hosts, lease one first that every run leases first, for example the first by name. Then, of two
    runs that want the same hosts, one gets all and the other none.
seealso:
  - module: virtops.balance.domain_migrate
  - module: virtops.balance.host_power
"""

EXAMPLES = r"""
- name: Act on the host, alone
  block:
    - name: Take the lease, wait five minutes for it if need be
      virtops.balance.host_lease:
        owner: "{{ run_id }}"
        purpose: maintenance
        wait_seconds: 300

    - name: Run tasks that take long
      ansible.builtin.include_tasks: maintenance.yml
  always:
    - name: Give the lease back
      virtops.balance.host_lease:
        owner: "{{ run_id }}"
        state: absent
"""

RETURN = r"""
lease:
  description:
    - The lease of the host now. If the module failed because another owner has the lease, it is that lease.
    - V(null) if there is none.
  returned: always
  type: dict
  contains:
    owner:
      description: The run that has the lease.
      type: str
      sample: control1 4be0643f
    purpose:
      description: The reason for the lease.
      type: str
      sample: rebalance
    since:
      description: When the lease was taken.
      type: str
      sample: "2026-01-31T12:00:00Z"
    expires_at:
      description: When the lease expires if it is not renewed.
      type: str
      sample: "2026-01-31T12:15:00Z"
unusable:
  description:
    - Whether the host cannot keep any lease, for example because the file cannot be written. No other run is the
      reason.
    - The playbooks treat such a host like one that does not answer.
  returned: where that is why the module failed
  type: bool
  sample: true
taken_over:
  description: The expired lease of another owner that was replaced. V(null) if there was none.
  returned: success
  type: dict
  sample: null
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._host import lease as _lease


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "renew", "absent"], "default": "present"},
            "owner": {"type": "str", "required": True},
            "purpose": {"type": "str", "default": "virtops.balance"},
            "lease_seconds": {"type": "float", "default": 900},
            "wait_seconds": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    try:
        taken = _lease.act(**module.params, check_mode=module.check_mode)
    except BalanceError as error:
        module.fail_json(**{"lease": None, **error.to_result()})
    before, after, gone = (_result(lease) for lease in (taken.before, taken.lease, taken.taken_over))
    # How long one's own lease lasts is no difference that anybody has to know of.
    changed = (before is None) != (after is None)
    diff = {"before": {"lease": before or gone}, "after": {"lease": after}} if changed else {"before": {}, "after": {}}
    module.exit_json(changed=changed, lease=after, taken_over=gone, diff=diff)


def _result(lease: _lease.Lease | None) -> dict[str, t.Any] | None:
    return None if lease is None else lease.to_result()


if __name__ == "__main__":
    main()
