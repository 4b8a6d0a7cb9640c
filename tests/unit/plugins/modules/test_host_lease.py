# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import functools
import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtops.balance.plugins.module_utils._host import lease as _lease
from ansible_collections.virtops.balance.plugins.modules import host_lease

Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setattr(_lease, "act", functools.partial(_lease.act, root=str(tmp_path)))

    def run_module(**options: t.Any) -> dict[str, t.Any]:
        with patch_module_args(options), pytest.raises(SystemExit):
            host_lease.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        return result

    return run_module


def test_from_taking_it_to_giving_it_back(run: Run) -> None:
    taken = run(owner="me", purpose="rebalance")
    assert taken["changed"] is True
    assert taken["taken_over"] is None
    assert set(taken["lease"]) == set(yaml.safe_load(host_lease.RETURN)["lease"]["contains"])
    assert taken["diff"] == {"before": {"lease": None}, "after": {"lease": taken["lease"]}}

    for state in ("present", "renew"):
        again = run(owner="me", purpose="rebalance", state=state)
        assert (again["changed"], again["lease"]["since"]) == (False, taken["lease"]["since"])

    held = run(owner="you")
    assert held["failed"] is True
    assert "leased to me (rebalance) since" in held["msg"]
    assert held["lease"]["owner"] == "me"
    assert run(owner="you", state="absent")["changed"] is False

    gone = run(owner="me", state="absent")
    assert (gone["changed"], gone["lease"]) == (True, None)
    assert run(owner="me", state="absent")["changed"] is False
    assert run(owner="me", state="renew")["failed"] is True


def test_an_expired_one_is_taken_over(run: Run) -> None:
    run(owner="killed", purpose="drain", lease_seconds=0.01)
    taken = run(owner="me", wait_seconds=60)
    assert taken["changed"] is True
    assert (taken["taken_over"]["owner"], taken["taken_over"]["purpose"]) == ("killed", "drain")
    assert taken["diff"]["before"]["lease"] == taken["taken_over"]


@pytest.mark.parametrize("before", [None, "me", "you"])
@pytest.mark.parametrize("state", ["present", "renew", "absent"])
def test_check_mode_says_what_would_be(run: Run, before: str | None, state: str) -> None:
    if before is not None:
        run(owner=before)
    held = run(owner="nobody", state="absent")["lease"]
    foreseen = run(owner="me", state=state, _ansible_check_mode=True)
    assert run(owner="nobody", state="absent")["lease"] == held
    assert (held or {}).get("owner") == before
    real = run(owner="me", state=state)
    assert foreseen.get("failed") == real.get("failed")
    assert foreseen.get("changed") == real.get("changed")
    assert (foreseen["lease"] or {}).get("owner") == (real["lease"] or {}).get("owner")


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("lease_seconds", 0, "lease_seconds must be a number from 0.01 to 604,800, but it is 0."),
        ("wait_seconds", -1, "wait_seconds must be a number from 0 to 604,800, but it is -1."),
    ],
)
def test_a_time_that_makes_no_sense(run: Run, option: str, value: float, sentence: str) -> None:
    result = run(owner="me", **{option: value})
    assert result["msg"] == sentence
    assert result["lease"] is None
