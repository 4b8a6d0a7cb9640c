# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._tuning import memory_balance, memory_decision
from ansible_collections.virtops.balance.plugins.modules import host_memory_balance
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirt

Run = t.Callable[..., dict[str, t.Any]]
ASKED: list[tuple[str, memory_balance.Settings, float, bool]] = []


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs main() and returns what the module prints."""

    def call(error: BalanceError | None = None, **arguments: t.Any) -> dict[str, t.Any]:
        def balance(
            _api: t.Any, uri: str, settings: memory_balance.Settings, *, interval: float, check_mode: bool
        ) -> dict[str, t.Any]:
            ASKED.append((uri, settings, interval, check_mode))
            if error is not None:
                raise error
            return {"changed": True, "warnings": [f"{uri}: web-1 has no balloon device."]}

        monkeypatch.setattr(_connection, "require_libvirt", lambda _module: FakeLibvirt())
        monkeypatch.setattr(memory_balance, "balance", balance)
        with patch_module_args(arguments), pytest.raises(SystemExit):
            host_memory_balance.main()
        return t.cast("dict[str, t.Any]", json.loads(capfd.readouterr().out))

    ASKED.clear()
    return call


def test_without_options_the_defaults_of_the_round_hold(run: Run) -> None:
    assert run()["changed"]
    assert [("qemu:///system", memory_balance.Settings(), 5, False)] == ASKED


def test_the_options_become_the_settings(run: Run) -> None:
    run(
        interval=2, low_mib=64, high_mib=96, step_mib=80, reclaim="always", domains="web-1,web-2", exclude=["`id`"],
        verify_seconds=3, _ansible_check_mode=True,
    )  # fmt: skip
    options = memory_decision.Options(low_mib=64, high_mib=96, step_mib=80, reclaim="always")
    settings = memory_balance.Settings(("web-1", "web-2"), ("`id`",), options, verify_seconds=3)
    assert [("qemu:///system", settings, 2, True)] == ASKED


def test_documentation_and_engine_name_the_same_defaults() -> None:
    documented = yaml.safe_load(host_memory_balance.DOCUMENTATION)["options"]
    engine = vars(memory_decision.Options())
    assert {name: documented[name].get("default") for name in engine} == engine
    assert documented["reclaim"]["choices"] == list(memory_decision.RECLAIM)


def test_warnings_are_warnings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # What Ansible makes of one depends on what else of Ansible this process has imported.
    warned: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, warning: warned.append(warning))
    run(uri="qemu:///only-here")
    assert warned == ["qemu:///only-here: web-1 has no balloon device."]


def test_an_error_is_one_sentence(run: Run) -> None:
    result = run(BalanceError("One sentence."))
    assert (result["failed"], result["msg"]) == (True, "One sentence.")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"interval": "soon"}, "interval"),
        ({"low_mib": "nan"}, "low_mib"),
        ({"low_mib": 1.5}, "low_mib"),
        ({"low_mib": -1}, "low_mib must be a number"),
        ({"high_mib": 10**12}, "high_mib must be a number"),
        ({"factor": "nan"}, "factor must be a number"),
        ({"max_pressure": [1]}, "max_pressure"),
        ({"reclaim": "never"}, "reclaim"),
        ({"domains": {"a": 1}}, "domains"),
        ({"step_mib": 1}, "step_mib must be from low_mib to high_mib"),
        ({"lowmib": 1}, "lowmib"),
    ],
)
def test_wrong_options_are_refused_before_anything_happens(
    run: Run, arguments: dict[str, t.Any], sentence: str
) -> None:
    result = run(**arguments)
    assert result["failed"]
    assert sentence in result["msg"]
    assert ASKED == []
