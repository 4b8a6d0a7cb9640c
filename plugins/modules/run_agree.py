#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_agree
short_description: Plan with what hosts answered about planned moves
version_added: 0.1.0
description:
  - Collects what M(virtops.balance.domain_migrate_info) answered on the hosts of the play, registered as
    C(balance_asked), and makes the plan again from C(balance_fleet) if a move of it was refused.
  - Returns what each host has to ask next, up to C(agree_rounds) of the policy.
  - Used by the role P(virtops.balance.balance#role). It works on the control node, and registers as C(balance_agree).
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
  begin:
    description: Whether C(balance_plan) is new, so that nothing was asked about it.
    type: bool
    default: false
  allocate:
    description: Whether the plan is one of an allocation, from C(balance_domains) and C(balance_allocation).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Plan with the answers
  virtops.balance.run_agree:
  register: balance_agree
  run_once: true
"""

RETURN = r"""
plan:
  description: The plan, see R(the data model,ansible_collections.virtops.balance.docsite.data_model).
  returned: success
  type: dict
answers:
  description: All answers so far, see R(the data model,ansible_collections.virtops.balance.docsite.answers).
  returned: success
  type: list
  elements: dict
rounds:
  description: How many times hosts were asked so far.
  returned: success
  type: int
ask:
  description:
    - The options C(questions) and C(destinations) of M(virtops.balance.domain_migrate_info) for each host that has
      something to ask, by its name.
  returned: success
  type: dict
"""
