#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_check
short_description: Check the variables of a run
version_added: 0.1.0
description:
  - Checks once for all hosts of the play that no variable beginning with C(balance_) is unknown, that values are
    possible, that no host of the fleet is left out, and that the policy is valid.
  - Refuses to run, as M(virtops.balance.run_refuse) does, where something is wrong.
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
  values:
    description: Whether to check values, types and the policy too, and not only the names of variables.
    type: bool
    default: true
  words:
    description:
      - Whether to check first for a value of C(-e) that was cut off at a space.
      - With O(values) this is checked in any case.
    type: bool
    default: false
  left_out:
    description: Hosts of the fleet that C(--limit) leaves out.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Check the names of all variables
  virtops.balance.run_check:
    values: false
  run_once: true
"""

RETURN = r"""
"""
