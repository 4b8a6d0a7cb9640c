# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the options of every module that talks to libvirt."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  uri:
    description:
      - The libvirt connection URI of the hypervisor, as seen from the host on which the module runs.
      - For an V(ssh) transport V(no_tty=1) is added where the URI does not say otherwise, because a prompt for a
        password would wait for ever.
      - If not set, the environment variable E(LIBVIRT_DEFAULT_URI) of that host counts, where it is set.
    type: str
    default: qemu:///system
requirements:
  - libvirt-python (the distribution's package python3-libvirt, on SUSE python3-libvirt-python)
notes:
  - Where the Python interpreter that Ansible chose has no libvirt-python, the module runs itself again with the
    system's interpreter, for which the distribution packages it.
seealso:
  - name: Connection URIs of libvirt
    description: How a URI is written, and the parameters of its transports.
    link: https://libvirt.org/uri.html
"""
