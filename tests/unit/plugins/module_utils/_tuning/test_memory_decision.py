# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""One round of taking memory from domains and giving it to others, from figures alone."""

from __future__ import annotations

import random
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._tuning.memory_decision import (
    SMALLEST_CHANGE_MIB,
    DomainMemory,
    HostMemory,
    Options,
    decide,
)

PLENTY = HostMemory(available_mib=100_000, pressure=0.0, swapping=False)
ALWAYS = {"reclaim": "always"}


def domain(name: str, usable: int | None, *, current: int = 1024, maximum: int = 4096, **more: t.Any) -> DomainMemory:
    return DomainMemory(f"uuid-of-{name}", name, maximum, current, usable, **more)


RICH, POOR, CALM = domain("rich", 656), domain("poor", 100), domain("calm", 200)


@pytest.mark.parametrize(
    ("domains", "host", "options", "expected"),
    [
        pytest.param([RICH, CALM], PLENTY, {}, {}, id="nobody needs anything"),
        pytest.param([RICH, CALM], PLENTY, ALWAYS, {"rich": 824}, id="half of what is above 256 MiB"),
        pytest.param([RICH], PLENTY, {**ALWAYS, "factor": 1}, {"rich": 624}, id="all of it"),
        pytest.param([RICH], PLENTY, {**ALWAYS, "max_change_mib": 50}, {"rich": 974}, id="one step at a time"),
        pytest.param([RICH], PLENTY, {**ALWAYS, "minimum_mib": 1000}, {"rich": 1000}, id="never below the minimum"),
        pytest.param([RICH], PLENTY, {**ALWAYS, "minimum_mib": 2000}, {}, id="it is below the minimum already"),
        pytest.param(
            [RICH], PLENTY, {**ALWAYS, "factor": 1, "margin_mib": 600}, {"rich": 968}, id="never below use and margin"
        ),
        pytest.param([domain("rich", 287)], PLENTY, ALWAYS, {}, id="too little to bother"),
        pytest.param([domain("rich", 656, swapping=True)], PLENTY, ALWAYS, {}, id="a guest that swaps gives nothing"),
        pytest.param([POOR], PLENTY, {}, {"poor": 1180}, id="a starving one gets its use and a step"),
        pytest.param([POOR], PLENTY, {"step_mib": 128}, {"poor": 1052}, id="a smaller step"),
        pytest.param([POOR], PLENTY, {"max_change_mib": 20}, {"poor": 1044}, id="not more than one change may be"),
        pytest.param([domain("poor", 100, maximum=1100)], PLENTY, {}, {"poor": 1100}, id="not above the maximum"),
        pytest.param([domain("poor", 100, maximum=1030)], PLENTY, {}, {}, id="at the maximum"),
        pytest.param([domain("poor", 200, swapping=True)], PLENTY, {}, {"poor": 1080}, id="one that swaps starves"),
        pytest.param([POOR], HostMemory(580), {}, {"poor": 1092}, id="what the host has above its reserve"),
        pytest.param(
            [POOR, RICH], HostMemory(580), {}, {"poor": 1092, "rich": 936}, id="the rest is taken from the rich"
        ),
        pytest.param(
            [POOR, domain("r1", 400), domain("r2", 456)], HostMemory(532), {}, {"poor": 1044, "r1": 988, "r2": 924},
            id="no more than that is taken",
        ),
        pytest.param([POOR, RICH], HostMemory(None), {}, {"rich": 824}, id="not known what the host has"),
        pytest.param([POOR, RICH], HostMemory(500), {}, {"rich": 824}, id="the host is short"),
        pytest.param([POOR, RICH], HostMemory(9999, pressure=0.2), {}, {"rich": 824}, id="the host is under pressure"),
        pytest.param([POOR, RICH], HostMemory(9999, swapping=True), {}, {"rich": 824}, id="the host swaps"),
        pytest.param(
            [POOR], HostMemory(9999, pressure=None), {}, {"poor": 1180}, id="a kernel without pressure figures"
        ),
        pytest.param(
            [POOR, domain("poorer", 10)], HostMemory(512 + 250), {}, {"poorer": 1270},
            id="the one that needs it most first",
        ),
        pytest.param(
            [domain("a", 100, obstacle=("stale", "Old.")), domain("b", 900, obstacle=("stale", "Old."))],
            PLENTY, ALWAYS, {}, id="hands off",
        ),
        pytest.param([domain("a", None)], PLENTY, ALWAYS, {}, id="without statistics"),
        pytest.param([], PLENTY, ALWAYS, {}, id="no domain"),
    ],
)  # fmt: skip
def test_round(
    domains: list[DomainMemory], host: HostMemory, options: dict[str, t.Any], expected: dict[str, int]
) -> None:
    decision = decide(domains, host, Options(**options))
    assert {change.domain.name: change.target_mib for change in decision.changes} == expected
    assert decision.why.endswith(".")
    assert decide(domains[::-1], host, Options(**options)).changes == decision.changes


def test_who_is_left_alone_is_named() -> None:
    old = domain("old", 100, obstacle=("stale", "Its figures are old."))
    decision = decide([old, domain("mute", None), RICH], PLENTY, Options())
    assert [(found.name, code) for found, code, _sentence in decision.left_alone] == [
        ("old", "stale"),
        ("mute", "no_statistics"),
    ]


@pytest.mark.parametrize(
    ("domains", "host", "sentence"),
    [
        ([POOR], HostMemory(500), "The host has 500 MiB available; 512 MiB are its reserve."),
        ([POOR], HostMemory(9999, pressure=0.5), "Tasks of the host waited for memory during 50 % of the last minute."),
        ([POOR], HostMemory(520), "The host has no memory left to give."),
        ([domain("poor", 1, maximum=1024)], PLENTY, "poor has its maximum of 1024 MiB."),
    ],
)
def test_who_starves_is_named(domains: list[DomainMemory], host: HostMemory, sentence: str) -> None:
    decision = decide(domains, host, Options())
    assert [(found.name, why) for found, why in decision.starving] == [("poor", sentence)]
    assert decision.why == sentence


@pytest.mark.parametrize("seed", range(100))
def test_on_random_hosts(seed: int) -> None:
    rng = random.Random(seed)
    domains = []
    for number in range(rng.randint(0, 30)):
        maximum = rng.randint(64, 8192)
        current = rng.randint(32, maximum)
        usable = rng.choice([None, rng.randint(0, current)])
        domains.append(
            domain(f"d{number}", usable, current=current, maximum=maximum, swapping=rng.choice([None, True]))
        )
    host = HostMemory(
        rng.choice([None, rng.randint(0, 20_000)]), rng.choice([None, rng.random() / 5]), rng.random() < 0.2
    )
    options = Options(
        low_mib=rng.randint(0, 200), high_mib=rng.randint(200, 400), factor=rng.random(),
        step_mib=rng.randint(200, 400),
        reclaim=rng.choice(["needed", "always"]), minimum_mib=rng.randint(32, 512), margin_mib=rng.randint(0, 200),
        max_change_mib=rng.randint(16, 2048), host_reserve_mib=rng.randint(0, 1024),
    )  # fmt: skip
    decision = decide(domains, host, options)

    assert len({change.domain.uuid for change in decision.changes}) == len(decision.changes)
    given = 0
    for change in decision.changes:
        amount = change.target_mib - change.domain.current_mib
        assert change.domain.usable_mib is not None
        assert SMALLEST_CHANGE_MIB <= abs(amount) <= options.max_change_mib
        assert change.target_mib <= change.domain.maximum_mib
        if amount < 0:
            assert change.target_mib >= options.minimum_mib
            assert change.domain.usable_mib + amount >= max(options.margin_mib, options.high_mib)
        given += max(0, amount)
    assert given == 0 or (host.available_mib is not None and host.available_mib - given >= options.host_reserve_mib)
