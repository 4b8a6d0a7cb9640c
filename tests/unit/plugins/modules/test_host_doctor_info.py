# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The three modules of the doctor: their options, and what they hand on."""

from __future__ import annotations

import json
import os
import types
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._doctor import shared_paths
from ansible_collections.virtops.balance.plugins.modules import host_doctor_info, host_path_test, host_peers_info
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import (
    FakeConnection,
    FakeLibvirt,
    FakeLibvirtError,
)

URI = "qemu+tcp://kvm1/system"
SELF = {"uri": URI, "migration_uri": "qemu+tcp://10.0.0.1/system"}
QUESTIONS: dict[str, t.Any] = {
    "run": "1",
    "peers": {
        "kvm1": {"uri": "qemu+tcp://10.0.0.1/system", "host": None, "ports": []},
        "kvm2": {"uri": "qemu+tcp://10.0.0.2/system", "host": None, "ports": []},
    },
    "paths": [],
    "baselines": [],
}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., dict[str, t.Any]]:
    def run_it(module: types.ModuleType, api: FakeLibvirt | None = None, **options: t.Any) -> dict[str, t.Any]:
        monkeypatch.setattr(_connection, "libvirt", api)
        monkeypatch.setattr(_connection, "LIBVIRT_IMPORT_ERROR", None if api else "Traceback: no libvirt")
        with patch_module_args(options), pytest.raises(SystemExit):
            module.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        return result

    return run_it


@pytest.mark.parametrize("as_json", [False, True])
def test_a_host_about_itself(run: t.Callable[..., dict[str, t.Any]], as_json: bool) -> None:
    api = FakeLibvirt(FakeConnection(listAllSecrets=[], getDomainCapabilities=FakeLibvirtError(3)))
    result = run(host_doctor_info, api, **SELF, as_json=as_json, _ansible_check_mode=True)
    answer = json.loads(result["answer"]) if as_json else result["answer"]
    assert (result["changed"], answer["migration_uri"]) == (False, "qemu+tcp://10.0.0.1/system")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({**SELF, "shared_paths": ["images"]}, "shared_paths must be absolute paths, but one is 'images'."),
        (SELF, "Cannot connect to qemu+tcp://kvm1/system: no"),
    ],
)
def test_what_a_host_cannot_say(
    run: t.Callable[..., dict[str, t.Any]], options: dict[str, t.Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: t.Any, _uri: str) -> t.Any:
        raise FakeLibvirtError(38, "no", 7)

    monkeypatch.setattr(FakeLibvirt, "open", refuse)
    result = run(host_doctor_info, FakeLibvirt(), **options)
    assert result["failed"] is True
    assert expected in result["msg"]


def test_a_host_about_others(run: t.Callable[..., dict[str, t.Any]]) -> None:
    api = FakeLibvirt(FakeConnection(getHostname="kvm2"))
    result = run(host_peers_info, api, uri=URI, name="kvm1", questions=QUESTIONS)
    assert [uri for _how, uri in api.opened] == [URI, "qemu+tcp://10.0.0.2/system"]
    answer = json.loads(result["answer"])
    assert list(answer["peers"]) == ["kvm2"]
    assert answer["peers"]["kvm2"]["connection"]["problem"] is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"questions": {}}, "questions must be what the filter virtops.balance.doctor_questions returns."),
        ({"name": "kvm9"}, "questions has no host 'kvm9'."),
        ({"connect_seconds": 0}, "connect_seconds must be a number from 1 to 600, but it is 0."),
        ({"port_seconds": 100}, "port_seconds must be a number from 0.1 to 60, but it is 100."),
    ],
)
def test_wrong_questions(run: t.Callable[..., dict[str, t.Any]], options: dict[str, t.Any], expected: str) -> None:
    result = run(host_peers_info, FakeLibvirt(), **{"uri": URI, "name": "kvm1", "questions": QUESTIONS, **options})
    assert (result["failed"], result["msg"]) == (True, expected)


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_file_comes_and_goes(
    run: t.Callable[..., dict[str, t.Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check_mode: bool
) -> None:
    monkeypatch.setattr(shared_paths, "_watch", lambda *_arguments: None)
    options = {"name": "kvm1", "run": "1", "paths": [f"{tmp_path}/"], "_ansible_check_mode": check_mode}
    result = run(host_path_test, **options)
    assert result["changed"] is True
    assert result["paths"][str(tmp_path)]["written"] is not check_mode
    assert len(os.listdir(tmp_path)) == (0 if check_mode else 1)
    result = run(host_path_test, state="absent", **options)
    assert (result["changed"], result["removed"]) == (not check_mode, [] if check_mode else [str(tmp_path)])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"paths": ["images"]}, "paths must be absolute paths, but one is 'images'."),
        ({"lifetime_seconds": 1}, "lifetime_seconds must be a number from 10 to 86,400, but it is 1."),
    ],
)
def test_wrong_paths(run: t.Callable[..., dict[str, t.Any]], options: dict[str, t.Any], expected: str) -> None:
    result = run(host_path_test, **{"name": "kvm1", "run": "1", "paths": [], **options})
    assert (result["failed"], result["msg"]) == (True, expected)
