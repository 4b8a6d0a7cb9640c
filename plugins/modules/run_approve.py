#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_approve
short_description: Take a plan that was approved
version_added: 0.1.0
description:
  - Reads a plan that a run has saved, in place of planning.
  - Refuses to run, as M(virtops.balance.run_refuse) does, where it is no plan, or does not fit the fleet any more. The
    checks are those of P(virtops.balance.plan_objections#filter).
  - Used by the role P(virtops.balance.balance#role). It works on the control node.
extends_documentation_fragment:
  - virtops.balance._attributes
  - virtops.balance._attributes.info_module
  - virtops.balance._attributes.actiongroup_balance
author:
  - the virtops.balance authors (@virtops)
attributes:
  platform:
    support: full
options:
  plan:
    description: The plan as data, as JSON text, or the path of a C(plan.json) from where the run was started.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Take the plan that was approved
  virtops.balance.run_approve:
    plan: "{{ balance_approved_plan }}"
  register: approved
  run_once: true
"""

RETURN = r"""
plan:
  description: The plan, as the filter P(virtops.balance.plan#filter) returns it.
  returned: success
  type: dict
  sample: {schema: 1, verdict: move}
"""
