# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What the variables of the role balance make of a plan."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.virtops.balance.plugins.plugin_utils._run import agreement

VARIABLES = pathlib.Path(__file__).resolve().parents[3] / "roles" / "balance" / "vars" / "main.yml"


def value_of(name: str, **variables: t.Any) -> t.Any:
    loader = DataLoader()
    known = loader.load_from_file(str(VARIABLES), trusted_as_template=True)
    return Templar(loader, {**known, "balance_lease_seconds": 300, **variables}).template(known[name])


@pytest.mark.parametrize(
    ("facts", "address"),
    [
        ({}, "kvm2"),
        ({"ansible_host": "192.0.2.7"}, "192.0.2.7"),
        ({"ansible_host": "2001:db8::7"}, "[2001:db8::7]"),
    ],
)
def test_a_destination_is_reached_by_the_address_that_ansible_has(facts: dict[str, str], address: str) -> None:
    found = value_of(
        "__balance_default_migration_uri", move={"source": "kvm1", "destination": "kvm2"}, hostvars={"kvm2": facts}
    )
    assert found == f"qemu+ssh://root@{address}/system?no_tty=1"
    # It is asked there as well, before the move.
    assert agreement.migration_uri("kvm2", facts) == found


def test_a_uri_of_the_inventory_counts() -> None:
    assert (
        agreement.migration_uri("kvm2", {"balance_migration_uri": "qemu+tls://kvm2/system"}) == "qemu+tls://kvm2/system"
    )
