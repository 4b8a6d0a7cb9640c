# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What the variables of the role balance make of a plan: who dropped out of it, and for how long hosts are leased."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

VARIABLES = pathlib.Path(__file__).resolve().parents[3] / "roles" / "balance" / "vars" / "main.yml"
WAVES: list[dict[str, t.Any]] = [
    {"number": 1, "seconds": 4.2, "moves": [{"source": "kvm1", "destination": "kvm2"}]},
    {"number": 2, "seconds": 400.0, "moves": [{"source": "kvm3", "destination": "kvm1"}]},
]


def value_of(name: str, **variables: t.Any) -> t.Any:
    loader = DataLoader()
    known = loader.load_from_file(str(VARIABLES), trusted_as_template=True)
    return Templar(loader, {**known, "balance_lease_seconds": 300, **variables}).template(known[name])


@pytest.mark.parametrize(
    ("left", "steps", "dropped"),
    [
        (["kvm1", "kvm2", "kvm3", "kvm4"], None, []),
        (["kvm1", "kvm2", "kvm3"], None, []),
        (["kvm2", "kvm3", "kvm4"], None, ["kvm1"]),
        (["kvm1", "kvm3", "kvm4"], None, ["kvm2"]),
        (["kvm1", "kvm2", "kvm3"], [{"host": "kvm4"}], ["kvm4"]),
    ],
)
def test_no_wave_starts_without_a_host_that_has_a_part_in_the_plan(
    left: list[str], steps: list[dict[str, str]] | None, dropped: list[str]
) -> None:
    plan = {"waves": WAVES} if steps is None else {"waves": WAVES, "steps": steps}
    everybody = ["kvm1", "kvm2", "kvm3", "kvm4"]
    found = value_of("__balance_dropped", balance_plan=plan, ansible_play_hosts_all=everybody, ansible_play_hosts=left)
    assert found == dropped


@pytest.mark.parametrize(
    ("wave", "ago", "due", "seconds"),
    [
        (None, 50, False, 300),
        (None, 101, True, 300),
        (WAVES[0], 50, False, 308.4),
        (WAVES[1], 0, True, 1100),
        ({"number": 1, "seconds": None}, 50, False, 300),
    ],
)
def test_hosts_stay_leased_for_longer_than_a_wave_takes(
    wave: dict[str, t.Any] | None, ago: float, due: bool, seconds: float
) -> None:
    more = {} if wave is None else {"balance_wave": wave}
    assert value_of("__balance_keep_seconds", **more) == pytest.approx(seconds)
    now = value_of("__balance_lease_is_due", balance_leased_at=1_000_000.0, now=lambda **_utc: Now(ago), **more)
    assert now is due


@pytest.mark.parametrize(
    ("facts", "address"),
    [
        ({}, "kvm2"),
        ({"ansible_host": "192.0.2.7"}, "192.0.2.7"),
        ({"ansible_host": "2001:db8::7"}, "[2001:db8::7]"),
    ],
)
def test_a_destination_is_reached_by_the_address_that_ansible_has(facts: dict[str, str], address: str) -> None:
    found = value_of("__balance_default_migration_uri", move=WAVES[0]["moves"][0], hostvars={"kvm2": facts})
    assert found == f"qemu+ssh://root@{address}/system?no_tty=1"


class Now:
    """The time, so many seconds after the hosts were leased."""

    def __init__(self, ago: float) -> None:
        self.ago = ago

    def timestamp(self) -> float:
        return 1_000_000.0 + self.ago
