# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Takes a plan that was made before, and perhaps approved, in place of planning, where it still fits."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document, plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.revalidate import objections
from ansible_collections.virtops.balance.plugins.plugin_utils._run_action import Json, RunAction, typed_path

MOST_OBJECTIONS = 10
# What does not begin as JSON does is the file that a run saved the plan in.
PATH = re.compile(r"\s*[^{\s]")


class ActionModule(RunAction):
    """The action; its documentation is that of the module of the same name."""

    spec: t.ClassVar[Json] = {"plan": {"type": "raw", "required": True}}

    def act(self, arguments: Json, variables: Json) -> Json:
        """Check the plan against the fleet and return it."""
        given = plain(arguments["plan"])
        if isinstance(given, str) and PATH.match(given):
            path = typed_path(given)
            wanted = (
                f"balance_approved_plan must be a plan or the path of a plan.json that a run has saved, and {path} is"
            )
            try:
                given = self.read(path, wanted)
            except BalanceError as error:
                return self.refuse("approved_plan", str(error), variables)
        try:
            approved = document(given, "The approved plan")
            found = objections(approved, document(self.given("balance_fleet", variables), "The snapshot"))
        except BalanceError as error:
            # A plan that cannot be checked cannot be carried out either.
            approved, found = None, [str(error)]
        if found:
            more = ["There is more."] if len(found) > MOST_OBJECTIONS else []
            told = ["The approved plan is not carried out.", *found[:MOST_OBJECTIONS], *more]
            return self.refuse("approved_plan", " ".join(told), variables)
        # The fact that is made of it is what -v shows.
        return {"plan": approved, "_ansible_verbose_override": True}
