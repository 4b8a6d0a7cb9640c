#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_mark
short_description: Record drain, sleep and other marks of a host, on the host
version_added: 0.1.0
description:
  - Stores what the next run has to know in C(/var/lib/virtops.balance/marks.json) on the host, so that it does not
    matter which control node makes the next run. M(virtops.balance.host_info) returns it as
    RV(virtops.balance.host_info#module:observation.host.marks).
  - Marks that are not given stay as they are, those of newer versions of the collection too.
  - Fails, and writes nothing, if the file cannot be read, is damaged, or was written by a newer version of the
    collection. Repair the file, or remove it and then drain the host again if it was drained.
extends_documentation_fragment:
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
  uneven_rounds:
    description: In how many runs in a row the fleet was found uneven without being levelled (C(hold) of the policy).
    type: int
  idle_rounds:
    description: In how many runs in a row the host was found without a domain (C(idle_rounds) of the policy).
    type: int
  detection:
    description: The state of the detector after the last run. An empty dictionary removes it.
    type: dict
  asleep:
    description: All other hosts that runs have put to sleep and that are not awake again, by name.
    type: dict
  inside:
    description: When something cheaper than a migration was last done inside the host, by the name of the action.
    type: dict
  refusals:
    description:
      - The moves away from the host that failed, the newest first. They take the place of all that were remembered; an
        empty list forgets them.
      - M(virtops.balance.domain_migrate) and M(virtops.balance.domain_restart) keep the list with their option
        C(remember). They drop what is older than two days, and all but the newest 200.
    type: list
    elements: dict
    suboptions:
      domain:
        description: The UUID of the domain.
        type: str
        required: true
      destination:
        description: The name of the host to which it was to move.
        type: str
        required: true
      reason:
        description: Why the last try failed.
        type: str
        required: true
      at:
        description: When the last try failed, as an RFC 3339 time in UTC.
        type: str
        required: true
      times:
        description: How often it failed, at least 1.
        type: int
        required: true
  drained:
    description:
      - Whether the host is drained. All domains leave a drained host, and none comes to it, in every later plan.
      - For a host that is drained already, the time and the reason stay as they are.
    type: bool
  drained_for:
    description:
      - With O(drained=true), the reason.
      - With O(drained=false), undrain the host only if it was drained for this reason. If not set, undrain it in any
        case.
    type: str
  maintained:
    description: The name of the maintenance that was last done on the host. An empty name removes the mark.
    type: str
notes:
  - Runs as C(root), or as another user who may write to that directory.
seealso:
  - module: virtops.balance.host_info
  - plugin: virtops.balance.plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Count one more run that found the fleet uneven
  virtops.balance.host_mark:
    uneven_rounds: "{{ balance_plan.uneven_rounds }}"

- name: Record which other host is asleep
  virtops.balance.host_mark:
    asleep:
      kvm3:
        since: "2026-01-31T12:00:00Z"
        threads: 32
        memory_total_mib: 128000

- name: Forget which moves failed, because the cause is removed
  virtops.balance.host_mark:
    refusals: []

- name: Let all domains leave the host from now on
  virtops.balance.host_mark:
    drained: true
    drained_for: a new power supply
"""

RETURN = r"""
marks:
  description: What the host stores now.
  returned: success
  type: dict
  contains:
    uneven_rounds:
      description: In how many runs in a row the fleet was found uneven without being levelled.
      type: int
      sample: 2
    idle_rounds:
      description: In how many runs in a row the host was found without a domain.
      type: int
      sample: 0
    detection:
      description: The state of the detector after the last run.
      type: dict
      sample: null
    asleep:
      description: Other hosts that runs have put to sleep.
      type: dict
      sample: {}
    inside:
      description: When something cheaper than a migration was last done inside the host.
      type: dict
      sample: {vcpu: "2026-01-31T12:00:00Z"}
    refusals:
      description: The moves away from the host that failed, the newest first.
      type: list
      elements: dict
      sample:
        - domain: 6ba7b810-9dad-41d1-80b4-00c04fd430c8
          destination: kvm3
          reason: "kvm3 has no bridge br7"
          at: "2026-01-31T12:00:00Z"
          times: 1
    drained:
      description: Since when and why the host is drained. V(null) if it is not drained.
      type: dict
      sample: {since: "2026-01-31T12:00:00Z", purpose: a new power supply}
    maintained:
      description: The name of the maintenance that was last done on the host.
      type: str
      sample: null
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils._domain import move_note
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._host import marks as host_marks
from ansible_collections.virtops.balance.plugins.module_utils._host.refusals import is_refusal
from ansible_collections.virtops.balance.plugins.module_utils._option_checks import check_number


def main() -> None:
    counters = ("uneven_rounds", "idle_rounds")
    texts = ("domain", "destination", "reason", "at")
    module = AnsibleModule(
        argument_spec={
            **{name: {"type": "int"} for name in counters},
            "detection": {"type": "dict"},
            "asleep": {"type": "dict"},
            "inside": {"type": "dict"},
            "refusals": {
                "type": "list",
                "elements": "dict",
                "options": {
                    **{name: {"type": "str", "required": True} for name in texts},
                    "times": {"type": "int", "required": True},
                },
            },
            "drained": {"type": "bool"},
            "drained_for": {"type": "str"},
            "maintained": {"type": "str"},
        },
        required_one_of=[(*counters, "detection", "asleep", "inside", "refusals", "drained", "maintained")],
        required_by={"drained_for": "drained"},
        supports_check_mode=True,
    )
    given = {name: value for name, value in module.params.items() if value is not None}
    drained, purpose = given.pop("drained", None), given.pop("drained_for", None)
    try:
        before = host_marks.read()
        after = {**before, **given, "drained": _drained(before["drained"], drained, purpose)}
        for name in ("detection", "maintained"):
            after[name] = after[name] or None
        for name in counters:
            check_number(name, after[name], 0, 1_000_000)
        for one in after["refusals"]:
            if not is_refusal(one):
                raise BalanceError(
                    f"refusals has {one}, where at must be a time such as 2026-01-31T12:00:00Z, and times at least 1."
                )
        if before != after and not module.check_mode:
            host_marks.write(after)
    except BalanceError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=before != after, marks=after, diff={"before": before, "after": after})


def _drained(before: dict[str, str] | None, wanted: bool | None, purpose: str | None) -> dict[str, str] | None:
    """Return the new mark of a drained host."""
    if wanted is None or (wanted and before is not None):
        return before
    if wanted:
        return {"since": move_note.utc_now(), "purpose": purpose or ""}
    return before if before is not None and purpose is not None and before["purpose"] != purpose else None


if __name__ == "__main__":
    main()
