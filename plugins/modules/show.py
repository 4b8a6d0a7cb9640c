#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: show
short_description: Print text as it is
version_added: 0.1.0
description:
  - Prints text of several lines, such as the table of a plan, as it is, whatever the format of task output.
  - Works on the control node and connects to no host.
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
  text:
    description: What to print.
    type: str
    required: true
seealso:
  - plugin: virtops.balance.plan_table
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show a plan
  virtops.balance.show:
    text: "{{ plan | virtops.balance.plan_table }}"
"""

RETURN = r"""
text:
  description: What was printed.
  returned: success
  type: str
  sample: "BALANCED: nothing to move."
"""
