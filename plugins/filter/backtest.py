# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Filters that replay the past under policies."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_filter import (
    Filter,
    as_filter,
    json_of,
    list_of,
    mapping_of,
    yaml_of,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.readers.csv_rows import name_domains, read_rows
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.samples import recording_of
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.study import (
    check_hosts,
    named_policies,
    read_settings,
    replay,
    results_of,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._report.backtest_table import (
    backtest_table as make_backtest_table,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._text import shown


@as_filter(
    rows=list_of("The rows", dict),
    hosts=mapping_of("hosts"),
    snapshot=mapping_of("The snapshot"),
    policies=yaml_of("The policies"),
    settings=yaml_of("The settings"),
)
def backtest(
    rows: list[t.Any],
    hosts: t.Any = None,
    policies: t.Any = None,
    snapshot: t.Any = None,
    settings: t.Any = None,
    step: float | None = None,
) -> dict[str, t.Any]:
    """Replay rows of domains over time under policies."""
    samples = read_rows(enumerate(rows, 1), "The rows")
    if snapshot is not None:
        Snapshot.from_mapping(snapshot)
        samples.know(snapshot)
    for name, facts in (hosts or {}).items():
        if not isinstance(facts, dict):
            raise BalanceError(f"hosts must have a mapping for each host, and {name} has {shown(facts)}.")
        samples.host_facts[name] = {**samples.host_facts.get(name, {}), **facts}
    name_domains(samples)
    how = read_settings(settings)
    complete = named_policies(policies, None, {})
    found = recording_of(samples, step)
    check_hosts(complete, found.recording)
    replayed = {name: replay(found.recording, policy, how) for name, policy in complete.items()}
    return results_of(found, complete, how, replayed, source="rows", watts="Give them a power_model in hosts")


@as_filter(results=json_of("The results"))
def backtest_table(results: t.Any) -> str:
    """Show the results of a backtest as text for a terminal."""
    return make_backtest_table(results)


class FilterModule:
    """Filters of backtests."""

    def filters(self) -> dict[str, Filter]:
        """Return the filters by name."""
        return {"backtest": backtest, "backtest_table": backtest_table}
