# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Replays a recorded history under policies on the control node, and saves what would have come of each."""

from __future__ import annotations

import json
import pathlib
import typing as t
from collections.abc import Iterable

from ansible.utils.display import Display

from ansible_collections.virtops.balance.plugins.plugin_utils import _backtest_files as files
from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import plain, settings
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest import study
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.readers.prometheus import read_histories
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.samples import recording_of
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.suggest import grid
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest_process import replay_all
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import nearest
from ansible_collections.virtops.balance.plugins.plugin_utils._report.backtest_page import backtest_page
from ansible_collections.virtops.balance.plugins.plugin_utils._report.backtest_table import backtest_csv, backtest_table
from ansible_collections.virtops.balance.plugins.plugin_utils._run_action import Json, RunAction, stop, typed_path
from ansible_collections.virtops.balance.plugins.plugin_utils._text import clean

HISTORY = "virtops.balance.prometheus_history_info"
PROMETHEUS = "prometheus"
RUNS = "~/.local/state/virtops.balance"
"""Where runs are saved unless balance_run_dir says otherwise."""
PREFIX = "backtest_"
VARIABLES = frozenset(
    (
        *("backtest_changes", "backtest_dir", "backtest_hosts", "backtest_minutes", "backtest_policies"),
        *("backtest_processes", "backtest_settings", "backtest_snapshot", "backtest_source", "backtest_step"),
        "backtest_suggest",
    )
)
"""The variables of the playbook."""
RESULT = "backtest_result"
"""What the playbook registers."""
_POLICY, _CHANGES = "balance_policy", "balance_policy_changes"
_WATTS = "Set balance_power_model"
_WATTS_OF_ROWS = "Fill the columns idle_watts and max_watts of backtest_hosts"
"""What one does to have energy modelled, by source."""
_MINUTES, _STEP = 1440.0, 300.0
"""What Prometheus is asked for where no other time is named."""


class ActionModule(RunAction):
    """The action; its documentation is that of the module of the same name."""

    spec: t.ClassVar[Json] = {
        "source": {"type": "str"},
        "hosts": {"type": "str"},
        "snapshot": {"type": "str"},
        "minutes": {"type": "float"},
        "step": {"type": "float"},
        "policy": {"type": "raw"},
        "policies": {"type": "raw"},
        "changes": {"type": "raw"},
        "settings": {"type": "raw"},
        "processes": {"type": "int"},
        "suggest": {"type": "bool", "default": False},
        "directory": {"type": "str", "required": True},
        "prometheus": {"type": "dict"},
    }

    def act(self, arguments: Json, variables: Json) -> Json:
        """Read, replay, report."""
        try:
            _check_names(variables)
            for name in ("minutes", "step", "processes"):
                if arguments[name] is not None and arguments[name] < 1:
                    raise BalanceError(f"backtest_{name} must be at least 1, not {arguments[name]:g}.")
            return self._study(arguments, variables)
        except BalanceError as error:
            return stop(str(error))

    def _study(self, arguments: Json, variables: Json) -> Json:
        how = study.read_settings(settings(arguments["settings"], "backtest_settings"), "backtest_settings")
        policies = settings(arguments["policies"], "backtest_policies")
        changes = settings(arguments["changes"], "backtest_changes")
        # What is wrong with them is told before large files are read.
        study.named_policies(policies, changes, {})
        source = self._read(arguments, variables)
        if arguments["minutes"] is not None:
            source.samples.last(arguments["minutes"])
        found = recording_of(source.samples, arguments["step"])
        found.notes[:0] = source.notes
        base, whose = self._base(arguments, variables, found.recording.hosts)
        complete = study.named_policies(policies, changes, base)
        study.check_hosts(complete, found.recording)
        if arguments["suggest"]:
            if len(complete) > 1:
                raise BalanceError(
                    "Suggestions are changes of one policy, and there are several. Leave out "
                    "backtest_changes, and name one policy at most in backtest_policies."
                )
            complete |= grid(next(iter(complete.values())))
        directory = typed_path(arguments["directory"])
        display = Display()
        try:
            files.make_directory(directory / "work")
            replayed = replay_all(
                *(found.recording, complete, how, directory / "work"),
                processes=arguments["processes"],
                tell=lambda line: display.display(clean(line)),
            )
            results = study.results_of(
                *(found, complete, how, replayed),
                source=source.told,
                suggest=arguments["suggest"],
                base=whose,
                watts=_WATTS_OF_ROWS if arguments["hosts"] or source.rows else _WATTS,
            )
            paths = _save(directory, results)
        except OSError as error:
            raise BalanceError(
                f"The results cannot be saved in {directory}: {error.strerror}. Name another directory with "
                "-e backtest_dir=DIRECTORY."
            ) from error
        figures = [
            {key: value for key, value in result.items() if key not in ("hosts", "made")}
            for result in results["results"]
        ]
        saved = f"Saved as {' and '.join(paths)} in\n{clean(directory)}"
        return {"table": f"{backtest_table(results)}\n\n{saved}", "figures": figures, "files": paths}

    def _read(self, arguments: Json, variables: Json) -> files.Source:
        hosts, snapshot = (typed_path(arguments[name]) if arguments[name] else None for name in ("hosts", "snapshot"))
        runs = typed_path(RUNS)
        if arguments["source"] == PROMETHEUS:
            return self._ask_prometheus(arguments, variables, snapshot)
        path = typed_path(arguments["source"]) if arguments["source"] else runs
        if not arguments["source"] and not path.is_dir():
            raise BalanceError(
                f"There are no saved runs of rebalance in {path} yet. Name what to replay with -e "
                "backtest_source=PATH: a directory of saved runs or of stores, or a CSV file."
            )
        return files.read_files(path, hosts=hosts, snapshot=snapshot, runs=runs)

    def _ask_prometheus(self, arguments: Json, variables: Json, path: pathlib.Path | None) -> files.Source:
        server = plain(arguments["prometheus"])
        if not server or not server.get("url"):
            raise BalanceError("Where Prometheus is has to be said with balance_prometheus, such as {url: http://...}.")
        if path is None:
            raise BalanceError(
                "Prometheus does not know how many threads hosts have and what suits them: name a saved snapshot with "
                "-e backtest_snapshot=FILE."
            )
        snapshot = files.read_snapshot(path)
        asked = {
            "history": int(arguments["minutes"] or _MINUTES),
            "history_step": int(arguments["step"] or _STEP),
            "as_json": True,
            "hosts": {name: _names(variables["hostvars"].get(name) or {}) for name in snapshot["hosts"]},
        }
        said = self.run_module(HISTORY, {**server, **asked}, variables)
        if said.get("failed"):
            raise BalanceError(str(said.get("msg")))
        return files.Source(
            read_histories(json.loads(said["histories"]), snapshot), f"Prometheus at {server['url']}", []
        )

    def _base(self, arguments: Json, variables: Json, hosts: Iterable[str]) -> tuple[Json, str]:
        """The policy of the inventory, and whose it is: that of this play, or else of the first recorded host that has
        one, with balance_policy_changes of the same."""
        known = variables["hostvars"]
        having = [name for name in hosts if name in known and {_POLICY, _CHANGES} & {*known[name]}]
        name = next((one for one in having if _POLICY in known[one]), next(iter(having), None))
        own = {} if name is None else known[name]
        if arguments["policy"] is not None:
            policy, whose = arguments["policy"], "balance_policy as this play has it"
        elif _POLICY in own:
            policy, whose = own[_POLICY], f"that of {name} in the inventory"
        else:
            policy, whose = {}, "the defaults, because no recorded host has a balance_policy in the inventory"
        differs = self._templar.template(variables[_CHANGES]) if _CHANGES in variables else own.get(_CHANGES)
        changes = settings(differs, _CHANGES)
        return {**settings(policy, _POLICY), **changes}, f"{whose}, with {_CHANGES}" if changes else whose


def _check_names(variables: Json) -> None:
    """Raise BalanceError for a variable that begins like those of the playbook and is none: it would do nothing."""
    for name in sorted(variables):
        if name.startswith(PREFIX) and name not in VARIABLES and name != RESULT:
            raise BalanceError(f"There is no variable {name}: {nearest(name, VARIABLES)}")


def _names(host: t.Any) -> list[str]:
    """The names under which Prometheus may know a host besides that of the inventory."""
    return [str(name) for name in (*(host.get("balance_prometheus_names") or ()), host.get("ansible_host")) if name]


def _save(directory: pathlib.Path, results: Json) -> dict[str, str]:
    return files.save(
        directory,
        {
            "backtest.html": backtest_page(results),
            "backtest.csv": backtest_csv(results),
            "backtest.json": json.dumps(results),
        },
    )
