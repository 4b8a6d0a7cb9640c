#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backtest
short_description: Replay a recorded history under one or several policies
version_added: 0.1.0
description:
  - Answers what a policy would have done. The load that hosts and domains had is replayed through the planner of the
    playbooks, run after run, with wake, moves and the time that they take, hold, cooldown and sleep.
  - The results stand beside what really happened. They are saved as C(backtest.html), C(backtest.csv) and
    C(backtest.json) in O(directory), readable for nobody else.
  - Each policy has a process of its own. A backtest that was killed goes on where it ended if recording, policy and
    settings are the same.
  - No host is asked or touched, but for the server where O(source=prometheus). It works on the control node. The files
    explain and are no part of what a run changes, so check mode has them too.
  - Used by the playbook C(virtops.balance.backtest).
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
  source:
    description:
      - What was recorded. What kind it is, is seen from the files.
      - A directory with the saved runs of C(rebalance), or one saved C(snapshot.json) with histories.
      - A directory with stores of hosts, each with the name C(HOST.sqlite), or one such file.
      - A CSV file with the columns C(time,host,domain,cores,ready,memory_mib).
      - V(prometheus), see O(prometheus).
      - If not set, it is the directory in which runs are saved, C(~/.local/state/virtops.balance).
    type: str
  hosts:
    description:
      - A CSV file with the columns C(host,threads,memory_mib), and if you like C(speed,idle_watts,max_watts).
      - It is needed where no snapshot tells how large hosts are.
    type: str
  snapshot:
    description:
      - A saved C(snapshot.json) with what hosts and domains are like, so that rules hold in the replay too.
      - If not set, it is the last one of the saved runs that has all the hosts. Without any, hosts are taken to suit
        every domain, and the report says so.
    type: str
  minutes:
    description:
      - Only so many minutes before the end are replayed. Prometheus is asked for a day if not set.
    type: float
  step:
    description:
      - Seconds between two times of the replay, each with a run. If not set, as far as the samples are apart, and at
        least 300.
    type: float
  policy:
    description:
      - The policy that is tried where O(policies) is not set, and that O(changes) are about.
      - If not set, it is C(balance_policy) of the first recorded host that has one in the inventory.
    type: raw
  policies:
    description: Whole policies by name. The names are yours.
    type: raw
  changes:
    description: By name, the keys in which a policy differs from O(policy), which is then tried too.
    type: raw
  settings:
    description:
      - How it is replayed. C(every) is at every how many steps there is a run (1), C(history_minutes) how far back runs
        look (120), C(bandwidth_mib_s) how fast memory is copied (as the policy says), C(wake_seconds) how long a host
        takes to wake (60), C(held) whether what domains want stays as it is until the next time, where it otherwise
        changes evenly towards it (false).
    type: raw
  processes:
    description: How many policies are replayed at once. If not set, one for each CPU.
    type: int
  suggest:
    description:
      - Whether a grid of changes of the policy is tried, by threshold, hold, demand and cooldown, to see what
        fewer moves would cost. No policy is written.
    type: bool
    default: false
  directory:
    description: Where the results go. It is made where it is missing.
    type: str
    required: true
  prometheus:
    description:
      - Options of M(virtops.balance.prometheus_history_info), for O(source=prometheus). O(snapshot) is needed then.
    type: dict
seealso:
  - plugin: virtops.balance.backtest
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Compare two policies over the saved runs
  virtops.balance.backtest:
    policy: {}
    changes:
      calm: {threshold: 0.3, hold: 3}
    directory: ~/backtest
  register: tried

- name: Show the table
  virtops.balance.show:
    text: "{{ tried.table }}"
"""

RETURN = r"""
table:
  description: What each policy would have done, as text for a terminal.
  returned: success
  type: str
  sample: "BACKTEST of 3 hosts, 24 domains, 2026-01-30 12:00 to 2026-01-31 11:55 UTC, a run every 5 minutes"
figures:
  description: The same as data, see P(virtops.balance.backtest#filter), without the load of each host and the moves.
  returned: success
  type: list
  elements: dict
  sample: [{"policy": "calm", "moves": 12, "unserved": 0.0004}]
files:
  description: The paths of what was saved, by name.
  returned: success
  type: dict
  sample: {"backtest.html": "/home/admin/backtest/backtest.html"}
"""
