#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_steps
short_description: Divide a plan into steps
version_added: 0.1.0
description:
  - Returns the steps of a run in their order, each with its hosts, from C(balance_plan), C(balance_fleet) and the
    observations of all hosts of the play. Other hosts have nothing to do in a step.
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
  kinds:
    description: The kinds of steps to return, in this order.
    type: list
    elements: str
    choices: [wake, finish, remember, inside, stop, waves, restarts, create, observe, outcome, sleep]
    required: true
  drain:
    description: Hosts that are being drained.
    type: list
    elements: str
    default: []
  states:
    description: The steps of an allocation to return, by the state that they bring domains into.
    type: list
    elements: str
    default: [stop, create, run]
  shutdown_seconds:
    description: How long a guest has to shut down.
    type: float
    default: 0
"""

EXAMPLES = r"""
- name: Divide the plan into steps
  virtops.balance.run_steps:
    kinds: [finish, waves, restarts]
  register: balance_work
  run_once: true
"""

RETURN = r"""
steps:
  description:
    - The steps. Each has a C(title), the tasks file C(file) of the role that does it, and the C(hosts) that it
      concerns.
  returned: success
  type: list
  elements: dict
interrupted:
  description:
    - Restarts that an earlier run did not finish, see P(virtops.balance.interrupted_restarts#filter).
  returned: success
  type: list
  elements: dict
"""
