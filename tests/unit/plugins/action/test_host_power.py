# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import functools
import json
import types
import typing as t

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.virtops.balance.plugins.action import host_power
from ansible_collections.virtops.balance.plugins.plugin_utils._host_power import act as power_act

UNREACHABLE = AnsibleConnectionFailure("no route to host")
STRIP = {
    "sleep": "poweroff",
    "wake": "command",
    "command": {"wake": ["true"], "status": ["echo", "on"]},
    "ipmi": {"address": "bmc1", "password": "s3cret"},
}
SILENCE = {"sleep": "poweroff", "wake": "command", "command": {"wake": ["true"]}}


def given(answer: t.Any) -> t.Any:
    """What the module answers, or the end that it comes to."""
    if isinstance(answer, Exception):
        raise answer
    return answer


class Action(host_power.ActionModule):
    """The plugin with a connection on which everything is said in advance; the last answer is said again."""

    def __init__(self, *, modules: t.Sequence[t.Any] = ({},), connections: t.Sequence[bool] = (True,), **task: t.Any):
        arguments = task.pop("args")
        values = {"check_mode": False, "delegate_to": None, "action": "host_power", **task}
        self._task = types.SimpleNamespace(args=arguments, **values)
        self._connection = types.SimpleNamespace(
            reset=lambda: self.log.append("reset"), _shell=types.SimpleNamespace(tmpdir="/root/.ansible/tmp/x")
        )
        self._discovered_interpreter_key = "discovered_interpreter_python"
        self.modules, self.connections = list(modules), list(connections)
        self.sent: list[dict[str, t.Any]] = []
        self.log: list[str] = []

    def _execute_module(self, *, module_name: str, module_args: t.Any, task_vars: t.Any) -> t.Any:
        assert module_name == host_power.MODULE
        assert "discovered_interpreter_python" not in task_vars["ansible_facts"]
        self.sent.append(module_args)
        return given(self.modules.pop(0) if len(self.modules) > 1 else self.modules[0])

    def _low_level_execute_command(self, _command: str) -> dict[str, int]:
        if not (self.connections.pop(0) if len(self.connections) > 1 else self.connections[0]):
            raise UNREACHABLE
        return {"rc": 0}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    fast = power_act.Clock(monotonic=lambda: now[0], sleep=sleep)
    for name in ("wake", "put_to_sleep"):
        monkeypatch.setattr(power_act, name, functools.partial(getattr(power_act, name), clock=fast))
    monkeypatch.setattr(ActionBase, "run", lambda *_arguments: {})


def run(action: Action) -> dict[str, t.Any]:
    return action.run(
        task_vars={"inventory_hostname": "kvm3", "ansible_facts": {"discovered_interpreter_python": "/usr/bin/python"}}
    )


def test_the_host_goes_to_sleep_by_itself_and_its_silence_is_seen() -> None:
    action = Action(
        args={"state": "asleep", "control": {**SILENCE, "wake_after_seconds": 60}, "lease_owner": "me"},
        connections=[True, False],
    )
    result = run(action)
    assert result["changed"] is True
    assert result["power"] == {"state": "asleep", "seen_by": "silence", "problem": None}
    assert result["diff"] == {"before": {"state": "awake"}, "after": {"state": "asleep"}}
    assert action.sent == [
        {
            "state": "asleep",
            "uri": "qemu:///system",
            "lease_owner": "me",
            "control": {"sleep": "poweroff", "wake": "command", "wake_after_seconds": 60},
        }
    ]
    assert "reset" in action.log


def test_credentials_and_commands_stay_on_the_control_node() -> None:
    for state in ("asleep", "query"):
        action = Action(args={"state": state, "control": {**STRIP, "ipmi": None}, "timeout_seconds": 0})
        run(action)
        assert "s3cret" not in json.dumps(action.sent)
        assert "command" not in action.sent[0]["control"]


def test_a_connection_that_breaks_while_the_host_goes() -> None:
    action = Action(args={"state": "asleep", "control": SILENCE}, modules=[UNREACHABLE], connections=[True, False])
    assert run(action)["power"]["state"] == "asleep"
    assert action._connection._shell.tmpdir is None


@pytest.mark.parametrize(
    ("control", "check_mode"),
    [(SILENCE, True), ({**SILENCE, "sleep": "command", "command": {"wake": ["true"], "sleep": ["false"]}}, False)],
)
def test_one_that_breaks_while_the_host_looks_leaves_it_awake(control: dict[str, t.Any], check_mode: bool) -> None:
    action = Action(args={"state": "asleep", "control": control}, modules=[UNREACHABLE], check_mode=check_mode)
    result = run(action)
    assert result["failed"] is True
    assert result["msg"] == "kvm3 cannot be reached any more, so it is left as it is."


def test_what_the_host_says_against_it() -> None:
    refusal = {"failed": True, "msg": "The host is not put to sleep: web-1 is running."}
    result = run(Action(args={"state": "asleep", "control": SILENCE}, modules=[refusal]))
    assert result["failed"] is True
    assert result["msg"] == "kvm3: The host is not put to sleep: web-1 is running."


def test_a_host_is_woken_and_answers() -> None:
    action = Action(
        args={"state": "awake", "control": SILENCE},
        modules=[UNREACHABLE, UNREACHABLE, {"failed": True, "msg": "Cannot connect to qemu:///system."}, {}],
    )
    result = run(action)
    assert result["changed"] is True
    assert result["power"] == {"state": "awake", "seen_by": "libvirt", "problem": None}
    assert [sent["state"] for sent in action.sent] == ["query", "awake", "awake", "awake"]
    assert action.sent[-1] == {"state": "awake", "uri": "qemu:///system", "control": {"wake": "command"}}


def test_a_host_whose_libvirt_stays_away() -> None:
    broken = {"failed": True, "msg": "Cannot connect to qemu:///system."}
    action = Action(args={"state": "awake", "control": SILENCE, "timeout_seconds": 30}, modules=[broken])
    assert run(action)["msg"] == (
        "kvm3 was woken (command), but does not count as awake after 30 s: Cannot connect to qemu:///system."
    )


def test_query_of_a_silent_host() -> None:
    result = run(Action(args={"state": "query", "control": SILENCE}, modules=[UNREACHABLE]))
    assert result["changed"] is False
    assert result["power"] == {
        "state": "unknown",
        "seen_by": None,
        "problem": "kvm3 cannot be reached. Only its silence indicates whether it is asleep.",
    }


def test_a_control_that_lacks_something() -> None:
    result = run(Action(args={"state": "query", "control": {"wake": "ipmi"}}))
    assert result["msg"] == "control.wake is ipmi, so control.ipmi has to say how."
