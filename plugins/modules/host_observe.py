#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_observe
short_description: Observe a host, or ask whether it is off
version_added: 0.1.0
description:
  - Runs M(virtops.balance.host_info) on the host. If the host does not answer and the variable C(balance_power_control)
    is set, runs M(virtops.balance.host_power) to find out whether the host is off. The variable may have secrets in it,
    so it is evaluated only then. Both are one task, because each task costs time in a run over many hosts.
  - The result is that of M(virtops.balance.host_info). It also has C(power_state) if M(virtops.balance.host_power) ran.
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
  observe:
    description: Options of M(virtops.balance.host_info).
    type: dict
    required: true
  lease_failure:
    description:
      - Why this run has no lease of the host. Then the host is not observed, because another run may have leased it.
    type: dict
"""

EXAMPLES = r"""
- name: Observe the host
  virtops.balance.host_observe:
    observe: {uri: "qemu:///system", interval: 5}
  register: balance_observation
  ignore_unreachable: true
"""

RETURN = r"""
observation:
  description: The observation as JSON text, see M(virtops.balance.host_info).
  returned: where the host answers
  type: str
brief:
  description: The summary for playbooks, see M(virtops.balance.host_info).
  returned: where the host answers
  type: dict
power_state:
  description: The result of M(virtops.balance.host_power) with O(virtops.balance.host_power#module:state=query).
  returned: where the host does not answer and has the variable C(balance_power_control)
  type: dict
"""
