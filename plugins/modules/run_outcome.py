#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_outcome
short_description: Compare a plan with the fleet after it
version_added: 0.1.0
description:
  - Makes the outcome of C(balance_plan) from the results of all hosts of the play and C(balance_fleet), as
    P(virtops.balance.outcome#filter) does.
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
options: {}
"""

EXAMPLES = r"""
- name: Compare the plan with the fleet
  virtops.balance.run_outcome:
  register: compared
  run_once: true
"""

RETURN = r"""
outcome:
  description: The outcome, see R(the data model,ansible_collections.virtops.balance.docsite.data_model).
  returned: success
  type: dict
table:
  description: The same as text, see P(virtops.balance.outcome_table#filter).
  returned: success
  type: str
"""
