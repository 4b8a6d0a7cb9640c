# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.modules import domain_vcpu_pin
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_inside import (
    LIVE,
    Guest,
    InsideHost,
    api_for,
)

Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def guest() -> Guest:
    return InsideHost(4).add(wants=[0.0, 0.0])


@pytest.fixture
def run(guest: Guest, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs main() and returns what the module prints."""
    monkeypatch.setattr(_connection, "_ensure_events", lambda _api: None)
    monkeypatch.setattr(_connection, "require_libvirt", lambda _module: api_for(guest.host))

    def call(**arguments: t.Any) -> dict[str, t.Any]:
        given = {"domain": "web-1", **arguments}
        given = {name: value for name, value in given.items() if value is not None}
        with patch_module_args(given), pytest.raises(SystemExit):
            domain_vcpu_pin.main()
        return t.cast("dict[str, t.Any]", json.loads(capfd.readouterr().out))

    return call


def test_a_domain_is_pinned_and_released(run: Run, guest: Guest) -> None:
    assert run(pins={0: "1-2"}, _ansible_check_mode=True)["changed"]
    assert guest.commands == []

    result = run(pins={0: "1-2"})

    assert (result["changed"], result["live"]) == (True, {"0": "1-2", "1": "all"})
    assert guest.pins[LIVE][0] == {1, 2}
    assert run(state="released")["live"] == {"0": "all", "1": "all"}


def test_an_error_is_one_sentence(run: Run) -> None:
    result = run(cpus="0-9")
    assert (result["failed"], result["msg"]) == (True, "cpus names CPU 4, but the host has 0-3.")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "state is pinned but any of the following are missing: cpus, pins"),
        ({"cpus": 0, "domain": None}, "state is pinned but all of the following are missing: domain"),
        ({"cpus": 0, "pins": {"0": 1}}, "parameters are mutually exclusive: cpus|pins"),
        ({"pins": [0]}, "pins"),
        ({"pins": "$(reboot)"}, "pins"),
        ({"cpus": 0, "state": "loose"}, "state"),
        ({"cpus": 0, "persistent": "perhaps"}, "persistent"),
        ({"cpu": 0}, "cpu"),
        ({"cpus": "nan"}, "cpus must be"),
        ({"cpus": 1e12}, "cpus must be"),
        ({"cpus": 0, "domain": "$(touch /tmp/x); `id`"}, "There is no domain '$(touch /tmp/x); `id`' on this host."),
        ({"cpus": 0, "domain": {"a": 1}}, "There is no domain"),
    ],
)
def test_wrong_options_change_nothing(run: Run, guest: Guest, arguments: dict[str, t.Any], sentence: str) -> None:
    result = run(**arguments)

    assert result["failed"]
    assert sentence in result["msg"]
    assert guest.commands == []
