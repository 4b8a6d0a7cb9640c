#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: domain_finish_move
short_description: Finish a migration that was interrupted
version_added: 0.1.0
description:
  - While M(virtops.balance.domain_migrate) moves a domain, the domain carries a note about it in its metadata. If the
    module is interrupted, because its host fails for instance, the note stays. The domain may then lack the cap that
    was lifted for the migration and, on the destination, its definition and its autostart.
  - This module restores these and removes the note, on the host where the domain now runs. It moves nothing.
  - A domain without such a note is left as it is, and so is a domain that is still being migrated. It is no error
    if a domain named by its UUID is no longer on the host.
  - A domain that an ended migration has left paused is an error. Nothing is done to it, because it may have run
    elsewhere since. M(virtops.balance.domain_migrate), which asks both hosts, says what you can do about it.
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
    support: none
  idempotent:
    support: full
  platform:
    support: full
options:
  domain:
    description: The UUID or the name of the domain.
    type: str
    required: true
  host:
    description:
      - The name of this host in the note. If the source in the note is another host, the domain did move, and the time
        of its last move is stored.
    type: str
    required: true
seealso:
  - module: virtops.balance.domain_migrate
  - module: virtops.balance.host_info
"""

EXAMPLES = r"""
- name: Observe the host
  virtops.balance.host_info:
  register: observed

- name: Finish what was left behind
  virtops.balance.domain_finish_move:
    domain: "{{ item.uuid }}"
    host: "{{ inventory_hostname }}"
  loop: "{{ observed.observation.domains | rejectattr('unfinished_move', 'none') }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
finished_move:
  description: The note that was found, V(null) if there was none.
  returned: success
  type: dict
  contains:
    source:
      description: The host from which the domain was to move.
      type: str
      sample: kvm1
    destination:
      description: The host to which it was to move.
      type: str
      sample: kvm3
    started_at:
      description: When the move began.
      type: str
      sample: "2026-01-31T12:00:00Z"
    cap:
      description: The cap of the domain before the move.
      type: float
      sample: 50
    autostart:
      description: Whether the domain had autostart on the source.
      type: bool
      sample: false
    destination_had:
      description:
        - A hash of the definition of the domain that the destination had before the move. V(none) if it had none.
        - V(null) if this cannot prove whether the domain ran there.
      type: str
      sample: none
stands_still:
  description: Whether the module failed because the domain was left paused.
  returned: when it is so
  type: bool
  sample: true
reason:
  description: Why nothing was done, although there is a note.
  returned: when it is so
  type: str
  sample: A migration of web-1 is under way.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._move import finish as finish_move


def main() -> None:
    module = AnsibleModule(
        argument_spec=_connection.argument_spec(
            domain={"type": "str", "required": True},
            host={"type": "str", "required": True},
        ),
        supports_check_mode=True,
    )
    api = _connection.require_libvirt(module)
    try:
        result = finish_move.finish_move(api, **module.params, check_mode=module.check_mode)
    except BalanceError as error:
        module.fail_json(**error.to_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
