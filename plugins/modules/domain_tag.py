#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: domain_tag
short_description: Tag a domain, and set its keys for allocations
version_added: 0.1.0
description:
  - >-
    Adds tags to a domain, removes them, or replaces all of them, for selectors of a policy such as C({tag: web}).
  - Sets the lowest and the highest CPU and the share for allocations. They count where C(balance_domains) does not
    have them.
  - Both are kept in the domain's own libvirt metadata, which moves with the domain. All other
    metadata stays as it is.
  - The running domain and its definition are changed, as far as the domain has them. The new values are read back. It
    is an error if libvirt reports different values.
  - A domain that a migration or another job of libvirt holds is not changed, because libvirt would block for 30
    seconds. If a change is needed, the module fails at once.
extends_documentation_fragment:
  - virtops.balance._connection
  - virtops.balance._attributes
  - virtops.balance._attributes.actiongroup_balance
author:
  - the virtops.balance authors (@virtops)
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    support: full
options:
  domain:
    description: The UUID or the name of the domain.
    type: str
    required: true
  tags:
    description:
      - The tags, texts without control characters and without spaces around them.
      - Without this option the tags stay as they are. One of O(tags) and O(allocation) is needed.
    type: list
    elements: str
  state:
    description:
      - V(present) adds O(tags) to those that the domain has, V(absent) removes them.
      - V(exact) makes O(tags) the only ones; an empty list removes all.
    type: str
    choices: [present, absent, exact]
    default: present
  allocation:
    description:
      - The keys for allocations. Keys that are left out are removed; an empty mapping removes all.
      - Without this option the keys stay as they are.
    type: dict
    suboptions:
      cpu_min:
        description: The CPU that the domain always gets, in cores.
        type: float
      cpu_max:
        description: The most CPU that the domain can use, in cores.
        type: float
      share:
        description: The domain's relative share of the remaining CPU, compared with other domains.
        type: float
seealso:
  - module: virtops.balance.host_info
  - plugin: virtops.balance.allocation_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Tag a domain
  virtops.balance.domain_tag:
    domain: web-1
    tags: [web, apart-shop]

- name: Remove a tag
  virtops.balance.domain_tag:
    domain: web-1
    tags: [apart-shop]
    state: absent

- name: Set the tags of a domain, and remove all others
  virtops.balance.domain_tag:
    domain: web-1
    tags: [web]
    state: exact

- name: Remove all tags
  virtops.balance.domain_tag:
    domain: web-1
    tags: []
    state: exact

- name: Set what allocations give a domain, from half a core to two
  virtops.balance.domain_tag:
    domain: web-1
    allocation:
      cpu_min: 0.5
      cpu_max: 2
"""

RETURN = r"""
name:
  description: The name of the domain.
  returned: success
  type: str
  sample: web-1
uuid:
  description: The UUID of the domain.
  returned: success
  type: str
  sample: 6ba7b810-9dad-41d1-80b4-00c04fd430c8
live:
  description:
    - The metadata of the running domain, in check mode as it would be. V(null) if it does not run.
  returned: success
  type: dict
  contains:
    tags:
      description: Its tags.
      type: list
      elements: str
      sample: [web, apart-shop]
    allocation:
      description: The keys for allocations, as in O(allocation). V(null) if it has none.
      type: dict
      sample: {cpu_min: 0.5, cpu_max: 2.0}
definition:
  description: The same for the definition of the domain. V(null) if it has none.
  returned: success
  type: dict
  contains:
    tags:
      description: The tags in the definition.
      type: list
      elements: str
      sample: [web, apart-shop]
    allocation:
      description: The keys for allocations in the definition.
      type: dict
      sample: {cpu_min: 0.5, cpu_max: 2.0}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import tags
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError


def main() -> None:
    module = AnsibleModule(
        argument_spec=_connection.argument_spec(
            domain={"type": "str", "required": True},
            tags={"type": "list", "elements": "str"},
            state={"type": "str", "choices": ["present", "absent", "exact"], "default": "present"},
            allocation={"type": "dict", "options": {key: {"type": "float"} for key in tags.ALLOCATION}},
        ),
        required_one_of=[("tags", "allocation")],
        supports_check_mode=True,
    )
    api = _connection.require_libvirt(module)
    try:
        result = tags.tag(api, tags.Request(**module.params), check_mode=module.check_mode)
    except BalanceError as error:
        module.fail_json(**error.to_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
