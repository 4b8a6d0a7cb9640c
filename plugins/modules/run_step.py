#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_step
short_description: Decide whether a step of a run may start
version_added: 0.1.0
description:
  - Decides before each step whether leases have to be renewed first, and whether earlier failures forbid the step.
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
  ordered:
    description:
      - Whether the step needs the room that earlier steps made, so that it must not start after one that failed.
    type: bool
    default: false
  wave:
    description:
      - The number of the wave of moves that the step is, or for restarts the number after the last wave. If moves of
        earlier waves did not happen, the moves of it that need them are left out, and the others start. With 0, nothing
        of the step starts in that case.
    type: int
    default: 0
  seconds:
    description: How long the step is expected to take.
    type: float
    default: 0
  lease_seconds:
    description: How long a lease lasts.
    type: float
    required: true
"""

EXAMPLES = r"""
- name: Decide whether the step may start
  virtops.balance.run_step:
    ordered: true
    lease_seconds: 300
  register: balance_next
  run_once: true
"""

RETURN = r"""
renew:
  description: Whether leases have to be renewed first.
  returned: success
  type: bool
keep_seconds:
  description: For how many seconds to renew them.
  returned: success
  type: float
start:
  description: Whether the step may start.
  returned: success
  type: bool
left_out:
  description: Numbers of the moves of the wave, or of the restarts, that must not start.
  returned: success
  type: list
  elements: int
outcomes:
  description: The results of all moves, restarts and steps so far, and why moves were left out.
  returned: success
  type: list
  elements: dict
"""
