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
from ansible_collections.virtops.balance.plugins.module_utils._tuning import domain_memory as memory_size
from ansible_collections.virtops.balance.plugins.modules import domain_memory
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirt

Run = t.Callable[..., dict[str, t.Any]]
ASKED: list[tuple[memory_size.Request, bool]] = []


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs main() and returns what the module prints."""

    def call(error: BalanceError | None = None, **arguments: t.Any) -> dict[str, t.Any]:
        def size(_api: t.Any, request: memory_size.Request, *, check_mode: bool) -> dict[str, t.Any]:
            ASKED.append((request, check_mode))
            if error is not None:
                raise error
            return {"changed": True}

        monkeypatch.setattr(_connection, "require_libvirt", lambda _module: FakeLibvirt())
        monkeypatch.setattr(memory_size, "size", size)
        given = {"domain": "web-1", **arguments}
        given = {name: value for name, value in given.items() if value is not None}
        with patch_module_args(given), pytest.raises(SystemExit):
            domain_memory.main()
        return t.cast("dict[str, t.Any]", json.loads(capfd.readouterr().out))

    ASKED.clear()
    return call


def test_the_options_become_the_request(run: Run) -> None:
    assert run(memory_mib="600", timeout_seconds=9.5, persistent=True, _ansible_check_mode=True)["changed"]

    wanted = memory_size.Request(
        uri="qemu:///system", domain="web-1", memory_mib=600, timeout_seconds=9.5, persistent=True
    )
    assert [(wanted, True)] == ASKED


def test_documentation_and_code_name_the_same_defaults(run: Run) -> None:
    run(state="released")
    documented = yaml.safe_load(domain_memory.DOCUMENTATION)["options"]
    code = memory_size.Request(uri="qemu:///system", domain="web-1", state="released")
    assert [(code, False)] == ASKED
    given = {"domain": "web-1", "uri": "qemu:///system", "state": "released"}
    assert {name: option.get("default") for name, option in documented.items()} | given == vars(code)


def test_an_error_is_one_sentence(run: Run) -> None:
    result = run(BalanceError("One sentence."), memory_mib=600)
    assert (result["failed"], result["msg"]) == (True, "One sentence.")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "state is sized but all of the following are missing: memory_mib"),
        ({"memory_mib": 600, "domain": None}, "state is sized but all of the following are missing: domain"),
        ({"memory_mib": "much"}, "memory_mib"),
        ({"memory_mib": "nan"}, "memory_mib"),
        ({"memory_mib": 600.5}, "memory_mib"),
        ({"memory_mib": [600]}, "memory_mib"),
        ({"memory_mib": 600, "margin_mib": "64 MiB"}, "margin_mib"),
        ({"memory_mib": 600, "step_mib": {"a": 1}}, "step_mib"),
        ({"memory_mib": 600, "timeout_seconds": "soon"}, "timeout_seconds"),
        ({"memory_mib": 600, "state": "small"}, "state"),
        ({"memory_mib": 600, "persistent": "perhaps"}, "persistent"),
        ({"memory": 600}, "memory"),
    ],
)
def test_wrong_options_are_refused_before_anything_happens(
    run: Run, arguments: dict[str, t.Any], sentence: str
) -> None:
    result = run(**arguments)
    assert result["failed"]
    assert sentence in result["msg"]
    assert ASKED == []
