#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_snapshot
short_description: Join the observations of all hosts
version_added: 0.1.0
description:
  - Makes the snapshot of the fleet from C(balance_observation) of each host of the play and the variables of the host
    in the inventory, as P(virtops.balance.snapshot#filter) does.
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
  last_states:
    description: The states that hosts had in the run before, see P(virtops.balance.last_states#lookup).
    type: dict
    default: {}
  history:
    description: How many minutes of history to read from Prometheus.
    type: int
    default: 0
  history_step:
    description: Length of a step of the history in seconds.
    type: int
    default: 60
  prometheus:
    description: Options of M(virtops.balance.prometheus_history_info), if histories come from a Prometheus server.
    type: dict
"""

EXAMPLES = r"""
- name: Join the observations
  virtops.balance.run_snapshot:
  register: joined
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
snapshot:
  description: The snapshot as JSON text, see R(the data model,ansible_collections.virtops.balance.docsite.data_model).
  returned: success
  type: str
"""
