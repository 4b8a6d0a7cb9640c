#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_path_test
short_description: Write a test file into shared directories, or remove it
version_added: 0.1.0
description:
  - With O(state=present), writes a small file into each directory, so that M(virtops.balance.host_peers_info) can look
    on other hosts whether it is seen there.
  - With O(state=absent), removes the file.
  - The name of the file begins with C(.virtops-balance-doctor) and is another one for each host and run, because a file
    system may remember for a while that a file is not there.
  - A process on the host removes the files after O(lifetime_seconds), if the run was ended before it did so itself.
    Files that are left because the host was switched off are removed by the next run.
  - Used by the role P(virtops.balance.balance#role) for the playbook C(virtops.balance.doctor).
extends_documentation_fragment:
  - virtops.balance._attributes
  - virtops.balance._attributes.actiongroup_balance
author:
  - the virtops.balance authors (@virtops)
attributes:
  check_mode:
    support: full
    details:
      - Nothing is written, so nothing can be seen on other hosts.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - With O(state=absent). The file is written anew with each O(state=present), and other runs have other files.
  platform:
    support: full
options:
  state:
    description: Whether the files are there.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: The name of this host, as other hosts know it from the questions.
    type: str
    required: true
  run:
    description: A text that is another one for each run.
    type: str
    required: true
  paths:
    description: Absolute paths of the directories. What is no directory, or is missing, gets no file.
    type: list
    elements: str
    required: true
  lifetime_seconds:
    description: How long the files may be there.
    type: float
    default: 900
notes:
  - Runs as C(root), or as another user who may write to the directories.
seealso:
  - module: virtops.balance.host_peers_info
"""

EXAMPLES = r"""
- name: Write the test file
  virtops.balance.host_path_test:
    name: "{{ inventory_hostname }}"
    run: 2026-01-31T12:00:00Z
    paths: [/srv/images]

- name: Remove the test file
  virtops.balance.host_path_test:
    state: absent
    name: "{{ inventory_hostname }}"
    run: 2026-01-31T12:00:00Z
    paths: [/srv/images]
"""

RETURN = r"""
paths:
  description: Of each path, what it is (C(directory), C(other), C(missing)), whether the file was written, and why not.
  returned: with O(state=present)
  type: dict
  sample: {/srv/images: {kind: directory, written: true, problem: null}}
removed:
  description: The directories whose file was removed.
  returned: with O(state=absent)
  type: list
  elements: str
  sample: [/srv/images]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils._doctor import shared_paths
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._option_checks import check_number


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "name": {"type": "str", "required": True},
            "run": {"type": "str", "required": True},
            "paths": {"type": "list", "elements": "str", "required": True},
            "lifetime_seconds": {"type": "float", "default": 900},
        },
        supports_check_mode=True,
    )
    params = module.params
    files = {"host": params["name"], "run": params["run"], "dry": module.check_mode}
    try:
        check_number("lifetime_seconds", params["lifetime_seconds"], 10, 86_400)
        paths = shared_paths.check_paths(params["paths"])
    except BalanceError as error:
        module.fail_json(**error.to_result())
    if params["state"] == "absent":
        removed = shared_paths.remove(paths, **files)
        module.exit_json(changed=bool(removed), removed=removed)
    found = shared_paths.write(paths, lifetime_seconds=params["lifetime_seconds"], **files)
    module.exit_json(changed=any(entry["kind"] == "directory" for entry in found.values()), paths=found)


if __name__ == "__main__":
    main()
