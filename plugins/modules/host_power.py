#!/usr/bin/python
# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_power
short_description: Put a host to sleep, and wake it
version_added: 0.1.0
description:
  - Puts an idle host to sleep, wakes a host that is needed, and reports whether a host is asleep.
  - A host is put to sleep only if no domain is active on it (a domain that is arriving by a migration counts), and if
    no other run has the lease of the host. Both are checked on the host itself immediately before. From then on the
    host is leased for three minutes, so that no other run of this collection acts on it.
  - Whether a host is asleep is known from its BMC if there is one, else from C(control.command.status), else from its
    silence. RV(power.seen_by) names the source. A host counts as awake when its libvirt answers.
  - Use the module in a task for the host itself. Requests to the BMC are sent from the control node, as the user who
    runs the play. The credentials of a BMC are never sent to the host.
extends_documentation_fragment:
  - virtops.balance._connection
  - virtops.balance._attributes
  - virtops.balance._attributes.actiongroup_balance
author:
  - the virtops.balance authors (@virtops)
attributes:
  check_mode:
    support: full
    details:
      - The module fails in check mode too if the host must not be put to sleep.
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - Without a BMC and without C(control.command.status) a host that is already asleep cannot be told from one that
        is broken, and O(state=asleep) fails and says so.
  platform:
    support: full
options:
  state:
    description:
      - V(asleep) puts the host to sleep, or leaves it when the BMC says that it is off.
      - V(awake) wakes it and waits until its libvirt answers. If the host is on but does not answer, it only waits.
      - V(query) only looks.
    type: str
    choices: [awake, asleep, query]
    required: true
  control:
    description:
      - How the host is put to sleep and woken. Set this in the inventory for each host.
      - The first of O(control.redfish), O(control.ipmi) and O(control.command.status) that is set is asked whether the
        host is on, even if other methods put it to sleep and wake it.
    type: dict
    required: true
    suboptions:
      sleep:
        description:
          - How it is put to sleep.
          - V(poweroff) and V(suspend) are done by the host itself through systemd.
          - V(ipmi) and V(redfish) ask for a shutdown like the power button, which the host's system has to obey.
          - A suspended host is recognised only by its silence, because some BMCs report it as on and others as off.
        type: str
        choices: [poweroff, suspend, ipmi, redfish, command]
        default: poweroff
      wake:
        description: How it is woken.
        type: str
        choices: [wake_on_lan, ipmi, redfish, command]
        required: true
      hard:
        description:
          - Have the BMC cut the power instead of asking for a shutdown.
          - The file systems of the host are not unmounted then. Use this for hosts that do not obey the power button.
        type: bool
        default: false
      wake_after_seconds:
        description:
          - Set the alarm of the host's clock (C(rtcwake)), so that it wakes by itself after this time if nobody woke it
            before.
        type: int
      ipmi:
        description: A BMC that speaks IPMI. Needs C(ipmitool) on the control node.
        type: dict
        suboptions:
          address:
            description: Name or address of the BMC.
            type: str
            required: true
          port:
            description: Its UDP port.
            type: int
            default: 623
          user:
            description: The user.
            type: str
          password:
            description: The password. It is handed to C(ipmitool) in its environment.
            type: str
          interface:
            description: The interface of C(ipmitool).
            type: str
            default: lanplus
          cipher_suite:
            description: The cipher suite. If not set, C(ipmitool) decides.
            type: int
      redfish:
        description: A BMC that speaks Redfish.
        type: dict
        suboptions:
          url:
            description: The URL of the BMC, such as V(https://bmc1.example.org).
            type: str
            required: true
          system:
            description: The Id of the system. Needed if the BMC has more than one.
            type: str
          user:
            description: The user.
            type: str
          password:
            description: The password, for HTTP Basic authentication.
            type: str
          validate_certs:
            description: Whether the certificate has to be valid.
            type: bool
            default: true
          ca_path:
            description: File with the trusted certificates, if not those of the system.
            type: path
      wake_on_lan:
        description: A network card that listens for magic packets. They are sent again while the host does not answer.
        type: dict
        suboptions:
          mac:
            description: Its Ethernet address.
            type: str
            required: true
          address:
            description: Where to send the packet, usually the broadcast address of the host's network.
            type: str
            default: 255.255.255.255
          port:
            description: The UDP port.
            type: int
            default: 9
      command:
        description:
          - Programs on the control node, for all other ways. Each is a list, the program and its arguments, and runs
            without a shell.
        type: dict
        suboptions:
          sleep:
            description: Puts the host to sleep.
            type: list
            elements: str
          wake:
            description: Wakes it.
            type: list
            elements: str
          status:
            description: Finds out whether the host is on. The last word of its output has to be V(on) or V(off).
            type: list
            elements: str
          timeout_seconds:
            description: How long each of them may take.
            type: float
            default: 120
  lease_owner:
    description:
      - The owner of the lease of the host, who may put it to sleep although it is leased, see
        M(virtops.balance.host_lease).
      - The lease then ends after three minutes, because a host that sleeps cannot give it back.
    type: str
  timeout_seconds:
    description: How long to wait until the host sleeps or answers.
    type: float
    default: 600
notes:
  - Wake on LAN and silence prove nothing. With them alone, a host that was put to sleep cannot be told from one that
    has broken since, so prefer a BMC if there is one.
  - Wake on LAN has to be enabled in the firmware and the network card of the host, and the magic packet has to reach
    its network. The module cannot check this beforehand.
seealso:
  - module: virtops.balance.host_lease
  - module: virtops.balance.host_info
"""

EXAMPLES = r"""
- name: Put the host to sleep through systemd, and see by its BMC that it is off
  virtops.balance.host_power:
    state: asleep
    control:
      sleep: poweroff
      wake: redfish
      redfish:
        url: https://bmc3.example.org
        user: operator
        password: "{{ vault_bmc_password }}"

- name: Wake the host as the inventory says
  virtops.balance.host_power:
    state: awake
    control: "{{ balance_power_control }}"

- name: Suspend the host for at most twelve hours
  virtops.balance.host_power:
    state: asleep
    control:
      sleep: suspend
      wake: wake_on_lan
      wake_after_seconds: 43200
      wake_on_lan:
        mac: "52:54:00:12:34:56"
        address: 10.20.0.255

- name: Switch the socket of a power strip
  virtops.balance.host_power:
    state: asleep
    control:
      sleep: poweroff
      wake: command
      command:
        wake: [powerstrip, --socket, "4", "on"]
"""

RETURN = r"""
power:
  description: The state of the host now, in check mode the state that it would have.
  returned: success
  type: dict
  contains:
    state:
      description:
        - V(awake), V(asleep), or V(unknown). With O(state=query) it is V(unknown) if libvirt does not answer and no
          source in RV(power.seen_by) says that the host is off.
      type: str
      sample: asleep
    seen_by:
      description:
        - The source of the state, one of V(libvirt), V(bmc), V(command) and V(silence). V(null) if there is none,
          and in check mode for an action that was not done.
        - With RV(power.state=unknown) it is the source that says that the host is on, although it does not answer.
      type: str
      sample: bmc
    problem:
      description: Why the state is not known, in one or two sentences.
      type: str
      sample: null
seconds:
  description: How many seconds it took.
  returned: success
  type: float
  sample: 41.3
libvirt_error:
  description: The error of libvirt, if it caused the failure.
  returned: failure
  type: dict
  sample: {code: 38, name: SYSTEM_ERROR, domain: 7}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtops.balance.plugins.module_utils._connection import require_libvirt
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._host import power


def main() -> None:
    # This is the part that runs on the host; the action plugin does the rest, waking above all.
    module = AnsibleModule(argument_spec=power.argument_spec(), supports_check_mode=True)
    uri: str = module.params["uri"]
    control = module.params["control"]
    api = require_libvirt(module)
    try:
        power.check_options(module.params)
        if module.params["state"] == "asleep":
            power.go_to_sleep(
                api,
                uri,
                method=control["sleep"],
                wake_after_seconds=control["wake_after_seconds"],
                lease_owner=module.params["lease_owner"],
                check_mode=module.check_mode,
            )
        elif module.params["state"] == "awake" and not module.check_mode:
            power.wake_up(api, uri)
        else:
            power.answer(api, uri)
    except BalanceError as error:
        module.fail_json(**error.to_result())
    module.exit_json(changed=module.params["state"] == "asleep")


if __name__ == "__main__":
    main()
