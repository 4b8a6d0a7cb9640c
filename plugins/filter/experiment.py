# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Filters of the role experiment."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_filter import Filter, as_filter, json_of
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.lab import measured, steps
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.model import Experiment, from_csv, run, to_csv
from ansible_collections.virtops.balance.plugins.plugin_utils._experiment.page import experiment_page


@as_filter()
def experiment(settings: t.Any, strategy: t.Any) -> str:
    """Run an experiment with one strategy on the model."""
    wanted = Experiment.from_mapping(settings)
    return to_csv(wanted, run(wanted, strategy))


@as_filter(snapshot=json_of("The snapshot"), seconds=float)
def experiment_measured(
    results: t.Any, settings: t.Any, plan: t.Any, snapshot: t.Any, pool: t.Any, seconds: float
) -> str:
    """Add the row of one step in the lab to the results."""
    return measured(Experiment.from_mapping(settings), results, plan, snapshot, pool=pool, seconds=seconds)


@as_filter()
def experiment_report(results: t.Any, settings: t.Any) -> str:
    """Show the results of an experiment as an HTML page."""
    wanted = Experiment.from_mapping(settings)
    return experiment_page(wanted, [row for text in results for row in from_csv(wanted, text)])


@as_filter()
def experiment_settings(settings: t.Any) -> dict[str, t.Any]:
    """Complete the settings of an experiment."""
    return Experiment.from_mapping(settings).to_mapping()


@as_filter()
def experiment_steps(settings: t.Any, results: t.Any, pool: t.Any, directory: t.Any) -> list[dict[str, t.Any]]:
    """List the steps that an experiment in the lab has left."""
    return steps(Experiment.from_mapping(settings), results, pool, directory)


class FilterModule:
    """Filters of experiments."""

    def filters(self) -> dict[str, Filter]:
        """Return the filters by name."""
        return {
            "experiment": experiment,
            "experiment_measured": experiment_measured,
            "experiment_report": experiment_report,
            "experiment_settings": experiment_settings,
            "experiment_steps": experiment_steps,
        }
