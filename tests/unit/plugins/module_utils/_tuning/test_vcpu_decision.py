# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""One round of spreading vCPUs over CPUs, from figures alone."""

from __future__ import annotations

import random
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._tuning.vcpu_decision import (
    BUSIEST_FREEST,
    Cpu,
    Decision,
    Options,
    Vcpu,
    decide,
)


def host(count: int = 4, *, own: t.Sequence[float] = (), smt: bool = False, cells: int = 1) -> list[Cpu]:
    return [
        Cpu(
            number,
            own=own[number] if own else 0.0,
            siblings=frozenset({number ^ 1}) if smt else frozenset(),
            cell=number * cells // count,
        )
        for number in range(count)
    ]


def guest(
    name: str, cores: float, cpu: int | None, *, ran: float | None = None, allowed: t.Iterable[int] = range(16),
    last: int | None = None, number: int = 0,
) -> Vcpu:  # fmt: skip
    return Vcpu(
        uuid=f"uuid-of-{name}", name=name, number=number, ran=cores if ran is None else ran, wanted=cores,
        cpu=cpu, last=cpu if last is None else last, allowed=frozenset(allowed),
    )  # fmt: skip


def made(decision: Decision) -> dict[str, int]:
    return {repin.vcpu.name: repin.cpu for repin in decision.repins}


@pytest.mark.parametrize(
    ("cpus", "vcpus", "options", "expected"),
    [
        pytest.param(
            host(2), [guest("a", 1, 0, ran=0.5), guest("b", 1, 0, ran=0.5)], {}, {"a": 1}, id="two on one of two"
        ),
        pytest.param(host(2), [guest("a", 1, 0), guest("b", 1, 1)], {}, {}, id="even already"),
        pytest.param(host(2), [guest("a", 1, 0)], {}, {}, id="alone on its CPU"),
        pytest.param(host(2), [guest("a", 0.25, 0), guest("b", 0.2, 0)], {}, {}, id="nobody is busy"),
        pytest.param(host(2), [guest("a", 0.4, 0), guest("b", 0.2, 0), guest("c", 0.36, 1)], {}, {}, id="threshold"),
        pytest.param(host(2), [guest("a", 0.5, 0), guest("b", 0.04, 0)], {}, {}, id="too little gain"),
        pytest.param(
            host(2), [guest("a", 0.6, 0), guest("b", 0.5, 0), guest("c", 0.1, 1)], {}, {"b": 1}, id="the better one"
        ),
        pytest.param(
            host(2), [guest("a", 0.9, 0), guest("b", 0.6, 0), guest("c", 0.65, 1), guest("d", 0.35, 1)], {},
            {"a": 1, "c": 0}, id="an exchange",
        ),
        pytest.param(
            host(3, own=[0, 0.9, 0]), [guest("a", 0.8, 0), guest("b", 0.7, 0)], {}, {"a": 2}, id="the host's own load"
        ),
        pytest.param(
            host(3), [guest("a", 1, 0, allowed=[0, 1]), guest("b", 0.9, 0, allowed=[0, 1]), guest("c", 0.04, 1)], {},
            {"b": 1}, id="only where it is allowed",
        ),
        pytest.param(
            host(2), [guest("a", 1, 0, allowed=[0]), guest("b", 1, 0, allowed=[0])], {}, {}, id="nowhere to go"
        ),
        pytest.param(
            host(4, smt=True), [guest("a", 1, 0), guest("b", 1, 1)], {}, {"a": 2}, id="siblings of one core"
        ),
        pytest.param(
            host(4, cells=2), [guest("a", 1, 0), guest("b", 1, 0), guest("c", 1, 1)], {}, {}, id="not to another cell"
        ),
        pytest.param(
            host(4, cells=2), [guest("a", 1, 0), guest("b", 1, 0), guest("c", 1, 1)], {"cross_numa": True},
            {"a": 2}, id="to another cell where asked",
        ),
        pytest.param(
            host(4, cells=2), [guest("a", 1, 0), guest("b", 1, 0)], {"cross_numa": True}, {"a": 1}, id="near first"
        ),
        pytest.param(host(2), [guest("a", 1, None, last=0), guest("b", 1, 0)], {}, {}, id="free ones stay free"),
        pytest.param(
            host(2, own=[0.9, 0.1]), [guest("a", 0.8, None, last=0), guest("b", 0.5, 1)], {"pin_free": True},
            {"a": 0}, id="free ones are pinned where asked",
        ),
        pytest.param(
            host(2), [guest("a", 0.8, None, last=7), guest("b", 0.5, 1)], {"pin_free": True}, {}, id="free elsewhere"
        ),
        pytest.param(host(2), [guest("a", 1, 7), guest("b", 1, 7)], {}, {}, id="pinned elsewhere"),
        pytest.param([], [guest("a", 1, 0)], {}, {}, id="no CPU"),
        pytest.param(host(1), [guest("a", 1, 0), guest("b", 1, 0)], {}, {}, id="one CPU"),
    ],
)  # fmt: skip
def test_spread(cpus: list[Cpu], vcpus: list[Vcpu], options: dict[str, t.Any], expected: dict[str, int]) -> None:
    decision = decide(cpus, vcpus, Options(**options))
    assert made(decision) == expected
    assert decision.why.endswith(".")
    if expected:
        assert decide(cpus, vcpus[::-1], Options(**options)) == decision, "the order of the input does not matter"


@pytest.mark.parametrize(
    ("vcpus", "expected"),
    [
        pytest.param([guest("a", 0.2, 0), guest("b", 0.1, 0)], {"a": 1}, id="an empty CPU gets the first vCPU"),
        pytest.param([guest("a", 0.9, 0), guest("b", 0.1, 1)], {}, id="a lone vCPU stays"),
        pytest.param([guest("a", 0.5, 0), guest("b", 0.2, 0), guest("c", 0.1, 1)], {"b": 1}, id="the least used one"),
        pytest.param(
            [guest("a", 0.3, 0), guest("b", 0.15, 0), guest("c", 0.1, 1)], {}, id="the busiest is below the limit"
        ),
        pytest.param(
            [guest("a", 0.5, 0), guest("b", 0.45, 0), guest("c", 0.1, 1)], {}, id="it would not stay below the limit"
        ),
        pytest.param([guest("a", 0.9, 0), guest("b", 0.8, 0), guest("c", 0.6, 1)], {}, id="the freest is busy"),
        pytest.param(
            [guest("a", 0.2, 0, allowed=[0]), guest("b", 0.1, 0)], {"b": 1}, id="the first one that may go there"
        ),
    ],
)
def test_busiest_freest(vcpus: list[Vcpu], expected: dict[str, int]) -> None:
    assert made(decide(host(2), vcpus, Options(algorithm=BUSIEST_FREEST))) == expected


def test_fewest_moves() -> None:
    # Nine small ones could go; one large one is enough.
    vcpus = [guest("large", 0.9, 0), *(guest(f"small-{number}", 0.1, 0) for number in range(9)), guest("other", 0.1, 1)]
    assert made(decide(host(2), vcpus, Options(threshold=0.3))) == {"large": 1}


def test_loads_and_spread_are_told() -> None:
    decision = decide(host(2, own=[0.1, 0.2]), [guest("a", 1, 0), guest("b", 1, 0)], Options())
    assert decision.before == {0: 2.1, 1: 0.2}
    assert decision.after == {0: 1.1, 1: 1.2}
    assert list(decision.spread) == pytest.approx([1.9, 0.1])
    assert decision.why == "1 vCPU is pinned anew: the spread of the loads goes from 1.90 to 0.10."


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("algorithm", ["spread", BUSIEST_FREEST])
def test_on_random_hosts(seed: int, algorithm: str) -> None:
    rng = random.Random(seed)
    count = rng.choice([1, 2, 3, 8, 32])
    cpus = host(
        count, own=[rng.uniform(0, 0.3) for _cpu in range(count)], smt=count % 2 == 0 and rng.random() < 0.5,
        cells=rng.choice([1, 2]),
    )  # fmt: skip
    vcpus = [
        guest(
            f"d{number}", rng.uniform(0, 1), rng.choice([None, *range(count)]), last=rng.randrange(count),
            allowed=rng.sample(range(count), rng.randint(1, count)),
        )
        for number in range(rng.randint(0, 3 * count))
    ]  # fmt: skip
    options = Options(
        algorithm=algorithm, pin_free=rng.random() < 0.5, cross_numa=rng.random() < 0.5,
        threshold=rng.uniform(0, 0.5), gain=rng.choice([0.01, 0.1]),
    )  # fmt: skip
    decision = decide(cpus, vcpus, options)

    cells = {cpu.number: cpu.cell for cpu in cpus}
    for repin in decision.repins:
        assert repin.cpu in repin.vcpu.allowed
        assert repin.cpu != repin.vcpu.cpu
        assert repin.vcpu.cpu is not None or options.pin_free
        home = repin.vcpu.last if repin.vcpu.cpu is None else repin.vcpu.cpu
        assert options.cross_numa or cells[repin.cpu] == cells[home]  # type: ignore[index] # of these figures, never None
    if algorithm == "spread" and not options.pin_free:
        assert max(decision.after.values()) <= max(decision.before.values()) + 1e-6, "no CPU becomes the worst"
    # Acting on the decision and deciding again on the same loads comes to rest.
    for _round in range(3 * len(vcpus) + 1):
        if not decision.repins:
            break
        moved = {repin.vcpu: repin.cpu for repin in decision.repins}
        vcpus = [
            guest(vcpu.name, vcpu.wanted, moved.get(vcpu, vcpu.cpu), last=vcpu.last, allowed=vcpu.allowed)
            for vcpu in vcpus
        ]
        decision = decide(cpus, vcpus, Options(**{**vars(options), "pin_free": False}))
        if algorithm == "spread":
            assert len(decision.repins) == 0 or options.pin_free
    else:
        pytest.fail("it never comes to rest")
