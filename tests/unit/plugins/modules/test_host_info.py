# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest
import yaml
from ansible.module_utils.common import respawn
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.modules import host_info
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import (
    FakeConnection,
    FakeDomain,
    FakeLibvirt,
    FakeLibvirtError,
)

STATS = {"state.state": 1, "state.reason": 1, "cpu.time": 1, "balloon.maximum": 98304, "balloon.rss": 1}


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, api: FakeLibvirt | None, **options: t.Any
) -> dict[str, t.Any]:
    monkeypatch.setattr(_connection, "libvirt", api)
    monkeypatch.setattr(_connection, "LIBVIRT_IMPORT_ERROR", None if api else "Traceback: no libvirt")
    with patch_module_args({"interval": 0, **options}), pytest.raises(SystemExit):
        host_info.main()
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return result


def same_shape(value: t.Any, contains: dict[str, t.Any], path: str = "") -> list[str]:
    """Return where a value and the documentation of it have other keys."""
    wrong = [f"{path}.{key}" for key in set(value) ^ set(contains)]
    for key, doc in contains.items():
        inner = value.get(key)
        inner = inner[0] if isinstance(inner, list) and inner else inner
        if "contains" in doc and isinstance(inner, dict):
            wrong += same_shape(inner, doc["contains"], f"{path}.{key}")
    return wrong


@pytest.mark.parametrize("check_mode", [False, True])
def test_observation(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, check_mode: bool) -> None:
    api = FakeLibvirt(FakeConnection(domains=[FakeDomain("web-1", "u", stats=[STATS])]))
    result = run(capsys, monkeypatch, api, uri="qemu+tcp://kvm1/system", _ansible_check_mode=check_mode)
    assert result["changed"] is False
    assert api.opened == [("openReadOnly", "qemu+tcp://kvm1/system")]
    documented = yaml.safe_load(host_info.RETURN)["observation"]["contains"]
    assert same_shape(result["observation"], documented) == []


@pytest.mark.parametrize(
    ("options", "stores"),
    [
        ({}, False),
        ({"record": False}, False),
        ({"record": True}, True),
        ({"record": True, "_ansible_check_mode": True}, False),
    ],
)
def test_it_stores_only_where_asked_to_and_never_in_check_mode(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: dict[str, t.Any], stores: bool
) -> None:
    asked: list[bool] = []
    observe_host = host_info.observe_host

    def observe(api: t.Any, uri: str, *, store: bool, **more: t.Any) -> dict[str, t.Any]:
        asked.append(store)
        return observe_host(api, uri, **more)

    monkeypatch.setattr(host_info, "observe_host", observe)
    assert run(capsys, monkeypatch, FakeLibvirt(), uri="qemu+tcp://kvm1/system", **options)["changed"] is False
    assert asked == [stores]


@pytest.mark.parametrize(
    ("api", "options", "expected"),
    [
        pytest.param(
            FakeLibvirt(),
            {"interval": -1},
            {"msg": "interval must be from 0 to 3600 seconds, but it is -1."},
            id="option",
        ),
        pytest.param(
            FakeLibvirt(FakeConnection(getHostname=FakeLibvirtError(38, "End of file while reading data", 7))),
            {"uri": "qemu:///system"},
            {
                "msg": "Cannot observe qemu:///system: End of file while reading data.",
                "libvirt_error": {"code": 38, "name": "SYSTEM_ERROR", "domain": 7},
            },
            id="broken connection",
        ),
    ],
)
def test_failure_is_one_sentence(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    api: FakeLibvirt,
    options: dict[str, t.Any],
    expected: dict[str, t.Any],
) -> None:
    result = run(capsys, monkeypatch, api, **options)
    assert result.pop("failed") is True
    assert {key: result[key] for key in expected} == expected
    assert "exception" not in result


@pytest.mark.parametrize("interpreter", [None, "/usr/bin/python3"])
def test_without_libvirt_python(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, interpreter: str | None
) -> None:
    respawned = []

    def run_again(path: str) -> None:
        respawned.append(path)
        raise SystemExit

    monkeypatch.setattr(respawn, "has_respawned", lambda: False)
    monkeypatch.setattr(respawn, "probe_interpreters_for_module", lambda _paths, _name: interpreter)
    monkeypatch.setattr(respawn, "respawn_module", run_again)
    if interpreter is not None:
        with pytest.raises(json.JSONDecodeError):
            run(capsys, monkeypatch, None)
        assert respawned == [interpreter]
        return
    result = run(capsys, monkeypatch, None)
    assert result["failed"] is True
    assert "libvirt-python" in result["msg"]
    assert "python3-libvirt" in result["msg"]


def test_it_respawns_only_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(respawn, "has_respawned", lambda: True)
    monkeypatch.setattr(respawn, "probe_interpreters_for_module", lambda _paths, _name: pytest.fail("again"))
    assert "libvirt-python" in run(capsys, monkeypatch, None)["msg"]


@pytest.mark.parametrize(
    ("environment", "expected"), [("test:///default", "test:///default"), (None, "qemu:///system")]
)
def test_uri_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, environment: str | None, expected: str
) -> None:
    if environment is None:
        monkeypatch.delenv("LIBVIRT_DEFAULT_URI", raising=False)
    else:
        monkeypatch.setenv("LIBVIRT_DEFAULT_URI", environment)
    api = FakeLibvirt()
    run(capsys, monkeypatch, api)
    assert api.opened == [("openReadOnly", expected)]
