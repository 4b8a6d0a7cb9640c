# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What ../traces.py is made of: loads, the reference policy, targets and the table. Nothing here imports Ansible."""

from __future__ import annotations
