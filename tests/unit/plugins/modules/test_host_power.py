# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._host import power
from ansible_collections.virtops.balance.plugins.modules import host_power
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import (
    FakeConnection,
    FakeDomain,
    FakeLibvirt,
)


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, api: FakeLibvirt, **options: t.Any
) -> dict[str, t.Any]:
    monkeypatch.setattr(_connection, "libvirt", api)
    monkeypatch.setattr(_connection, "LIBVIRT_IMPORT_ERROR", None)
    with patch_module_args({"control": {"wake": "redfish"}, **options}), pytest.raises(SystemExit):
        host_power.main()
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.mark.parametrize("state", ["query", "awake"])
def test_on_the_host_it_tells_that_libvirt_answers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(power, "wake_up", lambda _api, uri: woken.append(uri))
    result = run(capsys, monkeypatch, FakeLibvirt(), state=state, uri="qemu:///system")
    assert woken == (["qemu:///system"] if state == "awake" else [])
    assert result["changed"] is False
    assert "failed" not in result


def test_on_the_host_it_refuses_and_says_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = FakeLibvirt(FakeConnection(domains=[FakeDomain("web-1", "u")]))
    result = run(capsys, monkeypatch, api, state="asleep", _ansible_check_mode=True)
    assert result["failed"] is True
    assert result["msg"] == "The host is not put to sleep: web-1 is running."


def test_options_arrive(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, t.Any]] = []
    monkeypatch.setattr(power, "go_to_sleep", lambda _api, uri, **options: asked.append({"uri": uri, **options}))
    control = {"sleep": "suspend", "wake": "wake_on_lan", "wake_after_seconds": 60}
    result = run(
        capsys, monkeypatch, FakeLibvirt(), state="asleep", uri="xen:///system", control=control, lease_owner="me"
    )
    assert result["changed"] is True
    assert asked == [
        {
            "uri": "xen:///system",
            "method": "suspend",
            "wake_after_seconds": 60,
            "lease_owner": "me",
            "check_mode": False,
        }
    ]


@pytest.mark.parametrize(
    ("control", "sentence"),
    [
        ({}, "missing required arguments: wake found in control"),
        ({"wake": "prayer"}, "value of wake must be one of: wake_on_lan, ipmi, redfish, command"),
        ({"wake": "ipmi", "ipmi": {}}, "missing required arguments: address found in control -> ipmi"),
    ],
)
def test_wrong_arguments(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, control: dict[str, t.Any], sentence: str
) -> None:
    result = run(capsys, monkeypatch, FakeLibvirt(), state="query", control=control)
    assert sentence in result["msg"]


def test_passwords_are_never_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    bmcs = {
        "ipmi": {"address": "bmc1", "password": "s3cret"},
        "redfish": {"url": "https://bmc1", "password": "s3cret"},
    }
    result = run(capsys, monkeypatch, FakeLibvirt(), state="query", control={"wake": "ipmi", **bmcs})
    assert "s3cret" not in json.dumps(result)
