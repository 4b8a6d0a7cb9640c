#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: domain_migrate_info
short_description: Ask whether running libvirt domains can be migrated to other hosts
version_added: 0.1.0
description:
  - Makes the checks that M(virtops.balance.domain_migrate) makes before a migration, for any number of domains of the
    host on which the module runs, and changes nothing. The playbooks use it before they show or carry out a plan.
  - There is one connection to each destination, with the URI and the credentials with which the migration would be
    made. All destinations are asked side by side.
  - A destination that cannot be reached, or does not answer in time, is no error. The questions about it have the
    answer V(null), with the reason, and all others are answered.
extends_documentation_fragment:
  - virtops.balance._connection
  - virtops.balance._destination
  - virtops.balance._destination.blockers
  - virtops.balance._attributes
  - virtops.balance._attributes.info_module
  - virtops.balance._attributes.actiongroup_balance
author:
  - the virtops.balance authors (@virtops)
attributes:
  platform:
    support: full
options:
  questions:
    description: The moves to ask about.
    type: list
    elements: dict
    required: true
    suboptions:
      domain:
        description: The UUID or the name of the domain.
        type: str
        required: true
      destination:
        description: The name of the destination, one of O(destinations).
        type: str
        required: true
      room_mib:
        description:
          - How much memory other moves will have freed on the destination before this one begins, in MiB, less what
            they will have brought there. It may be negative.
        type: int
        default: 0
      post_copy:
        description: As O(virtops.balance.domain_migrate#module:post_copy).
        type: bool
        default: false
      parallel_connections:
        description: As O(virtops.balance.domain_migrate#module:parallel_connections).
        type: int
  destinations:
    description: The hosts to ask.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name of the host in O(questions) and in messages.
        type: str
        required: true
      uri:
        description: The libvirt connection URI of the host, as the libvirt daemon of the source opens it.
        type: str
        required: true
      bridges:
        description: As O(virtops.balance.domain_migrate#module:destination_bridges).
        type: list
        elements: str
      mounts:
        description: As O(virtops.balance.domain_migrate#module:destination_mounts).
        type: list
        elements: dict
        suboptions:
          path:
            description: Where it is seen.
            type: str
            required: true
          type:
            description: Type of the file system.
            type: str
            required: true
          source:
            description: What was mounted, for example V(filer:/images).
            type: str
            required: true
          root:
            description: Which directory of the file system is seen there.
            type: str
            default: /
          identity:
            description: What tells a local file system from all others.
            type: str
      zfs_cache_mib:
        description: As O(virtops.balance.domain_migrate#module:destination_zfs_cache_mib).
        type: int
      shared_memory_mib:
        description: As O(virtops.balance.domain_migrate#module:destination_shared_memory_mib).
        type: int
  source:
    description:
      - The name of the source in messages.
      - If not set, it is the hostname that its libvirt gives.
    type: str
  timeout_seconds:
    description: How long one destination may take for all questions about it, with its connection.
    type: float
    default: 60
notes:
  - Runs as C(root), or as another user whose libvirt connections reach both hosts.
seealso:
  - module: virtops.balance.domain_migrate
  - plugin: virtops.balance.plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Ask whether web-1 and db-1 can be moved
  virtops.balance.domain_migrate_info:
    questions:
      - domain: web-1
        destination: kvm3
      - domain: db-1
        destination: kvm2
    destinations:
      - name: kvm2
        uri: qemu+ssh://root@kvm2.example.org/system
      - name: kvm3
        uri: qemu+ssh://root@kvm3.example.org/system
  register: asked

- name: Show what was refused
  ansible.builtin.debug:
    msg: "{{ checks | selectattr('ok', 'false') | map(attribute='message') }}"
  vars:
    checks: "{{ asked.answers | map(attribute='checks') | flatten }}"
"""

RETURN = r"""
answers:
  description: One answer for each of O(questions), in the same order.
  returned: success
  type: list
  elements: dict
  contains:
    domain:
      description: As in the question.
      type: str
      sample: web-1
    destination:
      description: As in the question.
      type: str
      sample: kvm3
    ok:
      description:
        - Whether no check speaks against the move. V(null) if the destination could not be asked.
        - A check that could not be made speaks neither for it nor against it.
      type: bool
      sample: true
    checks:
      description: The checks, as RV(virtops.balance.domain_migrate#module:checks).
      type: list
      elements: dict
      contains:
        check:
          description: Name of the check.
          type: str
          sample: bridge
        ok:
          description: Whether the check passed. V(null) if it could not be made.
          type: bool
          sample: false
        message:
          description: What was found.
          type: str
          sample: kvm3 has no bridge br7
        kind:
          description: How far a refusal holds, see RV(virtops.balance.domain_migrate#module:checks[].kind).
          type: str
          sample: bridge
        about:
          description: What it is about, see RV(virtops.balance.domain_migrate#module:checks[].about).
          type: raw
          sample: br7
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._move import ask, destination_options, run


def main() -> None:
    module = AnsibleModule(
        argument_spec=_connection.argument_spec(
            questions={
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "domain": {"type": "str", "required": True},
                    "destination": {"type": "str", "required": True},
                    "room_mib": {"type": "int", "default": 0},
                    "post_copy": {"type": "bool", "default": False},
                    "parallel_connections": {"type": "int"},
                },
            },
            destinations={
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "uri": {"type": "str", "required": True},
                    "bridges": {"type": "list", "elements": "str"},
                    "mounts": {"type": "list", "elements": "dict", "options": destination_options.MOUNT_OPTIONS},
                    "zfs_cache_mib": {"type": "int"},
                    "shared_memory_mib": {"type": "int"},
                },
            },
            source={"type": "str"},
            shared_paths={"type": "list", "elements": "str", "default": []},
            accept_blockers={"type": "list", "elements": "str", "choices": run.ACCEPTABLE_BLOCKERS, "default": []},
            memory_reserve_mib={"type": "int", "default": 256},
            memory_overcommit={"type": "float", "default": 1},
            timeout_seconds={"type": "float", "default": 60},
        ),
        supports_check_mode=True,
    )
    api = _connection.require_libvirt(module)
    options = dict(module.params)
    questions = [ask.Question(**question) for question in options.pop("questions")]
    destinations = [ask.Destination(**destination) for destination in options.pop("destinations")]
    try:
        answers = ask.ask(api, ask.Asking(**options), questions, destinations)
    except BalanceError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=False, answers=answers)


if __name__ == "__main__":
    main()
