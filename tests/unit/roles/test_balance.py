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
    ("left", "lost", "more", "dropped"),
    [
        (["kvm1", "kvm2", "kvm3", "kvm4"], "", {}, []),
        (["kvm1", "kvm2", "kvm3"], "", {}, []),
        (["kvm2", "kvm3", "kvm4"], "", {}, ["kvm1"]),
        (["kvm1", "kvm3", "kvm4"], "", {}, ["kvm2"]),
        (["kvm1", "kvm2", "kvm3"], "", {"steps": [{"host": "kvm4"}]}, ["kvm4"]),
        (["kvm1", "kvm2", "kvm3", "kvm4"], "kvm2", {}, ["kvm2"]),
        (["kvm1", "kvm2", "kvm3", "kvm4"], "kvm4", {}, []),
        (
            ["kvm1", "kvm2", "kvm3", "kvm4"],
            "kvm4",
            {"restarts": [{"source": "kvm1", "destination": "kvm4"}]},
            ["kvm4"],
        ),
    ],
)
def test_no_wave_starts_without_a_host_that_has_a_part_in_the_plan(
    left: list[str], lost: str, more: dict[str, t.Any], dropped: list[str]
) -> None:
    everybody = ["kvm1", "kvm2", "kvm3", "kvm4"]
    facts = {name: {"balance_lease_failure": {"unusable": True} if name == lost else {}} for name in everybody}
    found = value_of(
        "__balance_dropped",
        balance_plan={"waves": WAVES, **more},
        ansible_play_hosts_all=everybody,
        ansible_play_hosts=left,
        hostvars=facts,
    )
    assert found == dropped


FULL = {"failed": True, "unusable": True, "msg": "The lease cannot be used: No space left on device."}
HELD = {"failed": True, "msg": "The host is leased to cron@control.", "lease": {"owner": "cron@control"}}
GONE = {"unreachable": True, "msg": "No route to host"}
DAMAGED = {"failed": True, "msg": "lease.json is not a lease that this version understands.", "lease": None}


@pytest.mark.parametrize(
    ("said", "refusals"),
    [
        (FULL, []),
        (GONE, []),
        ({"lease": {"owner": "me"}}, []),
        ({"skipped": True}, []),
        (HELD, ["kvm1: The host is leased to cron@control."]),
        (DAMAGED, ["kvm1: lease.json is not a lease that this version understands."]),
    ],
)
def test_only_what_somebody_else_may_have_leased_keeps_the_run_from_acting(
    said: dict[str, t.Any], refusals: list[str]
) -> None:
    facts = {"kvm1": {"balance_lease": said}, "kvm2": {"balance_lease": {"lease": {"owner": "me"}}}}
    assert value_of("__balance_refusals", ansible_play_hosts_all=["kvm1", "kvm2"], hostvars=facts) == refusals


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
