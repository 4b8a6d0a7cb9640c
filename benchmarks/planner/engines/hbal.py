# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Ganeti's hbal (text backend, shared storage, -U), until it finds no better move."""

from __future__ import annotations

from .. import hbal_format, meter
from ..checker import Step
from ..fleets import Fleet
from . import Engine, NotFinishedError, Outcome, Request, register


def run(fleet: Fleet, request: Request) -> Outcome:
    """Plan with hbal; each of its steps is one migration, a domain may take several."""
    data, loads = request.directory / "cluster", request.directory / "utilisation"
    data.write_text(hbal_format.cluster(fleet, fleet.placement), encoding="utf-8")
    loads.write_text(hbal_format.utilisation(fleet), encoding="utf-8")
    command = ["hbal", "-t", str(data), "-U", str(loads)]
    reading = meter.run([*command, "--max-length=0"], request.directory)
    planning = meter.run(command, request.directory)
    if planning.status < 0 or reading.status < 0:
        raise NotFinishedError(f"stopped after {request.limit_seconds} CPU seconds")
    hbal_format.initial_score(planning.output)  # it has read the fleet, or says why not
    domains = {domain.name: index for index, domain in enumerate(fleet.domains)}
    hosts = {host.name: index for index, host in enumerate(fleet.hosts)}
    steps = [
        Step(domains[domain], hosts[source], hosts[destination])
        for domain, source, destination in hbal_format.steps(planning.output)
    ]
    moved = len({step.domain for step in steps})
    return Outcome(
        [steps],
        ordered=False,
        cpu_seconds=planning.cpu_seconds - reading.cpu_seconds,
        peak_mib=planning.peak_mib,
        note=f"{moved} domains" if moved != len(steps) else "",
    )


register(
    Engine("hbal", run, peer="hbal", program="hbal", install="install Ganeti's htools (Debian: ganeti-htools)"),
)
