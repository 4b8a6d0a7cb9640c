# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The CPU that domains and hosts will want, by what they wanted before.

An overloaded host hides demand, because a domain that waits for a physical CPU uses less than it wants. What a domain
wants is therefore ``cores / (1 - ready)``, at most its vCPUs and at most its cap, and never less than what it used:
now, and in each step of its history. Cores are those of a thread of speed 1.

The policy's predictors look at such series: ``demand`` at that of a domain, ``host_demand`` at the sum of all that a
host carries. So domains that are busy at different times may share a host that those busy at the same time may not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ansible_collections.virtops.balance.plugins.plugin_utils._demand.registry import Predictor, Window, predictors
from ansible_collections.virtops.balance.plugins.plugin_utils._options import read
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.algorithm import Algorithm
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.history import Samples, Series
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Domain, Host, Snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse

LATE_STEPS = 3
"""A history that ends more steps than this before the snapshot, or after it, says nothing about the present."""

_EVERYTHING_WAITS = 0.999
_LEAST_SAMPLES = 3
_NO_LIMIT = math.inf


class Demand:
    """The predictors of a policy, for one snapshot.

    ``steps``: the steps of all series, as of one history of the snapshot; None if there is none that is recent.
    ``sums``: are hosts judged by the sum of series? ``domain_by``, ``host_by``: who judges domains, and sums.
    """

    __slots__ = ("domain_by", "host_by", "steps", "sums")

    def __init__(self, snapshot: Snapshot, policy: Policy) -> None:
        self.steps = _steps(snapshot)
        self.domain_by = Chosen(policy.demand, self.steps)
        self.host_by = Chosen(policy.host_demand, self.steps)
        self.sums = self.steps is not None and self.host_by.looks_back

    def series(self, domain: Domain, speed: float) -> tuple[list[float], float] | None:
        """The cores that the domain wanted in each step, and the mean of those that it wanted and did not get; None if
        too little is known. A step that is missing has the mean of the others."""
        used = self._aligned(domain.history)
        if used is None:
            return None
        samples, waited = used, 0.0
        if domain.ready_history is not None and any(domain.ready_history.samples):
            ready = self._aligned(domain.ready_history)
            samples = used if ready is None else _wanted(domain, used, ready)
        known = [sample for sample in samples if sample is not None]
        if len(known) < _LEAST_SAMPLES or not _recent(samples):
            return None
        usual = sum(known) / len(known)
        if samples is not used:
            waited = usual - sum([sample for sample in used if sample is not None]) / len(known)
        return [(usual if sample is None else sample) * speed for sample in samples], waited * speed

    def own(self, host: Host, domains: Iterable[Domain], now: float) -> list[float] | None:
        """The cores that a host kept busy itself in each step, ``now`` in one that is missing; None if not known.
        Where only its whole use is known, what its present domains used since they came is off it."""
        if self.steps is None:
            return None
        samples = self._aligned(host.own_history)
        if samples is None:
            samples, threads = self._aligned(host.history), host.threads or 0
            if samples is not None:
                samples = tuple([None if use is None else use * threads for use in samples])
                for domain in domains:
                    samples = self._without(samples, domain)
        if samples is None or not _recent(samples):
            return None
        return [now if cores is None else max(0.0, cores) * host.speed for cores in samples]

    def _aligned(self, series: Series | None) -> Samples | None:
        found = None if series is None or self.steps is None else series.aligned(self.steps)
        return None if found is None else found.samples

    def _without(self, samples: Samples, domain: Domain) -> Samples:
        """The use of a host without a domain, in the steps since it came; where its use is not known, that of now."""
        used = self._aligned(domain.history) or (None,) * len(samples)
        now, away = domain.cpu_cores or 0.0, self._steps_away(domain)
        pairs = zip(samples[away:], used[away:], strict=True)
        return samples[:away] + tuple(
            [None if cores is None else cores - (now if own is None else own) for cores, own in pairs]
        )

    def _steps_away(self, domain: Domain) -> int:
        """The number of steps that had ended when the domain came to its host."""
        came = domain.moved_at
        if came is None or self.steps is None or self.steps.ends_at is None:
            return 0
        # No more steps than there are, because they may be of any length.
        size = len(self.steps.samples)
        return size - max(0, math.ceil(min((self.steps.ends_at - came).total_seconds() / self.steps.step, size)))

    def reach(self, domain: Domain) -> float:
        """How far back the history of the domain goes, in minutes; 0 if there is none."""
        samples = self._aligned(domain.history) or ()
        first = next((place for place, sample in enumerate(samples) if sample is not None), len(samples))
        return 0.0 if self.steps is None else (len(samples) - first) * self.steps.step / 60.0

    def got(self, domain: Domain, wanted: Sequence[float], missed: float) -> float | None:
        """The share of the CPU that the domain got of what it wanted in all steps, a fraction; None if its wait is
        known in less than half of those in which its use is. ``wanted``, ``missed``: what ``series`` gave."""
        used, ready = self._aligned(domain.history), self._aligned(domain.ready_history)
        if used is None or ready is None or 2 * _known(ready) < _known(used):
            return None
        return _share(sum(wanted), missed * len(wanted))

    def of_domain(self, series: Sequence[float], now: float) -> float:
        """What a domain will want that wanted this."""
        return self.domain_by.predict(series, now)

    def of_host(self, series: Sequence[float], now: float) -> float:
        """What a host will carry whose domains together wanted this."""
        return self.host_by.predict(series, now)

    def rise(self, series: Sequence[float], now: float) -> float:
        """The most that a domain which wanted this adds to what a host will carry."""
        return self.host_by.predictor.bound(self.host_by.window(series), now, self.host_by.parameters)

    def steady(self, cores: float) -> list[float]:
        """The series of a load that never changed."""
        return [] if self.steps is None else [cores] * len(self.steps.samples)


class Chosen:
    """A predictor of the policy with its name and its parameters."""

    __slots__ = ("_last", "name", "parameters", "predictor")

    def __init__(self, wanted: Algorithm, steps: Series | None) -> None:
        self.name = wanted.name
        self.predictor: Predictor = predictors()[wanted.name]
        self.parameters: Window = read(self.predictor.parameters, wanted.parameters, "parameters")
        minutes = self.parameters.minutes
        self._last = 0
        if minutes is not None and steps is not None:
            # No more steps than there are, because minutes may be any number.
            self._last = max(1, math.ceil(min(minutes * 60.0 / steps.step, len(steps.samples))))

    def window(self, series: Sequence[float]) -> Sequence[float]:
        """The end of a series that the predictor looks at."""
        return series[-self._last :] if self._last else series

    @property
    def looks_back(self) -> bool:
        """Does it go by the history?"""
        return self.name != "observation"

    def minutes(self, known: float) -> float:
        """How far back it looks in a history that goes back so many minutes."""
        wanted = self.parameters.minutes
        return known if wanted is None else min(wanted, known)

    @property
    def words(self) -> str:
        """What it predicts, in words: on average, at the 95th percentile."""
        return self.predictor.words(self.parameters)

    def predict(self, series: Sequence[float], now: float) -> float:
        """The prediction by the end of a series."""
        return self.predictor.predict(self.window(series), now, self.parameters)


def got_now(domain: Domain) -> float | None:
    """The share of the CPU that a domain gets at this moment of what it wants, a fraction; None if it is not known."""
    wanted = None if domain.cpu_ready is None else demanded_cores(domain)
    return None if wanted is None else _share(wanted, wanted - (domain.cpu_cores or 0.0))


def _share(wanted: float, missed: float) -> float:
    return 1.0 if wanted <= 0.0 else min(1.0, max(0.0, 1.0 - missed / wanted))


def _known(samples: Samples) -> int:
    return len(samples) - samples.count(None)


def demanded_cores(domain: Domain) -> float | None:
    """The CPU that a domain wants now, in cores of its host; None if its use is not known."""
    if domain.cpu_cores is None:
        return None
    return _unhidden(domain.cpu_cores, domain.cpu_ready, _most(domain))


def _wanted(domain: Domain, used: Samples, ready: Samples) -> Samples:
    most = _most(domain)
    pairs = zip(used, ready, strict=True)
    # Most of the time nobody waits.
    return tuple([_unhidden(cores, waited, most) if waited and cores else cores for cores, waited in pairs])


def _most(domain: Domain) -> float:
    vcpus = _NO_LIMIT if domain.vcpus is None else float(domain.vcpus)
    return min(vcpus, domain.cap / 100.0) if domain.cap else vcpus


def _unhidden(cores: float, ready: float | None, most: float) -> float:
    return max(cores, min(cores / (1.0 - min(ready or 0.0, _EVERYTHING_WAITS)), most))


def _recent(samples: Samples) -> bool:
    """Is one of the last samples known?"""
    return any(sample is not None for sample in samples[-LATE_STEPS:])


def histories(snapshot: Snapshot) -> list[Series]:
    """The histories that are not empty, of domains and then of hosts, whenever they ended."""
    found = [domain.history for domain in snapshot.domains.values()]
    found += [host.history for host in snapshot.hosts.values()]
    return [series for series in found if series is not None and series.samples]


def _steps(snapshot: Snapshot) -> Series | None:
    """The history that is known latest and longest, of those that end near the snapshot; None if there is none."""
    taken_at = None if snapshot.taken_at is None else parse(snapshot.taken_at)
    found: tuple[tuple[float, int], Series] | None = None
    for series in histories(snapshot):
        late = 0.0
        if taken_at is not None and series.ends_at is not None:
            late = (taken_at - series.ends_at).total_seconds()
        # One that ends after the snapshot is of a host whose clock is wrong: the others would have no recent step.
        if abs(late) <= LATE_STEPS * series.step:
            key = (-late, len(series.samples))
            if found is None or key > found[0]:
                found = (key, series)
    return None if found is None else found[1]
