# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter hpl_input: the input files of the benchmark HPL for some machines."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._hpl import hpl_input as make_input


def hpl_input(nodes: t.Any, share: t.Any = 0.5, block: t.Any = 128, n: t.Any = None) -> dict[str, t.Any]:
    """Make them, see the documentation beside this file."""
    try:
        return make_input(plain(nodes), share=plain(share), block=plain(block), n=plain(n))
    except BalanceError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"hpl_input": hpl_input}
