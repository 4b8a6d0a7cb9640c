# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Fail with a message, without the place in the files of the collection that Ansible prints beside it."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """The action; its documentation is that of the module of the same name."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Fail, and change nothing."""
        result = super().run(tmp, task_vars)
        _spec, arguments = self.validate_argument_spec(argument_spec={"msg": {"type": "str", "required": True}})
        if hasattr(AnsibleActionFail, "omit_exception_key"):
            raise _Stop(arguments["msg"])
        # Before ansible-core 2.19 it is an exception that would make Ansible print more.
        return {**result, "failed": True, "msg": arguments["msg"]}


class _Stop(AnsibleActionFail):
    """A failure that is printed as its message only."""

    @property
    def omit_exception_key(self) -> bool:
        """Since ansible-core 2.19 the key is what makes callbacks print the error a second time, with its origin."""
        return True
