# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import json
import time
import types
import typing as t

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.virtops.balance.plugins.action import domain_migrate

JOB = "/root/.ansible_async/j1.2"
PROGRESS = {
    "name": "web-1", "source": "kvm1", "destination": "kvm3", "phase": "migrating", "percent": 10.0, "total_mib": 96.0,
}  # fmt: skip
RUNNING = {"started": True, "finished": False, "ansible_job_id": "j1.2"}
DONE = {"changed": True, "invocation": {}}


class Action(domain_migrate.ActionModule):
    """The plugin with a connection on which everything is said in advance."""

    def __init__(self, looks: t.Sequence[t.Any] = (), **task: t.Any) -> None:
        values = {"args": {}, "async_val": 0, "check_mode": False, "delegate_to": None, "no_log": False, **task}
        self._task = types.SimpleNamespace(**values)
        self._connection = types.SimpleNamespace(has_native_async=False)
        self.looks = list(looks)
        self.result: dict[str, t.Any] = DONE
        self.modules: list[tuple[str, dict[str, t.Any], bool, int]] = []
        self.commands: list[str] = []

    def _execute_module(
        self, *, module_name: str, module_args: t.Any, task_vars: t.Any, wrap_async: bool = False
    ) -> t.Any:
        self.modules.append((module_name, module_args, wrap_async, self._task.async_val))
        if module_name == "ansible.legacy.async_status":
            return {**self.result, "ansible_job_id": "j1.2", "finished": True, "started": True, "stdout": ""}
        if wrap_async:
            return {"ansible_job_id": "j1.2", "results_file": JOB, "started": True, "changed": True}
        return dict(DONE)

    def _low_level_execute_command(self, command: str) -> dict[str, str]:
        self.commands.append(command)
        if self.looks and isinstance(self.looks[0], Exception):
            raise self.looks.pop(0)
        look = self.looks.pop(0) if self.looks else DONE
        status, progress, *more = look if isinstance(look, tuple) else (look, None)
        texts = ["" if one is None else json.dumps(one) for one in (status, progress)]
        return {"stdout": f"\n{domain_migrate._MARK}\n".join([*texts, *more])}

    def get_shell_option(self, _name: str, default: str) -> str:
        return default


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is shown; time passes only in sleep."""
    now = [0.0]
    found: list[str] = []

    def sleep(seconds: float) -> None:
        now[0] += seconds

    fake = types.SimpleNamespace(sleep=sleep, monotonic=lambda: now[0])
    monkeypatch.setattr(domain_migrate, "time", fake)
    monkeypatch.setattr(domain_migrate.display, "display", found.append)
    monkeypatch.setattr(ActionBase, "run", lambda *_arguments: {})
    return found


def run(action: Action, **variables: t.Any) -> dict[str, t.Any]:
    return action.run(task_vars={"inventory_hostname": "kvm1", **variables})


def test_it_runs_in_the_background_and_shows_progress(lines: list[str]) -> None:
    looks = [(RUNNING, {**PROGRESS, "percent": percent}) for percent in (None, 10, 20, 30, 40, 50)]
    action = Action([*looks, DONE], args={"domain": "web-1", "timeout_seconds": 300})

    result = run(action)

    assert result == DONE
    assert lines == [f"web-1 kvm1 -> kvm3: {percent} % of 96 MiB" for percent in (10, 40)]
    (name, arguments, wrap_async, limit), (status, *_rest) = action.modules
    assert (name, wrap_async, limit) == (domain_migrate.MODULE, True, 900)
    assert status == "ansible.legacy.async_status"
    assert arguments["source"] == "kvm1"
    assert action.commands[-1] == f"rm -f {JOB}"
    assert action._task.async_val == 0


def test_the_progress_file_is_read_where_the_wrapper_put_its_own(lines: list[str]) -> None:
    action = Action(args={"domain": "web-1"})
    run(action)

    name = action.modules[0][1]["progress_path"].rpartition("/")[2]
    assert f"cat /root/.ansible_async/{name}" in action.commands[0]
    assert action._task.args == {"domain": "web-1"}


def test_a_progress_file_of_the_users_choice(lines: list[str]) -> None:
    action = Action(args={"progress_path": "/run/a b.json"})
    run(action)

    assert "cat '/run/a b.json'" in action.commands[0]


@pytest.mark.parametrize(
    ("arguments", "limit"),
    [
        ({}, 604800),
        ({"timeout_seconds": 300}, 900),
        ({"timeout_seconds": "300", "post_copy": False}, 900),
        ({"timeout_seconds": 300, "post_copy": True}, 604800),
        ({"timeout_seconds": "soon"}, 604800),
    ],
)
def test_the_job_outlives_the_migration(arguments: dict[str, t.Any], limit: int, lines: list[str]) -> None:
    action = Action(args=arguments)
    run(action)

    assert action.modules[0][3] == limit


@pytest.mark.parametrize(
    ("task", "variables", "source"),
    [
        ({}, {}, "kvm1"),
        ({"delegate_to": "kvm2"}, {}, "kvm2"),
        ({"args": {"source": "alpha"}}, {}, "alpha"),
        ({"args": {"uri": "qemu:///system"}}, {}, "kvm1"),
        # Through a remote URI the host that runs the module is not the source.
        ({"args": {"uri": "qemu+ssh://root@kvm9/system"}}, {}, None),
    ],
)
def test_the_source_is_called_as_in_the_inventory(
    task: dict[str, t.Any], variables: dict[str, t.Any], source: str | None, lines: list[str]
) -> None:
    action = Action(**task)
    run(action, **variables)

    assert action.modules[0][1].get("source") == source


def test_check_mode_is_an_ordinary_run(lines: list[str]) -> None:
    action = Action(check_mode=True)

    assert run(action) == DONE
    assert [(name, wrap) for name, _arguments, wrap, _limit in action.modules] == [(domain_migrate.MODULE, False)]
    assert action.commands == []


def test_the_users_own_async_is_left_to_ansible(lines: list[str]) -> None:
    action = Action(async_val=50)

    assert run(action)["results_file"] == JOB
    assert [(wrap, limit) for _name, _arguments, wrap, limit in action.modules] == [(True, 50)]
    assert action.commands == []


def test_no_log_is_kept(lines: list[str]) -> None:
    run(Action([(RUNNING, PROGRESS)] * 5, no_log=True))

    assert lines == []


def test_a_connection_that_breaks_for_a_moment(lines: list[str]) -> None:
    broken = AnsibleConnectionFailure("no route")

    assert run(Action([(RUNNING, PROGRESS), *[broken] * 20, (RUNNING, PROGRESS), DONE])) == DONE


def test_a_connection_that_stays_broken(lines: list[str]) -> None:
    with pytest.raises(AnsibleConnectionFailure):
        run(Action([AnsibleConnectionFailure("no route")] * 100))


NEXT = (
    " A migration under way goes on by itself. Start, resume and destroy nothing until both hosts are checked: run the "
    "task again, and it says where web-1 is and repairs what was left."
)
SEEN = " Last progress: web-1 kvm1 -> kvm3: 10 % of 96 MiB."
GONE = "its job is gone from kvm1, because it was ended or the host was started anew."


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"destination_uri": "qemu+ssh://kvm3/system"}, "from kvm1 to qemu+ssh://kvm3/system"),
        ({"destination_uri": "qemu+ssh://kvm3/system", "destination": "kvm3"}, "from kvm1 to kvm3"),
        ({"destination": "kvm3", "source": "alpha"}, "from alpha to kvm3"),
        ({"destination": "kvm3", "uri": "qemu+ssh://kvm9/system"}, "from qemu+ssh://kvm9/system to kvm3"),
    ],
)
def test_a_job_that_is_gone(arguments: dict[str, t.Any], names: str, lines: list[str]) -> None:
    result = run(Action([(None, None)] * 10, args={"domain": "web-1", **arguments}))

    assert result == {"failed": True, "msg": f"It is not known whether web-1 moved {names}: {GONE}{NEXT}"}


def test_a_job_that_was_killed_together_with_its_wrapper(lines: list[str]) -> None:
    uuid = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
    looks = [(RUNNING, {**PROGRESS, "pid": 4711}), *[(RUNNING, None, "gone")] * 10]
    action = Action(looks, args={"domain": uuid, "destination_uri": "qemu+ssh://kvm3/system"})

    assert run(action)["msg"] == f"It is not known whether web-1 moved from kvm1 to kvm3: {GONE}{SEEN}{NEXT}"
    assert "/proc/" not in action.commands[0]
    assert "test -d /proc/4711 || echo gone" in action.commands[1]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        # Killed by a signal: it says nothing.
        ({"data": "", "stderr": "", "msg": "Traceback ...\nValueError: No start of json char found"}, ""),
        (
            {"data": "", "stderr": "Traceback ...\nMemoryError: \x1b[2J\n\n", "msg": "Traceback ..."},
            " (MemoryError: \\x1b[2J)",
        ),
        ({"outdata": "", "stderr": "", "msg": "[Errno 2] No such file or directory"}, ""),
        (
            {"msg": "Job reached maximum time limit of 900 seconds."},
            " (Job reached maximum time limit of 900 seconds.)",
        ),
    ],
)
def test_a_module_that_ended_without_a_result(said: dict[str, t.Any], why: str, lines: list[str]) -> None:
    action = Action([(RUNNING, PROGRESS), DONE], args={"domain": "web-1"})
    action.result = {"failed": True, "cmd": "/usr/bin/python3 AnsiballZ_domain_migrate.py", **said}

    result = run(action)

    why = f"its module on kvm1 ended without a result{why}."
    assert result["msg"] == f"It is not known whether web-1 moved from kvm1 to kvm3: {why}{SEEN}{NEXT}"
    assert set(result) == {"failed", "msg", "module_stdout", "module_stderr"}
    assert action.commands[-1] == f"rm -f {JOB}"


def test_a_module_that_failed_speaks_for_itself(lines: list[str]) -> None:
    action = Action()
    action.result = {"failed": True, "msg": "web-1 was not moved.", "outcome": "on_source"}

    assert run(action) == action.result


def test_a_module_that_has_just_ended_is_given_time(lines: list[str]) -> None:
    assert run(Action([(RUNNING, {**PROGRESS, "pid": 4711}), *[(RUNNING, None, "gone")] * 3, DONE])) == DONE


def test_a_job_that_never_ends_is_not_waited_for_for_ever(lines: list[str]) -> None:
    action = Action([(RUNNING, PROGRESS)] * 1000, args={"timeout_seconds": 60})

    assert ": its job on kvm1 has not ended within 660 seconds. Last progress: " in run(action)["msg"]
    assert 300 < len(action.commands) < 400


def test_a_half_written_result_is_read_again(lines: list[str]) -> None:
    assert run(Action([(None, None), (RUNNING, None), (None, None), DONE])) == DONE


def test_a_job_that_could_not_be_started(lines: list[str]) -> None:
    action = Action()
    action._execute_module = lambda **_arguments: {"failed": True, "msg": "no space"}  # type: ignore[method-assign] # one answer

    assert run(action) == {"failed": True, "msg": "no space"}


def test_time_is_the_real_one_outside_of_these_tests() -> None:
    assert domain_migrate.time is time
