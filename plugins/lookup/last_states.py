# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup last_states: where the files of a run go -> the states that hosts had in the run before it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: last_states
author: the virtops.balance authors (@virtops)
version_added: 0.1.0
short_description: Find the states that hosts had in the last run
description:
  - Reads the newest snapshot (C(snapshot.json) or C(snapshot_after.json)) that a run of this user has saved in the
    given directory or in one beside it.
options:
  _terms:
    description:
      - The directory for the files of this run, C(balance_run_dir) of the role P(virtops.balance.balance#role). It need
        not exist.
    type: list
    elements: path
    required: true
"""

EXAMPLES = r"""
- name: Find the states of the last run
  ansible.builtin.set_fact:
    balance_last_states: "{{ query('virtops.balance.last_states', balance_run_dir) | first }}"
"""

RETURN = r"""
_raw:
  description: For each directory the states, by the name of the host. Empty where there is no such snapshot.
  type: list
  elements: dict
  sample: [{kvm1: active, kvm2: drained, kvm3: unknown}]
"""

import contextlib
import json
import os
import pathlib
import typing as t

from ansible.plugins.lookup import LookupBase

_NAMES = ("snapshot.json", "snapshot_after.json")


class LookupModule(LookupBase):
    """The lookup."""

    def run(self, terms: list[str], variables: t.Any = None, **kwargs: t.Any) -> list[dict[str, str]]:
        """Return the states of hosts in the run before."""
        return [last_states(pathlib.Path(os.path.expanduser(str(term)))) for term in terms]


def last_states(directory: pathlib.Path) -> dict[str, str]:
    """The states in the newest snapshot beside the directory or in it that can be read."""
    found = []
    for path in (place / name for place in directory.parent.glob("*") for name in _NAMES):
        with contextlib.suppress(OSError):
            known = path.stat()
            if known.st_uid == os.getuid():
                found.append((known.st_mtime_ns, path))
    for _time, path in sorted(found, reverse=True):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            hosts = json.loads(path.read_text(encoding="utf-8"))["hosts"]
            return {str(name): str(host["state"]) for name, host in hosts.items()}
    return {}
