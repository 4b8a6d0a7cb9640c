# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stdout callback brief: what a person wants to read of a run, and nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
name: brief
type: stdout
author: the virtops.balance authors (@virtops)
version_added: 0.1.0
short_description: Print what a run plans, does and fails at, in few lines
description:
  - Prints what the module M(virtops.balance.show) shows (the plan and the outcome), the progress of migrations,
    messages of M(ansible.builtin.debug), warnings, differences where C(--diff) asks for them, and one line
    for each phase of a run with its time.
  - A task that fails is one message in full, after the name of its host. A refusal before anything was touched is one
    message. A host that cannot be reached is told once. In the end of a run that failed one line names all these hosts.
  - Nothing is printed for tasks that are fine or skipped, nor for failures that a task ignores with C(ignore_errors) or
    C(failed_when).
  - Phases are those of the role P(virtops.balance.balance#role). In plays without that role, the phase is the play,
    and a task that changes something or takes five seconds is a line.
  - With C(-v) and more, the output is that of P(ansible.builtin.default#callback).
options:
  balance_phase:
    description:
      - What a phase of your own is called, in a play that uses the role P(virtops.balance.balance#role).
      - All tasks of a block that has this variable, and of the files that it includes, are that phase.
    type: str
    vars:
      - name: balance_phase
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout in configuration
seealso:
  - module: virtops.balance.show
"""

EXAMPLES = r"""
# For one run:
#   ANSIBLE_STDOUT_CALLBACK=virtops.balance.brief ansible-playbook -i inventory.yml virtops.balance.rebalance
#
# For all runs that read this ansible.cfg:
#   [defaults]
#   stdout_callback = virtops.balance.brief

- name: Give a phase of your own a name
  vars:
    balance_phase: backup
  block:
    - name: Back up what the hosts know
      ansible.builtin.command: /usr/local/sbin/backup
"""

import time
import typing as t

from ansible import constants, context
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback.default import CallbackModule as Default

from ansible_collections.virtops.balance.plugins.plugin_utils._report import brief as _brief
from ansible_collections.virtops.balance.plugins.plugin_utils._shown_text import leave_to

LONG_SECONDS = 5.0
_SHOW = ("virtops.balance.show",)
# What only the control node does about a run: alone it makes no phase.
_BOOKKEEPING = frozenset(
    name
    for word in ("assert", "debug", "fail", "set_fact", "set_stats", "validate_argument_spec")
    for name in (word, f"ansible.builtin.{word}", f"ansible.legacy.{word}")
).union((*_SHOW, "virtops.balance.stop"))


class CallbackModule(Default):
    """The callback. What it does not know how to say better is said by the default one."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "virtops.balance.brief"

    def __init__(self) -> None:
        super().__init__()
        self._phase = self._task_line = _Phase("")
        self._play_name = ""
        self._said: set[str] = set()
        self._shown = ""
        self._failed_items: dict[tuple[str, str], list[dict[str, t.Any]]] = {}
        self._first_with: dict[str, str] = {}
        self._refused = False
        self._in_balance = False
        self._began = self._told_until = time.monotonic()
        self._after_table = False

    # What begins

    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        """Say what is no real run."""
        if self._more():
            super().v2_playbook_on_start(playbook)
            return
        leave_to(self.CALLBACK_NAME)
        if context.CLIARGS.get("check"):
            self._say("CHECK MODE: nothing is changed.")

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        """A play is a phase as long as none of its tasks is one."""
        if self._more():
            super().v2_playbook_on_play_start(play)
            return
        self._end_task()
        self._play = play
        self._play_name, self._in_balance = str(play.get_name()), False

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        """See whether the task begins another phase."""
        if self._more():
            super().v2_playbook_on_task_start(task, is_conditional)
        else:
            self._begin_task(task)

    def v2_playbook_on_cleanup_task_start(self, task: t.Any) -> None:
        """As for any task."""
        if self._more():
            super().v2_playbook_on_cleanup_task_start(task)
        else:
            self._begin_task(task)

    def v2_playbook_on_handler_task_start(self, task: t.Any) -> None:
        """As for any task."""
        if self._more():
            super().v2_playbook_on_handler_task_start(task)
        else:
            self._begin_task(task)

    def _begin_task(self, task: t.Any) -> None:
        self._end_task()
        if isinstance(task, TaskInclude):
            return
        phase = _brief.phase_of(_places(task), task.get_vars().get("balance_phase"))
        self._in_balance = self._in_balance or phase is not None
        if phase is None and not self._in_balance:
            phase = self._play_name
        if phase is not None and phase != self._phase.name:
            self._end_phase()
            self._phase = _Phase(phase)
        self._task_line = _Phase(task.get_name(include_role_fqcn=False).strip())

    def _end_task(self) -> None:
        """Outside of the role balance, what changed something or took long is a line."""
        line, self._task_line = self._task_line, _Phase("")
        if self._in_balance or not line.ran:
            return
        if line.changed or line.seconds() >= LONG_SECONDS:
            where = f" ({_brief.named(line.changed)})" if line.changed else ""
            self._say(f"  {line.name}{where}  {_brief.duration(line.seconds())}")

    def _end_phase(self) -> None:
        self._end_task()
        if self._phase.ran and self._phase.name and not self._phase.told:
            now = time.monotonic()
            self._say(_brief.timed(self._phase.name, now - self._told_until))
            self._told_until = now
        self._phase = _Phase("")

    # What tasks end with

    def v2_runner_on_ok(self, result: t.Any) -> None:
        """Say what a task wants to be said."""
        if self._more():
            super().v2_runner_on_ok(result)
            return
        self._failed_items.pop(self._key(result), None)
        task, found = _task(result), _found(result)
        self._note(result)
        self._handle_warnings(found)
        if task.action in _SHOW:
            self._show(str(found.get("text") or ""))
        elif task.action in constants._ACTION_DEBUG:
            for item in found.get("results") or [found]:
                self._debug(task, item, self._host(result))

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        """Nothing but warnings."""
        if self._more():
            super().v2_runner_on_skipped(result)
        else:
            self._handle_warnings(_found(result))

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        """Say what failed where, once."""
        if self._more():
            super().v2_runner_on_failed(result, ignore_errors=ignore_errors)
            return
        found = _found(result)
        self._handle_warnings(found)
        if ignore_errors:
            self._failed_items.pop(self._key(result), None)
            return
        self._note(result)
        items = self._failed_items.pop(self._key(result), [])
        for item in items or [found]:
            self._fail(result, item, label=self._get_item_label(item) if items else None)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        """Say once that a host cannot be reached."""
        if self._more():
            super().v2_runner_on_unreachable(result)
            return
        found = _found(result)
        self._handle_warnings(found)
        self._note(result)
        items = self._failed_items.pop(self._key(result), [])
        host = self._host(result)
        text = _brief.message(items[-1] if items else found)
        self._once(f"UNREACHABLE {host}: {text}", color=constants.COLOR_UNREACHABLE, error=True)

    def v2_runner_retry(self, result: t.Any) -> None:
        """Say once that something is waited for."""
        if self._more():
            super().v2_runner_retry(result)
            return
        task, found = _task(result), _found(result)
        key = f"retry {task._uuid} {self._host(result)}"
        if key not in self._said:
            self._said.add(key)
            left = int(found.get("retries", 0)) - int(found.get("attempts", 0))
            name = _brief.clean(task.get_name(include_role_fqcn=False).strip())
            self._say(
                f"WAITING {self._host(result)}: {name}, not yet; up to {left} more tries", color=constants.COLOR_DEBUG
            )

    def v2_on_file_diff(self, result: t.Any) -> None:
        """Show a difference after the name of its host and task."""
        if self._more():
            super().v2_on_file_diff(result)
            return
        found = _found(result)
        for item in found.get("results") or [found] if _task(result).loop else [found]:
            difference = self._get_diff(item["diff"]) if item.get("diff") and item.get("changed") else ""
            if difference.strip():
                name = _task(result).get_name(include_role_fqcn=False).strip()
                self._say(f"{self._host(result)}: {_brief.clean(name)}")
                self._say(difference.rstrip())

    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        """The task tells of its items."""
        if self._more():
            super().v2_runner_item_on_ok(result)

    def v2_runner_item_on_failed(self, result: t.Any) -> None:
        """Keep it until the task ends: only then it is known whether its failure is ignored."""
        if self._more():
            super().v2_runner_item_on_failed(result)
        else:
            self._failed_items.setdefault(self._key(result), []).append(_found(result))

    def v2_runner_item_on_skipped(self, result: t.Any) -> None:
        """The task tells of its items."""
        if self._more():
            super().v2_runner_item_on_skipped(result)

    def v2_playbook_on_include(self, included_file: t.Any) -> None:
        """Nothing: the tasks of the file are what counts."""
        if self._more():
            super().v2_playbook_on_include(included_file)

    def v2_playbook_on_notify(self, handler: t.Any, host: t.Any) -> None:
        """Nothing: the handler is told when it runs."""
        if self._more():
            super().v2_playbook_on_notify(handler, host)

    def v2_runner_on_start(self, host: t.Any, task: t.Any) -> None:
        """Nothing."""
        if self._more():
            super().v2_runner_on_start(host, task)

    # How it ends

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Say that a play does nothing."""
        if self._more():
            super().v2_playbook_on_no_hosts_matched()
        else:
            self._say(f"No host for the play: {_brief.clean(self._play_name)}", color=constants.COLOR_SKIP)

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        """Nothing: the end of the run names the hosts that failed."""
        if self._more():
            super().v2_playbook_on_no_hosts_remaining()

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        """Name the hosts that failed; nothing where all is well."""
        if self._more():
            super().v2_playbook_on_stats(stats)
            return
        self._end_phase()
        hosts = sorted(stats.processed)
        parts = []
        for word, count in (("FAILED", stats.failures), ("NOT REACHED", stats.dark)):
            if found := [host for host in hosts if count.get(host)]:
                parts.append(f"{word}: {_brief.named(found, most=10)}.")
        if parts and not self._refused:
            took = _brief.duration(time.monotonic() - self._began)
            self._say(
                f"{' '.join(parts)} The run took {took}; with -v it tells of each task.", color=constants.COLOR_ERROR
            )

    # Help

    def _more(self) -> bool:
        return bool(self._display.verbosity)

    def _note(self, result: t.Any) -> None:
        """Keep what the lines about phase and task need."""
        task, found = _task(result), _found(result)
        if isinstance(task, TaskInclude):
            return
        self._phase.ran = self._phase.ran or self._phase.name in _brief.ON_CONTROL_NODE
        if task.action in _BOOKKEEPING:
            return
        self._phase.ran = self._task_line.ran = True
        if found.get("changed"):
            self._task_line.changed[self._host(result)] = None

    def _fail(self, result: t.Any, found: t.Mapping[str, t.Any], label: object) -> None:
        """Print one failure, unless a table has its message already."""
        task, host, text = _task(result), self._host(result), _brief.message(found)
        places = [place for place in _places(task) if place.role == _brief.BALANCE_ROLE]
        if places and found.get("refused"):
            self._refused = True
            self._once(f"REFUSED: {text}", color=constants.COLOR_ERROR, error=True)
        elif _brief.squeezed(text) not in self._shown:
            first = self._first_with.setdefault(text, host)
            # Messages of the role say what was to be done.
            what = "" if places else f", {_brief.clean(task.get_name(include_role_fqcn=False).strip())}"
            what += f" ({_brief.clean(label)})" if label else ""
            said = text if first == host else f"the same as on {first}"
            self._once(f"FAILED {host}{what}: {said}", color=constants.COLOR_ERROR, error=True)

    def _show(self, text: str) -> None:
        """Print a table, and before it how long what it tells took: what is left of the phase is saving it."""
        name, table = self._phase.name, "\n" in text
        self._end_phase()
        self._phase = _Phase(name, told=True)
        if table:
            self._say("")
        self._after_table = False
        self._say(text)
        self._shown += _brief.squeezed(text)
        self._after_table = table

    def _debug(self, task: t.Any, found: t.Any, host: str) -> None:
        """A message that is there to be read; for many hosts once."""
        if not isinstance(found, dict) or found.get("skipped") or not self._run_always(found):
            return
        if "msg" in found and isinstance(found["msg"], (str, list)):
            self._once(_brief.lines_of(found["msg"]), color=constants.COLOR_DEBUG)
        else:
            self._clean_results(found, task.action)
            self._once(f"{host}: {self._dump_results(found).strip()}", color=constants.COLOR_DEBUG)

    @staticmethod
    def _run_always(found: t.Mapping[str, t.Any]) -> bool:
        """False for a debug with a verbosity that was not asked for: it is skipped, or says nothing."""
        return "msg" in found or bool(found.get("_ansible_verbose_always"))

    def _once(self, text: str, *, color: str | None = None, error: bool = False) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text, color=color, stderr=error and bool(self.get_option("display_failed_stderr")))

    def _say(self, text: str, *, color: str | None = None, stderr: bool = False) -> None:
        if self._after_table:
            self._after_table = False
            if text:
                self._display.display("")
        self._display.display(text, color=color, stderr=stderr)

    def _key(self, result: t.Any) -> tuple[str, str]:
        return self._host(result), str(_task(result)._uuid)

    @staticmethod
    def _host(result: t.Any) -> str:
        return _brief.clean((getattr(result, "host", None) or result._host).get_name())


class _Phase:
    """What has a line: its name, whether it was told already, whether anything ran in it, and the hosts it changed."""

    def __init__(self, name: str, *, told: bool = False) -> None:
        self.name, self.told, self.ran = name, told, False
        self.changed: dict[str, None] = {}
        self._began = time.monotonic()

    def seconds(self) -> float:
        """How long it goes on already."""
        return time.monotonic() - self._began


def _task(result: t.Any) -> t.Any:
    """The task of a result; before ansible-core 2.19 its name is another one."""
    return getattr(result, "task", None) or result._task


def _found(result: t.Any) -> dict[str, t.Any]:
    """What the task returned; before ansible-core 2.19 its name is another one."""
    found = result.result if hasattr(result, "result") else result._result
    return t.cast("dict[str, t.Any]", found)


def _places(task: t.Any) -> list[_brief.Place]:
    """The file that a task is in, and those that include it, from the inside out."""
    places, at = [], task
    while at is not None:
        if at is task or isinstance(at, TaskInclude):
            path = str(at.get_path() or "").rsplit(":", 1)[0]
            role = at._role.get_name() if at._role else None
            places.append(_brief.Place(role, path.rsplit("/", 1)[-1].rsplit(".", 1)[0]))
        at = at._parent
    return places
