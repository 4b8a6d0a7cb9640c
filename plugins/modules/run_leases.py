#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_leases
short_description: Judge the leases of all hosts
version_added: 0.1.0
description:
  - Decides on which hosts the run may act, from the results of M(virtops.balance.host_lease) on each host of the play,
    registered as C(balance_lease).
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
  owner:
    description: The name under which this run leases hosts.
    type: str
    required: true
  renewed:
    description: The earlier RV(failures), if the leases of all other hosts were renewed since.
    type: dict
"""

EXAMPLES = r"""
- name: Judge the leases
  virtops.balance.run_leases:
    owner: "{{ balance_lease_owner }}"
  register: balance_leases
  run_once: true
"""

RETURN = r"""
refusals:
  description: Sentences about hosts that another run may have leased.
  returned: success
  type: list
  elements: str
failures:
  description: Hosts that this run could not lease, each with the result of M(virtops.balance.host_lease).
  returned: success
  type: dict
taken_over:
  description: Sentences about expired leases of other runs.
  returned: success
  type: list
  elements: str
first:
  description: The first host by name that can keep a lease. V(null) if there is none.
  returned: success
  type: str
first_is_ours:
  description: Whether this run leased RV(first). If two runs begin at the same moment, the run that did continues.
  returned: success
  type: bool
at:
  description: When the leases were taken, in seconds since 1970.
  returned: success
  type: float
"""
