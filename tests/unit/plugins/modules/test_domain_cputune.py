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
from ansible_collections.virtops.balance.plugins.module_utils._tuning import domain_cputune as cputune
from ansible_collections.virtops.balance.plugins.modules import domain_cputune
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirt

Run = t.Callable[..., dict[str, t.Any]]
ASKED: list[tuple[cputune.Request, bool]] = []


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs main() and returns what the module prints."""

    def call(error: BalanceError | None = None, **arguments: t.Any) -> dict[str, t.Any]:
        def tune(_api: t.Any, request: cputune.Request, *, check_mode: bool) -> dict[str, t.Any]:
            ASKED.append((request, check_mode))
            if error is not None:
                raise error
            return {"changed": True}

        monkeypatch.setattr(_connection, "require_libvirt", lambda _module: FakeLibvirt())
        monkeypatch.setattr(cputune, "tune", tune)
        with patch_module_args({"domain": "web-1", **arguments}), pytest.raises(SystemExit):
            domain_cputune.main()
        return t.cast("dict[str, t.Any]", json.loads(capfd.readouterr().out))

    ASKED.clear()
    return call


def test_the_options_become_the_request(run: Run) -> None:
    assert run(weight=2, cap="20.5", persistent=False, _ansible_check_mode=True)["changed"]

    wanted = cputune.Request(uri="qemu:///system", domain="web-1", weight=2, cap=20.5, persistent=False)
    assert [(wanted, True)] == ASKED


def test_an_error_is_one_sentence(run: Run) -> None:
    result = run(BalanceError("One sentence."), cap=1)

    assert (result["failed"], result["msg"]) == (True, "One sentence.")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "one of the following is required: weight, cap"),
        ({"weight": "much"}, "weight"),
        ({"cap": [1]}, "cap"),
        ({"cap": {"a": 1}}, "cap"),
        ({"cap": 1, "live": "perhaps"}, "live"),
        ({"cap": 1, "cgroup_version": 3}, "cgroup_version"),
        ({"cap": 1, "wieght": 1}, "wieght"),
    ],
)
def test_wrong_options_are_refused_before_anything_happens(
    run: Run, arguments: dict[str, t.Any], sentence: str
) -> None:
    result = run(**arguments)

    assert result["failed"]
    assert sentence in result["msg"]
    assert ASKED == []


def test_the_documentation_has_all_options() -> None:
    options = yaml.safe_load(domain_cputune.DOCUMENTATION)["options"]
    assert set(options) | {"uri"} == set(cputune.Request.__dataclass_fields__)
