#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_load
short_description: Load a saved snapshot
version_added: 0.1.0
description:
  - Reads a C(snapshot.json) that a run has saved, in place of observing hosts.
  - Refuses to run, as M(virtops.balance.run_refuse) does, where the file is no snapshot.
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
  path:
    description: Path of the file, from where the run was started.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Load the snapshot
  virtops.balance.run_load:
    path: docs/snapshots/demo.json
  register: loaded
  run_once: true
"""

RETURN = r"""
snapshot:
  description: The text of the file.
  returned: success
  type: str
  sample: '{"schema": 1, "taken_at": "2026-01-31T12:00:00Z", "hosts": {}, "domains": {}}'
"""
