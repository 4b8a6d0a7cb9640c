#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_refuse
short_description: End a run before it touches anything
version_added: 0.1.0
description:
  - Saves the reason as C(refused.json) in the directory C(balance_run_dir), where that is there, so that whoever
    started the run can tell that it was refused and did not fail. Then it fails with the sentences of O(problem) alone.
  - A run that has woken hosts or ended a round of a maintenance has touched something, so nothing is saved then.
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
  reason:
    description: The kind of reason, one word such as C(inventory), C(lease) or C(plan).
    type: str
    required: true
  problem:
    description: What is wrong and what to do about it, in sentences.
    type: str
    required: true
  shown:
    description: The same in several lines, for whoever reads the output of the run. By default it is O(problem).
    type: str
"""

EXAMPLES = r"""
- name: Refuse to run in the evening
  virtops.balance.run_refuse:
    reason: time
    problem: Backups run between 18:00 and 22:00. Start this job later.
  when: now().hour in range(18, 22)
  run_once: true
"""

RETURN = r"""
refused:
  description: Tells this failure from one of a run that has touched something.
  returned: failure
  type: bool
  sample: true
"""
