# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter timeline_report: histories of hosts and runs of rebalance -> an HTML page."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document, plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._report.timeline_page import timeline_page


def timeline_report(
    snapshot: t.Any,
    runs: t.Any,
    begin: t.Any = None,
    title: t.Any = "Hosts over time",
    events: t.Any = None,
    settings: t.Any = None,
) -> str:
    """Make the page, see the documentation beside this file."""
    try:
        return timeline_page(
            document(snapshot, "The snapshot"),
            plain(runs),
            begin=plain(begin),
            title=plain(title),
            events=plain(events),
            settings=plain(settings),
        )
    except BalanceError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"timeline_report": timeline_report}
