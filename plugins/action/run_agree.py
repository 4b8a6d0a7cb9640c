# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Collects what hosts answered about the moves of a plan, plans again where they refuse, and says what to ask next."""

from __future__ import annotations

import contextlib
import json
import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.plan import allocation_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document, plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.answers import read_answers
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.agreement import mark
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan as make_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._run import agreement
from ansible_collections.virtops.balance.plugins.plugin_utils._run_action import (
    Json,
    RunAction,
    host_variables,
    of_hosts,
)

# What a destination was observed with and its libvirt may not tell.
_SEEN = ("bridges", "mounts", "zfs_cache_mib", "shared_memory_mib")


class ActionModule(RunAction):
    """The action; its documentation is that of the module of the same name."""

    spec: t.ClassVar[Json] = {
        "begin": {"type": "bool", "default": False},
        "allocate": {"type": "bool", "default": False},
    }

    def act(self, arguments: Json, variables: Json) -> Json:
        """Collect the answers, make the next plan with them, and the next questions."""
        before = {} if arguments["begin"] else plain(variables["balance_agree"])
        plan = before.get("plan") or plain(self.given("balance_plan", variables))
        if "problem" in plan:
            return _told(plan, [], 0, {})
        fleet = document(self.given("balance_fleet", variables), "The snapshot")
        known = host_variables(variables)
        answers, rounds = list(before.get("answers") or ()), int(before.get("rounds") or 0)
        if before:
            asked = {source: one["questions"] for source, one in before["ask"].items()}
            results = {source: own["balance_asked"] for source, own in of_hosts(known, "balance_asked").items()}
            answers += agreement.answered(asked, results)
            rounds += 1
            plan = self._with_answers(plan, fleet, answers, variables, allocate=arguments["allocate"])
            self._save(answers, variables)
        ask: agreement.Questions = {}
        if "problem" not in plan and rounds < plan["policy"]["agree_rounds"]:
            ask, silent = agreement.without_a_connection(
                agreement.questions(plan, fleet["domains"], answers), answers, fleet["domains"]
            )
            answers += silent
            if silent:
                mark(plan["waves"], read_answers(answers))
        return _told(plan, answers, rounds, _tasks(ask, known))

    def _with_answers(self, plan: Json, fleet: Json, answers: list[Json], variables: Json, *, allocate: bool) -> Json:
        """Return the plan that the answers leave: the same where none of its moves was refused."""
        if not agreement.refused(plan, answers):
            mark(plan["waves"], read_answers(answers))
            return plan
        try:
            if allocate:
                domains, allocation = (
                    plain(self.given(f"balance_{name}", variables)) for name in ("domains", "allocation")
                )
                return allocation_plan(fleet, domains, allocation, plan["policy"], answers=answers)
            return make_plan(fleet, plan["policy"], answers=answers)
        except BalanceError as error:
            return {"problem": str(error)}

    def _save(self, answers: list[Json], variables: Json) -> None:
        """Save the answers beside the snapshot: the plan was made from both."""
        directory = self.run_directory(variables)
        # What is wrong with the directory is told when the plan itself is saved.
        if directory is not None:
            with contextlib.suppress(OSError):
                self.save(directory, "answers.json", json.dumps(answers, indent=4, sort_keys=True), variables)


def _tasks(ask: agreement.Questions, known: t.Mapping[str, t.Mapping[str, t.Any]]) -> Json:
    """Return the options of domain_migrate_info for each host that has to ask."""
    names = {question["destination"] for questions in ask.values() for question in questions}
    wanted = ("ansible_host", "balance_migration_uri", "balance_observation")
    facts = of_hosts({name: known[name] for name in sorted(names)}, *wanted)
    briefs = {name: (own["balance_observation"] or {}).get("brief") or {} for name, own in facts.items()}
    destinations = {
        name: {
            "name": name,
            "uri": agreement.migration_uri(name, own),
            **{key: briefs[name].get(key) for key in _SEEN},
        }
        for name, own in facts.items()
    }
    return {
        source: {
            "questions": questions,
            "destinations": [destinations[name] for name in sorted({one["destination"] for one in questions})],
        }
        for source, questions in ask.items()
    }


def _told(plan: Json, answers: list[Json], rounds: int, ask: Json) -> Json:
    # Whoever wants to see all of it with -v looks at the files of the run.
    return {"plan": plan, "answers": answers, "rounds": rounds, "ask": ask, "_ansible_verbose_override": True}
