# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what the modules say about check mode, diff mode and so on."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return what it would change without changing it.
  diff_mode:
    description: Shows what it changed, or in check mode would change, when run with C(--diff).
  idempotent:
    description: A second run with the same options changes nothing.
  platform:
    description: Where the module can run.
    platforms: posix
"""

    # A module that only looks.
    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - The module only reads, so it does the same in check mode.
  diff_mode:
    support: N/A
    details:
      - The module only reads, so there is nothing to show.
  idempotent:
    support: full
    details:
      - The module never changes anything.
"""

    ACTIONGROUP_BALANCE = r"""
options: {}
attributes:
  action_group:
    description:
      - All modules of the collection take the options that C(module_defaults) sets for
        C(group/virtops.balance.balance).
    support: full
    membership:
      - virtops.balance.balance
"""
