# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Made loads of a day, each from a seed: 6 hosts of 16 threads, 36 domains of 8 vCPUs, a time each five minutes.

Domains have log-normal means, together 60 % of the fleet, and Gaussian noise with a standard deviation of a share of
the mean of each.
"""

from __future__ import annotations

import math
import random
import typing as t
from collections.abc import Callable
from datetime import UTC, datetime

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.recording import (
    RecordedDomain,
    RecordedHost,
    Recording,
)

from .planetlab import DOMAIN_FACTS, HOST_FACTS, STEP_SECONDS

HOSTS, THREADS, DOMAINS, VCPUS, TIMES = 6, 16, 36, 8, 288
LOAD = 0.6
_HALF_PERIOD = 6
"""Two halves take turns after so many times."""
Shape = Callable[[random.Random, int], t.Callable[[int], float]]
"""What a domain (by its number) wants at a time, against its mean."""


def _steady(_generator: random.Random, _number: int) -> Callable[[int], float]:
    return lambda time: 1.0


def _halves(_generator: random.Random, number: int) -> Callable[[int], float]:
    # Those of the first three hosts are busy, then those of the others.
    first = number % HOSTS < HOSTS // 2
    return lambda time: 2.0 if (time // _HALF_PERIOD % 2 == 0) == first else 0.05


def _daily(generator: random.Random, _number: int) -> Callable[[int], float]:
    phase = generator.random() * 0.25
    return lambda time: 1.0 + 0.6 * math.sin(2.0 * math.pi * (time / TIMES + phase))


def _growing(_generator: random.Random, number: int) -> Callable[[int], float]:
    # A fleet that grows evenly needs nobody: those of one host do, by half over the day.
    grows = number % HOSTS == 0
    return lambda time: 0.75 + 0.75 * time / TIMES if grows else 1.0


def _bursts(generator: random.Random, _number: int) -> Callable[[int], float]:
    left = 0

    def wants(_time: int) -> float:
        nonlocal left
        if left:
            left -= 1
        elif generator.random() < 0.01:
            left = generator.randint(3, 12)
        return 2.5 if left else 0.8

    return wants


KINDS: dict[str, tuple[Shape, float]] = {
    "steady .1": (_steady, 0.1),
    "steady .5": (_steady, 0.5),
    "halves": (_halves, 0.1),
    "daily": (_daily, 0.2),
    "grows": (_growing, 0.2),
    "bursts": (_bursts, 0.2),
}
"""Each with its shape and the deviation of its noise."""


def recording(kind: str, seed: int) -> Recording:
    """A day of this kind."""
    shape, deviation = KINDS[kind]
    generator = random.Random(seed)
    means = [generator.lognormvariate(0.0, 0.5) for _domain in range(DOMAINS)]
    unit = LOAD * HOSTS * THREADS / sum(means)
    hosts = {
        name: RecordedHost(name, THREADS, 65536.0, facts=HOST_FACTS)
        for name in (f"kvm{number + 1}" for number in range(HOSTS))
    }
    domains = {}
    for number, share in enumerate(means):
        mean, wants = share * unit, shape(generator, number)
        wanted = []
        for time in range(TIMES):
            level = mean * wants(time)
            wanted.append(max(0.0, min(level * (1.0 + generator.gauss(0.0, deviation)), level * 4.0, VCPUS)))
        uuid = f"{number:08x}-0000-4000-8000-000000000000"
        where = [f"kvm{number % HOSTS + 1}"] * TIMES
        mib = float(generator.choice((2048, 4096, 8192)))
        domains[uuid] = RecordedDomain(uuid, f"web-{number}", VCPUS, mib, where, wanted, facts=DOMAIN_FACTS)
    return Recording(datetime(2026, 1, 31, tzinfo=UTC), STEP_SECONDS, TIMES, hosts, domains)
