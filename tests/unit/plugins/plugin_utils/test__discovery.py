# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Files that register by name are found by their names, and imported only where they are needed."""

from __future__ import annotations

import subprocess
import sys

from ansible_collections.virtops.balance.plugins.plugin_utils._discovery import names
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.registry import placements

READ_A_POLICY = """
import sys
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
Policy.from_mapping({"strategy": "optimal"})
print(*(name.split(".plugin_utils.")[1] for name in sys.modules if ".plugin_utils." in name))
"""


def test_a_strategy_has_the_name_of_its_file() -> None:
    assert tuple(placements()) == names("_placement.strategies")


def test_a_policy_is_read_without_the_planner() -> None:
    program = f"import sys; sys.path[:] = {sys.path!r}\n{READ_A_POLICY}"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    rooms = {name.split(".")[0] for name in done.stdout.split()}
    assert "_policy" in rooms
    assert not rooms & {"_fleet", "_plan", "_rules", "_snapshot"}
    assert not any(name.startswith("_placement.strategies.") for name in done.stdout.split())
