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
from ansible_collections.virtops.balance.plugins.module_utils._move import desired_state
from ansible_collections.virtops.balance.plugins.modules import domain_state
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirt

Run = t.Callable[..., dict[str, t.Any]]
ASKED: list[tuple[desired_state.Request, bool]] = []


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs main() and returns what the module prints."""

    def call(error: BalanceError | None = None, **arguments: t.Any) -> dict[str, t.Any]:
        def reach(_api: t.Any, request: desired_state.Request, *, check_mode: bool) -> dict[str, t.Any]:
            ASKED.append((request, check_mode))
            if error is not None:
                raise error
            return {"changed": True}

        monkeypatch.setattr(_connection, "require_libvirt", lambda _module: FakeLibvirt())
        monkeypatch.setattr(desired_state, "reach", reach)
        with (
            patch_module_args({"domain": "web-1", "assigned": True, "state": "run", **arguments}),
            pytest.raises(SystemExit),
        ):
            domain_state.main()
        return t.cast("dict[str, t.Any]", json.loads(capfd.readouterr().out))

    ASKED.clear()
    return call


def test_the_options_become_the_request(run: Run) -> None:
    assert run(cap="20.5", assigned="no", state="stop", force=True, _ansible_check_mode=True)["changed"]

    wanted = desired_state.Request(
        uri="qemu:///system", domain="web-1", assigned=False, state="stop", cap=20.5, force=True
    )
    assert [(wanted, True)] == ASKED


def test_an_error_is_one_sentence_with_its_details(run: Run) -> None:
    result = run(BalanceError("One sentence.", details={"action": "report_and_shut_down", "changed": True}))

    assert (result["failed"], result["msg"], result["changed"]) == (True, "One sentence.", True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"state": "running"}, "state"),
        ({"state": []}, "state"),
        ({"assigned": "kvm1"}, "assigned"),
        ({"cap": "much"}, "cap"),
        ({"weight": [1]}, "weight"),
        ({"timeout_seconds": "soon"}, "timeout_seconds"),
        ({"timeout_seconds": 1.5}, "timeout_seconds"),
        ({"force": "perhaps"}, "force"),
        ({"xml": "<domain/>", "xml_path": "/a"}, "mutually exclusive"),
        ({"stat": "run"}, "stat"),
    ],
)
def test_wrong_options_are_refused_before_anything_happens(
    run: Run, arguments: dict[str, t.Any], sentence: str
) -> None:
    result = run(**arguments)

    assert result["failed"]
    assert sentence in result["msg"]
    assert ASKED == []


def test_the_documentation_has_all_options_and_actions() -> None:
    documentation = yaml.safe_load(domain_state.DOCUMENTATION)
    assert set(documentation["options"]) | {"uri"} == set(desired_state.Request.__dataclass_fields__)
    assert set(documentation["options"]["state"]["choices"]) == set(desired_state.STATES)
    for action in {row[0] for row in desired_state._TABLE.values()}:
        assert any(f"V({action})" in note for note in documentation["notes"])
