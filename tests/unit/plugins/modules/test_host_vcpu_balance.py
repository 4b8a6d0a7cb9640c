# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._tuning import vcpu_balance, vcpu_decision
from ansible_collections.virtops.balance.plugins.modules import host_vcpu_balance
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirt

Run = t.Callable[..., dict[str, t.Any]]
ASKED: list[tuple[str, vcpu_balance.Settings, float, bool]] = []


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs main() and returns what the module prints."""

    def call(error: BalanceError | None = None, **arguments: t.Any) -> dict[str, t.Any]:
        def balance(
            _api: t.Any, uri: str, settings: vcpu_balance.Settings, *, interval: float, check_mode: bool
        ) -> dict[str, t.Any]:
            ASKED.append((uri, settings, interval, check_mode))
            if error is not None:
                raise error
            return {"changed": True}

        monkeypatch.setattr(_connection, "require_libvirt", lambda _module: FakeLibvirt())
        monkeypatch.setattr(vcpu_balance, "balance", balance)
        with patch_module_args(arguments), pytest.raises(SystemExit):
            host_vcpu_balance.main()
        return t.cast("dict[str, t.Any]", json.loads(capfd.readouterr().out))

    ASKED.clear()
    return call


def test_without_options_the_defaults_of_the_round_hold(run: Run) -> None:
    assert run()["changed"]
    assert [("qemu:///system", vcpu_balance.Settings(), 5, False)] == ASKED


def test_the_options_become_the_settings(run: Run) -> None:
    run(
        interval=2, algorithm="busiest_freest", threshold="0.5", target=0.1, pin_free=True, cross_numa=True,
        domains="web-1,web-2", exclude=["$(reboot)"], _ansible_check_mode=True,
    )  # fmt: skip
    options = vcpu_decision.Options(
        algorithm="busiest_freest", threshold=0.5, target=0.1, pin_free=True, cross_numa=True
    )  # fmt: skip
    settings = vcpu_balance.Settings(("web-1", "web-2"), ("$(reboot)",), options)
    assert [("qemu:///system", settings, 2, True)] == ASKED


def test_documentation_and_engine_name_the_same_defaults() -> None:
    documented = yaml.safe_load(host_vcpu_balance.DOCUMENTATION)["options"]
    engine = vars(vcpu_decision.Options())
    assert {name: documented[name].get("default") for name in engine} == engine
    assert documented["algorithm"]["choices"] == list(vcpu_decision.ALGORITHMS)


def test_an_error_is_one_sentence(run: Run) -> None:
    result = run(BalanceError("One sentence."))
    assert (result["failed"], result["msg"]) == (True, "One sentence.")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"interval": "soon"}, "interval"),
        ({"threshold": [1]}, "threshold"),
        ({"threshold": "nan"}, "threshold must be a number"),
        ({"threshold": -1}, "threshold must be a number"),
        ({"gain": "inf"}, "gain must be a number"),
        ({"busy_above": 1e12}, "busy_above must be a number"),
        ({"target": {"a": 1}}, "target"),
        ({"algorithm": "best"}, "algorithm"),
        ({"pin_free": "perhaps"}, "pin_free"),
        ({"domains": {"a": 1}}, "domains"),
        ({"treshold": 1}, "treshold"),
    ],
)
def test_wrong_options_are_refused_before_anything_happens(
    run: Run, arguments: dict[str, t.Any], sentence: str
) -> None:
    result = run(**arguments)
    assert result["failed"]
    assert sentence in result["msg"]
    assert ASKED == []
