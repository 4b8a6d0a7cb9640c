# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Filters of the benchmark HPL."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_filter import Filter, as_filter
from ansible_collections.virtops.balance.plugins.plugin_utils._hpl import hpl_input as make_input
from ansible_collections.virtops.balance.plugins.plugin_utils._hpl import hpl_result as read_result


@as_filter()
def hpl_input(nodes: t.Any, share: t.Any = 0.5, block: t.Any = 128, n: t.Any = None) -> dict[str, t.Any]:
    """Make the input files of HPL for some machines."""
    return make_input(nodes, share=share, block=block, n=n)


@as_filter()
def hpl_result(output: t.Any) -> dict[str, t.Any]:
    """Read the result of HPL from its output."""
    return read_result(output)


class FilterModule:
    """Filters of HPL."""

    def filters(self) -> dict[str, Filter]:
        """Return the filters by name."""
        return {"hpl_input": hpl_input, "hpl_result": hpl_result}
