#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: prometheus_history_info
short_description: Read the history of hosts and domains from a Prometheus server
version_added: 0.1.0
description:
  - Returns the CPU use of hosts and of their domains from a Prometheus server, in the form in which
    M(virtops.balance.host_info) returns the history of a host's agent.
  - It asks the HTTP API of the server, two range queries for all hosts together, so run it where the server can
    be reached, usually with C(delegate_to=localhost) and C(run_once=true).
  - A value that the server does not have is V(null). A host without any value is returned with the reason.
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
  url:
    description: URL of the server, with the prefix of its paths if it has one.
    type: str
    required: true
  hosts:
    description:
      - For each inventory host the names under which the server may know it, for example its address.
        The inventory's own name always counts. Ports of exporters and capitals do not matter.
    type: dict
    required: true
  history:
    description: How many minutes of history to return.
    type: int
    default: 60
  history_step:
    description: Length of a step in seconds.
    type: int
    default: 60
  window_seconds:
    description:
      - The time over which a rate is measured, C($window) in the queries. It must be at least twice the interval at
        which the server scrapes, or there is no rate.
      - If not set, it is O(history_step).
    type: int
  host_cpu_query:
    description:
      - PromQL for the fraction of a host's CPUs that is busy, one series for each value of O(instance_label).
      - The default is for the node exporter. If empty, this is not asked.
    type: str
    default: >-
      1 - avg by (instance) (sum by (instance, cpu) (rate(node_cpu_seconds_total{mode=~"idle|iowait"}[$window])))
  domain_cpu_query:
    description:
      - PromQL for the CPU of a domain in cores, one series for each pair of O(instance_label) and O(uuid_label).
      - The default is for C(prometheus-libvirt-exporter). If empty, this is not asked.
    type: str
    default: sum by (instance, uuid) (rate(libvirt_domain_info_cpu_time_seconds_total[$window]))
  domain_ready_query:
    description:
      - PromQL for the share of the time wanted by the virtual CPUs of a domain that they waited for a physical one,
        for exporters that have it. The common one does not.
    type: str
    default: ""
  instance_label:
    description: The label with the name of the host.
    type: str
    default: instance
  uuid_label:
    description: The label with the UUID of the domain.
    type: str
    default: uuid
  timeout:
    description: Seconds that each query may take.
    type: float
    default: 30
  url_username:
    description: User for HTTP basic authentication.
    type: str
  url_password:
    description: Password for HTTP basic authentication.
    type: str
  token:
    description: Bearer token, instead of user and password.
    type: str
  validate_certs:
    description: Whether the server's certificate must be valid.
    type: bool
    default: true
  ca_path:
    description: File with the certificates of authorities to trust.
    type: path
  as_json:
    description: Whether RV(histories) is returned as JSON text, which Ansible handles faster with hundreds of hosts.
    type: bool
    default: false
seealso:
  - plugin: virtops.balance.snapshot
    plugin_type: filter
  - module: virtops.balance.host_info
"""

EXAMPLES = r"""
- name: Read the last two hours of all hosts
  virtops.balance.prometheus_history_info:
    url: https://prometheus.example.org
    history: 120
    hosts:
      kvm1: [10.0.0.11]
      kvm2: [10.0.0.12]
  delegate_to: localhost
  run_once: true
  register: remembered

- name: Read from an exporter with other names, scraped every minute
  virtops.balance.prometheus_history_info:
    url: https://prometheus.example.org
    hosts: {kvm1: [10.0.0.11], kvm2: [10.0.0.12]}
    window_seconds: 120
    domain_cpu_query: sum by (node, vm_uuid) (rate(vm_cpu_seconds_total{cluster="a"}[$window]))
    host_cpu_query: 1 - avg by (node) (rate(node_cpu_seconds_total{mode="idle"}[$window]))
    instance_label: node
    uuid_label: vm_uuid
  delegate_to: localhost
  run_once: true
  register: remembered
"""

RETURN = r"""
histories:
  description: The histories, by inventory host. JSON text with O(as_json=true).
  returned: success
  type: dict
  contains:
    history:
      description: The history of the host, oldest first, in equal steps. V(null) if the server has none.
      type: dict
      sample: {step_seconds: 60, ends_at: "2026-01-31T12:00:00Z", cpu: [0.41, null, 0.44]}
    history_problem:
      description: Why there is no history of the host. V(null) if there is one.
      type: str
      sample: null
    domains:
      description: The histories of the domains that were on the host, by UUID.
      type: dict
      sample: {}
"""

import json
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._history import prometheus


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "hosts": {"type": "dict", "required": True},
            "history": {"type": "int", "default": 60},
            "history_step": {"type": "int", "default": 60},
            "window_seconds": {"type": "int"},
            "host_cpu_query": {"type": "str", "default": prometheus.HOST_CPU},
            "domain_cpu_query": {"type": "str", "default": prometheus.DOMAIN_CPU},
            "domain_ready_query": {"type": "str", "default": ""},
            "instance_label": {"type": "str", "default": "instance"},
            "uuid_label": {"type": "str", "default": "uuid"},
            "timeout": {"type": "float", "default": 30},
            "url_username": {"type": "str"},
            "url_password": {"type": "str", "no_log": True},
            "token": {"type": "str", "no_log": True},
            "validate_certs": {"type": "bool", "default": True},
            "ca_path": {"type": "path"},
            "as_json": {"type": "bool", "default": False},
        },
        mutually_exclusive=[("token", "url_username")],
        required_together=[("url_username", "url_password")],
        supports_check_mode=True,
    )
    given = module.params
    try:
        histories = prometheus.read(given, now=time.time())
    except BalanceError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=False, histories=json.dumps(histories) if given["as_json"] else histories)


if __name__ == "__main__":
    main()
