#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_measure
short_description: Measure guests through the service in them, into a CSV file
version_added: 0.1.0
description:
  - Asks the service of the role P(virtops.balance.guest_services#role) in each guest for its utilisation, its virtual
    CPUs and the time that a fixed piece of work takes. Asks all guests at the same time, and appends one row for each
    guest to a CSV file.
  - Also measures how long each guest takes to answer, as seen from where the module runs.
  - The row of a guest that does not answer says why.
  - Meant to run on the control node, so that nobody has to log in to guests.
extends_documentation_fragment:
  - virtops.balance._attributes
  - virtops.balance._attributes.actiongroup_balance
author:
  - the virtops.balance authors (@virtops)
attributes:
  check_mode:
    support: full
    details:
      - In check mode one round is measured and nothing is written.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - Each run appends its measurements.
  platform:
    support: full
options:
  guests:
    description: The guests, one row each in every round.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name of the guest in the file.
        type: str
        required: true
      address:
        description: The address on which its service answers.
        type: str
        required: true
      port:
        description: The port on which its service answers.
        type: int
        default: 8880
  path:
    description: The path of the CSV file. It is created if it does not exist.
    type: path
    required: true
  rounds:
    description: How many rounds to measure.
    type: int
    default: 1
  interval:
    description:
      - Seconds from the start of one round to the start of the next. A round that takes longer delays the next.
    type: float
    default: 10.0
  requests:
    description: How many requests each guest gets in a round, one after the other, to measure its response time.
    type: int
    default: 20
  timeout:
    description: Seconds after which a request has failed.
    type: float
    default: 2.0
  parallel:
    description: How many guests are asked at the same time.
    type: int
    default: 50
seealso:
  - module: virtops.balance.host_info
"""

EXAMPLES = r"""
- name: Measure two guests every ten seconds for a minute
  virtops.balance.guest_measure:
    guests:
      - name: web-1
        address: 192.0.2.11
      - name: web-2
        address: 192.0.2.12
    path: /var/tmp/guests.csv
    rounds: 6
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
path:
  description: The path of the CSV file.
  returned: success
  type: str
  sample: /var/tmp/guests.csv
rows_written:
  description: How many rows were appended.
  returned: success
  type: int
  sample: 12
unanswered:
  description: The guests that did not answer all requests of the last round, with the reason.
  returned: success
  type: dict
  sample:
    web-2: no answer within 2 seconds
measures:
  description: The rows of the last round. A value that is not known is V(null).
  returned: success
  type: list
  elements: dict
  contains:
    time: {description: When the guest was asked., type: str, sample: "2026-01-31T12:00:00.123Z"}
    guest: {description: Name of the guest., type: str, sample: web-1}
    address: {description: The address and port that were asked., type: str, sample: "192.0.2.11:8880"}
    usage: {description: Fraction of the time in which the virtual CPUs were busy., type: float, sample: 0.41}
    iowait: {description: Fraction in which they were idle and waited for a disk., type: float, sample: 0.01}
    steal: {description: Fraction in which they waited for a physical CPU., type: float, sample: 0.05}
    vcpus: {description: Number of virtual CPUs., type: int, sample: 2}
    vcpu_usage_max: {description: Usage of the busiest virtual CPU., type: float, sample: 0.6}
    vcpu_steal_max: {description: Steal of the virtual CPU that waited most., type: float, sample: 0.1}
    memory_total_mib: {description: Memory of the guest., type: int, sample: 2048}
    memory_available_mib: {description: Memory that can still be used., type: int, sample: 1200}
    work_p50_seconds: {description: Median of the time for a fixed piece of work., type: float, sample: 0.002}
    work_p90_seconds: {description: Its 90th percentile., type: float, sample: 0.003}
    work_p99_seconds: {description: Its 99th percentile., type: float, sample: 0.01}
    work_max_seconds: {description: Its maximum., type: float, sample: 0.012}
    requests: {description: Number of requests from which the response time is calculated., type: int, sample: 20}
    requests_failed: {description: How many of them got no answer., type: int, sample: 0}
    response_p50_seconds: {description: Median of how long the guest took to answer., type: float, sample: 0.0015}
    response_p90_seconds: {description: Its 90th percentile., type: float, sample: 0.002}
    response_p99_seconds: {description: Its 99th percentile., type: float, sample: 0.004}
    response_max_seconds: {description: Its maximum., type: float, sample: 0.004}
    problem: {description: Why the guest did not answer., type: str, sample: null}
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils import _guest_measure
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "guests": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "port": {"type": "int", "default": 8880},
                },
            },
            "path": {"type": "path", "required": True},
            "rounds": {"type": "int", "default": 1},
            "interval": {"type": "float", "default": 10.0},
            "requests": {"type": "int", "default": 20},
            "timeout": {"type": "float", "default": 2.0},
            "parallel": {"type": "int", "default": 50},
        },
        supports_check_mode=True,
    )
    options = module.params
    guests = [_guest_measure.Guest(**guest) for guest in options["guests"]]
    rounds = 1 if module.check_mode else options["rounds"]
    rows: list[_guest_measure.Row] = []
    due = time.monotonic()
    try:
        _guest_measure.check_options(options)
        for _round in range(rounds):
            time.sleep(max(0.0, due - time.monotonic()))
            due = max(due, time.monotonic()) + options["interval"]
            rows = _guest_measure.measure(
                guests, requests=options["requests"], timeout=options["timeout"], parallel=options["parallel"]
            )
            if not module.check_mode:
                _guest_measure.append(options["path"], rows)
    except BalanceError as error:
        module.fail_json(**error.to_result())
    module.exit_json(
        changed=bool(rows),
        path=options["path"],
        rows_written=0 if module.check_mode else rounds * len(guests),
        unanswered={row["guest"]: row["problem"] for row in rows if row["problem"]},
        measures=rows,
    )


if __name__ == "__main__":
    main()
