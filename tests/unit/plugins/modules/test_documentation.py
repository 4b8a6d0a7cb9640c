# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What fragments document is what modules take, and what nonsense is tried with."""

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._move import destination_options
from ansible_collections.virtops.balance.tests.documented import MODULES, options
from ansible_collections.virtops.balance.tests.lab.fuzz_modules import cases


@pytest.mark.parametrize("module", ["domain_migrate", "domain_restart"])
def test_options_about_the_destination_are_documented_as_they_are_taken(module: str) -> None:
    documented = options()[module]
    for name, argument in destination_options.ARGUMENTS.items():
        shown = {key: documented[name].get(key) for key in ("type", "elements", "default", "choices")}
        assert shown == {key: argument.get(key) for key in shown}, name
    mounts = documented["destination_mounts"]["suboptions"]
    assert mounts.keys() == destination_options.MOUNT_OPTIONS.keys()


@pytest.mark.parametrize("module", MODULES)
def test_nonsense_is_tried_with_the_options_of_fragments_too(module: str) -> None:
    documented = options()[module]
    assert {name for name, _value in cases(documented)} == set(documented)


def test_options_come_from_fragments_too() -> None:
    assert {"uri", "destination_mounts", "memory_overcommit", "shared_paths"} <= options()["domain_restart"].keys()
    assert {"uri", "accept_blockers", "memory_reserve_mib"} <= options()["domain_migrate_info"].keys()
