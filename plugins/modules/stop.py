#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: stop
short_description: Fail with a message
version_added: 0.1.0
description:
  - Fails like M(ansible.builtin.fail), but the message is printed only once. Since ansible-core 2.19, the message of
    that module is printed twice, with lines of the file of the task, which do not help people who only run a playbook.
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
  msg:
    description: What is wrong and what to do about it.
    type: str
    required: true
seealso:
  - module: ansible.builtin.fail
"""

EXAMPLES = r"""
- name: Stop where nothing is to be balanced
  virtops.balance.stop:
    msg: Put the hypervisors into the group hypervisors.
  when: groups.hypervisors is not defined
"""

RETURN = r"""
"""
