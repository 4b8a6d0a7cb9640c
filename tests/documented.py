# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The options of modules as ansible-doc shows them: their own, and those that fragments give them."""

from __future__ import annotations

import functools
import json
import typing as t
from pathlib import Path

from ansible_collections.virtops.balance.tests.run_ansible import start_ansible

ROOT = Path(__file__).resolve().parents[1]
MODULES = tuple(sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")))
Options = dict[str, dict[str, t.Any]]


@functools.cache
def options() -> dict[str, Options]:
    """The options of all modules, by the name of the module."""
    names = {f"virtops.balance.{module}": module for module in MODULES}
    done = start_ansible("ansible-doc", "--type", "module", "--json", *names)
    found = json.loads(done.stdout)
    assert found.keys() == names.keys(), done.stderr
    return {names[name]: entry["doc"]["options"] for name, entry in found.items()}
