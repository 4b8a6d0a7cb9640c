# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Checks the variables of all hosts and the policy, once in a run."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterable, Mapping

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import plain, settings
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._role_variables import PREFIX, unknown_variables
from ansible_collections.virtops.balance.plugins.plugin_utils._run.variables import stray_words, wrong_value
from ansible_collections.virtops.balance.plugins.plugin_utils._run_action import Json, RunAction, host_variables

NUMBERS = (
    "balance_interval",
    "balance_history",
    "balance_history_step",
    "balance_settle_seconds",
    "balance_shutdown_seconds",
    "balance_lease_seconds",
    "balance_lease_wait_seconds",
)


class ActionModule(RunAction):
    """The action; its documentation is that of the module of the same name."""

    spec: t.ClassVar[Json] = {
        "values": {"type": "bool", "default": True},
        "words": {"type": "bool", "default": False},
        "left_out": {"type": "list", "elements": "str", "default": []},
    }

    def act(self, arguments: Json, variables: Json) -> Json:
        """Refuse to run for the first reason that there is, if any."""
        for reason, problem in self._problems(arguments, variables):
            if problem:
                return self.refuse(reason, problem, variables)
        return {}

    def _problems(self, arguments: Json, variables: Json) -> Iterable[tuple[str, str | None]]:
        words = stray_words(variables.get("_raw_params"))
        if arguments["words"]:
            yield "variables", words
        known = host_variables(variables)
        yield "variables", " ".join(unknown_variables(_names(known, variables)))
        if not arguments["values"]:
            return
        yield "variables", words
        numbers = {name: self._value(name, variables) for name in NUMBERS}
        source, prometheus = (self._value(f"balance_{name}", variables) for name in ("history_source", "prometheus"))
        yield "variables", wrong_value(numbers, source, prometheus)
        yield "inventory", _left_out(arguments["left_out"])
        yield "plan", self._policy_problem(variables)
        yield "variables", self._type_problem(known, variables)

    def _value(self, name: str, variables: Mapping[str, t.Any]) -> t.Any:
        return plain(self._templar.template(variables[name]))

    def _policy_problem(self, variables: Json) -> str | None:
        policy, changes = (self._value(f"balance_{name}", variables) for name in ("policy", "policy_changes"))
        try:
            Policy.from_mapping({**settings(policy, "The policy"), **settings(changes, "What changes in the policy")})
        except BalanceError as error:
            return str(error)
        return None

    def _type_problem(self, known: Mapping[str, Mapping[str, t.Any]], variables: Json) -> str | None:
        """Return the first error by argument_specs.yml of the role in the values of the run or of a host."""
        spec = self._options()
        given = {name: self._value(name, variables) for name in spec if name in variables}
        problem = _problem(spec, given)
        if problem:
            return problem
        # Most hosts have the same values, or none.
        seen = set()
        for host, own in known.items():
            given = {name: plain(own[name]) for name in own if name in spec}
            text = json.dumps(given, sort_keys=True, default=str)
            if text not in seen:
                seen.add(text)
                problem = _problem(spec, given)
                if problem:
                    return f"{host}: {problem}"
        return None

    def _options(self) -> dict[str, Json]:
        """Return the options of all entry points of the role, none of them required: the entry points check that."""
        path = f"{self._task._role._role_path}/meta/argument_specs.yml"
        specs = plain(self._loader.load_from_file(path))["argument_specs"]
        wanted: dict[str, Json] = {}
        for entry in specs.values():
            for name, option in (entry.get("options") or {}).items():
                wanted[name] = {key: value for key, value in option.items() if key not in ("required", "default")}
        # It may have passwords in it that have to be looked up; the module that it is for looks at it.
        wanted.pop("balance_power_control", None)
        return wanted


def _names(known: Mapping[str, Mapping[str, t.Any]], variables: Json) -> list[str]:
    names = {name for own in known.values() for name in own if name.startswith(PREFIX)}
    return [str(name) for name in {*names, *variables}]


def _left_out(hosts: list[str]) -> str | None:
    if not hosts:
        return None
    return (
        f"--limit leaves out {', '.join(sorted(hosts))}, and nobody would know what runs there. "
        "Say which hosts are to be balanced with -e balance_hosts=PATTERN."
    )


def _problem(spec: Mapping[str, Json], given: Json) -> str | None:
    used = {name: option for name, option in spec.items() if name in given}
    return " ".join(ArgumentSpecValidator(used).validate(given).error_messages) or None
