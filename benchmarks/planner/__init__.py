# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What ../planner.py is made of: fleets, engines, judges and the table. Nothing here imports Ansible."""

from __future__ import annotations
