# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Fleets in the text format of Ganeti's htools, and what hbal prints (source: hbal(1), htools(1), src/Ganeti/HTools).

A domain is an instance of the disk template ``ext``, which is storage that every host reaches: the only move is then a
migration to any host. Disks and spindles are 0, so that they do not count. With the utilisation file (-U) the load of
an instance is its CPU as a fraction of a host's threads; memory, disk and network loads are 0, memory is in the score
already. What is left of hbal's score is then

    sd(free memory / memory) + sd(vCPUs / thread) + sd(wanted CPU / threads)

with population standard deviations over the hosts (the first two are made of two terms of weight 0.5 each), plus the
number of domains on hosts whose memory is promised more than once (hbal says that such a host fails its N+1 check).

hbal knows no limit of memory but the size of a host, so it is given hosts that are as large as the limit of the fleets:
all engines have the same one. It does not divide the load of a host by its size: on hosts of unequal sizes it levels
cores, not shares, and its score is computed here, of shares.
"""

from __future__ import annotations

import re
import statistics
import typing as t

from .fleets import MEMORY_FILL, VCPU_RATIO, Fleet, Host, loads

_GROUP = "11111111-1111-4111-8111-111111111111"
_TEMPLATE = "ext"
_SPECIFICATIONS = "0,1,0,1,1,0;1048576,1024,1048576,16,16,0"
_STEP = re.compile(r"^ *[0-9]+\. (\S+) +(\S+) +=> +(\S+) ", re.MULTILINE)
_SCORE = re.compile(r"^Initial score: ([0-9.]+)", re.MULTILINE)


class Step(t.NamedTuple):
    """One line of hbal's solution."""

    domain: str
    source: str
    destination: str


def cluster(fleet: Fleet, placement: t.Sequence[int]) -> str:
    """The five sections of htools' text format: group, nodes, instances, tags, policy."""
    nodes = []
    for index, (host, load) in enumerate(zip(fleet.hosts, loads(fleet, placement), strict=True)):
        limit = memory_limit(host)
        free = limit - load.maximum_mib
        role = "M" if index == 0 else "N"
        sizes = f"{limit}|{host.own_mib}|{free:.0f}|0|0|{host.threads}"
        nodes.append(f"{host.name}|{sizes}|{role}|{_GROUP}|1")
    instances = [
        f"{domain.name}|{domain.maximum_mib}|0|{domain.vcpus}|running|Y|{fleet.hosts[host].name}||{_TEMPLATE}||0"
        for domain, host in zip(fleet.domains, placement, strict=True)
    ]
    policy = f"0,1,0,1,1,0|{_SPECIFICATIONS}|{_TEMPLATE}|{VCPU_RATIO}|1000000.0"
    sections = [[f"default|{_GROUP}|preferred||"], nodes, instances, [""], [f"|{policy}", f"default|{policy}"]]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def memory_limit(host: Host) -> int:
    """What domains and the host itself may have of its memory, in MiB."""
    return int(host.memory_mib * MEMORY_FILL)


def utilisation(fleet: Fleet) -> str:
    """The file for -U: what each instance uses, as a fraction of a host of mean size."""
    threads = sum(host.threads for host in fleet.hosts) / len(fleet.hosts)
    return "".join(f"{domain.name} {domain.cores / threads:.8f} 0 0 0\n" for domain in fleet.domains)


def score(fleet: Fleet, placement: t.Sequence[int]) -> float:
    """The score that hbal prints for ``cluster`` and ``utilisation``, for fleets that hbal takes too long to read."""
    carried = list(zip(fleet.hosts, loads(fleet, placement), strict=True))
    return (
        statistics.pstdev(load.maximum_mib / memory_limit(host) for host, load in carried)
        + statistics.pstdev(load.vcpus / host.threads for host, load in carried)
        + statistics.pstdev(load.cores / host.threads for host, load in carried)
        + sum(load.domains for host, load in carried if load.maximum_mib > memory_limit(host))
    )


def initial_score(output: str) -> float:
    """The score of the placement that hbal was given. Raises ValueError where it printed none."""
    found = _SCORE.search(output)
    if found is None:
        raise ValueError(f"hbal printed no score but: {output.strip()[-300:]!r}")
    return float(found[1])


def steps(output: str) -> list[Step]:
    """The moves that hbal printed, in their order; a domain may be in several of them."""
    return [Step(*line) for line in _STEP.findall(output)]
