# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What action plugins of the role balance share: the variables of all hosts as plain data, and modules inside a task.

Hosts of a play are visited one by one here, where a template would visit them once for each variable, and a task of
each host would start a process for each of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import tempfile
import typing as t
from collections.abc import Iterable, Mapping

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._run.outcomes import collect

Json = dict[str, t.Any]

# A run that has woken hosts, or ended a round of a maintenance, has touched something: it fails, and is not refused.
_TOUCHED = ("balance_woken", "balance_touched")


class RunAction(ActionBase):
    """An action that works on the control node. ``arguments`` is what ``spec`` makes of the task's options."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    spec: t.ClassVar[Json] = {}

    def run(self, tmp: str | None = None, task_vars: Json | None = None) -> Json:
        """Validate the options and do it."""
        result = super().run(tmp, task_vars)
        _spec, arguments = self.validate_argument_spec(argument_spec=self.spec)
        return {**result, "changed": False, **self.act(arguments, task_vars or {})}

    def act(self, arguments: Json, variables: Json) -> Json:
        """Do it and return the result; ``variables`` are those of the task."""
        raise NotImplementedError

    def given(self, name: str, variables: Json) -> t.Any:
        """Return a variable of the task, which may be a template; whole fleets are not looked through."""
        value = variables[name]
        if isinstance(value, str) and value.lstrip().startswith(("{{", "{%")):
            return self._templar.template(value)
        return value

    def run_directory(self, variables: Json) -> pathlib.Path | None:
        """Return where the files of the run go; it may have to be made yet. None where balance_run_dir is empty."""
        given = plain(self._templar.template(variables["balance_run_dir"]))
        return pathlib.Path(os.path.expandvars(os.path.expanduser(str(given)))) if given else None

    def save(self, directory: pathlib.Path, name: str, text: str, variables: Json) -> pathlib.Path:
        """Save a file of the run, readable for nobody else, as a whole or not at all. Raises OSError."""
        path = directory / f"{self._templar.template(variables['balance_file_prefix'])}{name}"
        # It has mode 0600.
        handle, temporary = tempfile.mkstemp(dir=directory, prefix=f".{name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, path)
        except BaseException:
            pathlib.Path(temporary).unlink(missing_ok=True)
            raise
        return path

    def refuse(self, reason: str, problem: str, variables: Json, *, shown: str | None = None) -> Json:
        """End a run before it touches anything, and save the reason, a word, and the sentences of the problem.

        ``shown`` is how people are told of it, None = by these sentences.
        """
        directory = self.run_directory(variables)
        # A run that is refused at once has no directory yet.
        if directory and os.path.isdir(directory) and not any(name in variables for name in _TOUCHED):
            refusal: Json = {"schema": 1, "reason": reason, "problem": problem}
            # Which hosts are unknown is told in any case: the next run takes it for no news.
            if "balance_unknown_hosts" in variables:
                refusal["unknown_hosts"] = plain(self.given("balance_unknown_hosts", variables))
            # The sentences are told in any case.
            with contextlib.suppress(OSError):
                self.save(directory, "refused.json", json.dumps(refusal, indent=4, sort_keys=True), variables)
        return stop(shown or problem, refused=True)

    def read(self, path: pathlib.Path, wanted: str) -> str:
        """Return the text of a file, which may be encrypted with ansible-vault.

        Raises BalanceError where it cannot be read, which begins with ``wanted``, up to "and PATH is".
        """
        # A path that is too long, or below what may not be read, is no file either.
        if not os.path.isfile(path):
            raise BalanceError(f"{wanted} no file.")
        try:
            readable = self._loader.get_real_file(str(path))
            try:
                return pathlib.Path(readable).read_text(encoding="utf-8")
            finally:
                self._loader.cleanup_tmp_file(readable)
        except (OSError, UnicodeDecodeError, AnsibleError) as error:
            raise BalanceError(f"{wanted} not readable: {error}.") from error

    def run_module(self, name: str, arguments: Json, variables: Json) -> Json:
        """Run a module of the collection as a task of its own would, by its action plugin where it has one."""
        task = self._task.copy()
        task.action, task.args = name, arguments
        action = self._shared_loader_obj.action_loader.get(
            name,
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        if action is None:
            return dict(self._execute_module(module_name=name, module_args=arguments, task_vars=variables))
        return dict(action.run(task_vars=variables))


def stop(message: str, **more: t.Any) -> Json:
    """Fail with a message, and without the place in the collection's own files that Ansible prints beside it.

    ``more`` is added to the result: with ``refused`` the callback brief calls it a refusal.
    """
    if hasattr(AnsibleActionFail, "omit_exception_key"):
        raise _Stop(message, result=more)
    # Before ansible-core 2.19 it is an exception that would make Ansible print more.
    return {**more, "failed": True, "msg": message}


class _Stop(AnsibleActionFail):
    """A failure that is told by its message alone."""

    @property
    def omit_exception_key(self) -> bool:
        """Since ansible-core 2.19 the key is what makes callbacks print the error a second time, with its origin."""
        return True


def typed_path(text: str) -> pathlib.Path:
    """Return a path that somebody typed, from where they started the run: Ansible would look beside the playbook."""
    return pathlib.Path(os.path.realpath(os.path.expanduser(text)))


def host_variables(variables: Mapping[str, t.Any]) -> dict[str, Mapping[str, t.Any]]:
    """Return the variables of each host of the play, which Ansible puts together anew whenever it is asked."""
    return {name: variables["hostvars"][name] for name in everybody(variables)}


def of_hosts(known: Mapping[str, Mapping[str, t.Any]], *wanted: str) -> dict[str, Json]:
    """Return these of the variables of each host as plain data; null where a host has none."""
    return {name: {key: plain(own.get(key)) for key in wanted} for name, own in known.items()}


def everybody(variables: Mapping[str, t.Any]) -> list[str]:
    """Return the names of all hosts of the play, those that failed too."""
    return [str(name) for name in variables["ansible_play_hosts_all"]]


def gone(variables: Mapping[str, t.Any]) -> set[str]:
    """Return the hosts that failed or were lost earlier in the play, so that nothing is done on them any more."""
    return {*everybody(variables)} - {str(name) for name in variables["ansible_play_hosts"]}


def leases(variables: Mapping[str, t.Any]) -> Json:
    """Return what run_leases found last: ``failures`` by host, and ``at``, null where this run leases no host."""
    found = plain(variables.get("balance_leases")) or {}
    return {"failures": found.get("failures") or {}, "at": found.get("at")}


def outcomes(variables: Mapping[str, t.Any], more: Iterable[Json] = ()) -> list[Json]:
    """Return the result of each move, restart and step of the run so far, on whichever host it was made, and ``more``
    that no host had to do with."""
    latest = of_hosts(host_variables(variables), "balance_results")
    known = plain(variables.get("balance_outcomes")) or []
    found = [*(host["balance_results"] for host in latest.values()), {"results": list(more)}]
    return [dict(result) for result in collect(known, found)]
