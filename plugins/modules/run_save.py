#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_save
short_description: Save a file of a run
version_added: 0.1.0
description:
  - Saves a text in the directory C(balance_run_dir), as a whole or not at all, readable for nobody else. Its name
    begins with C(balance_file_prefix).
  - The files explain a run and are no part of what it changes, so check mode has them too.
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
  name:
    description: The name of the file. Without it only the directory is made, where it is missing.
    type: str
  content:
    description: The text, or data that are saved as JSON.
    type: raw
  before:
    description:
      - The text as it would be if nothing was to be done. Where it differs from O(content) the result is C(changed),
        and C(--diff) shows where.
    type: str
"""

EXAMPLES = r"""
- name: Save the plan
  virtops.balance.run_save:
    name: plan.json
    content: "{{ balance_plan | to_nice_json }}"
  run_once: true
"""

RETURN = r"""
dest:
  description: The path of the file.
  returned: when a file was saved
  type: str
  sample: /home/admin/.local/state/virtops-balance/20260131T120000Z/plan.json
"""
