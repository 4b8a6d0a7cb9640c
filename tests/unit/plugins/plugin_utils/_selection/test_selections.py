# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Known answers of the selections; correlations by numpy."""

from __future__ import annotations

import random
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._selection.registry import (
    MigratableDomain,
    domains_from,
    select,
    selections,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._statistics import explained

np = pytest.importorskip("numpy")

EXACT = 1e-9
DOMAINS = {
    "db": MigratableDomain(8192, (2.0, 2.5, 2.0, 2.5, 2.0)),
    "web": MigratableDomain(2048, (0.5, 0.5, 0.5, 0.9, 0.2)),
    "mail": MigratableDomain(2048, (0.4, 0.4, 0.4, 0.4, 0.4)),
    "batch": MigratableDomain(2100, (3.0, 3.0, 3.0, 3.0, 3.0)),
    "new": MigratableDomain(2048, ()),
}


@pytest.mark.parametrize(
    ("name", "parameters", "decision"),
    [
        ("minimum_migration_time", {}, "mail"),
        ("minimum_utilization", {}, "web"),
        ("minimum_migration_time_maximum_cpu", {}, "batch"),
        ("minimum_migration_time_maximum_cpu", {"within": 0}, "web"),
        ("minimum_migration_time_maximum_cpu", {"within": 0, "samples": 1}, "mail"),
        ("minimum_migration_time_maximum_cpu", {"within": 10}, "batch"),
    ],
)
def test_known_answers(name: str, parameters: dict[str, t.Any], decision: str) -> None:
    assert select(DOMAINS, name, parameters).decision == decision
    turned = dict(reversed(list(DOMAINS.items())))
    assert select(turned, name, parameters) == select(DOMAINS, name, parameters)


@pytest.mark.parametrize("name", sorted(selections()))
def test_nothing_to_select(name: str) -> None:
    assert select({}, name).decision is None


@pytest.mark.parametrize("name", sorted(selections()))
def test_no_history_at_all(name: str) -> None:
    found = select({"b": MigratableDomain(10), "a": MigratableDomain(20)}, name)
    assert found.decision in ("a", "b")
    if name not in ("minimum_migration_time", "random"):
        assert (found.decision, found.numbers["instead"]) == ("b", "minimum_migration_time")


def test_random_is_repeatable_and_fair() -> None:
    names = {name: MigratableDomain() for name in "abcd"}
    state: dict[str, t.Any] = {}
    drawn = []
    for _draw in range(400):
        found = select(names, "random", {"seed": 3}, state=state)
        drawn.append(found.decision)
        state = found.state
    assert all(70 < drawn.count(name) < 130 for name in names)
    assert select(names, "random", {"seed": 3}).decision == drawn[0]
    others = {select(names, "random", {"seed": seed}).decision for seed in range(40)}
    assert others == set(names)


def test_random_does_not_depend_on_the_hashes_of_a_process() -> None:
    code = (
        "from ansible_collections.virtops.balance.plugins.plugin_utils._selection.registry import "
        "MigratableDomain, select\n"
        "print([select({n: MigratableDomain() for n in 'abcdefgh'}, 'random', {'seed': s}).decision for s in range(9)])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


def determined(columns: list[list[float]]) -> list[float]:
    """R^2 of each column on the others and a constant, by numpy's least squares."""
    found = []
    for place, column in enumerate(columns):
        y = np.array(column)
        others = [np.array(other) for index, other in enumerate(columns) if index != place]
        design = np.stack([np.ones(len(y)), *others], axis=1)
        rest = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
        spread = y - y.mean()
        found.append(1 - float(rest @ rest) / float(spread @ spread))
    return found


@pytest.mark.parametrize(("count", "length", "seed"), [(2, 10, 1), (3, 30, 2), (6, 100, 3), (20, 60, 4)])
def test_multiple_correlation_is_that_of_numpy(count: int, length: int, seed: int) -> None:
    generator = random.Random(seed)
    shared = [generator.random() for _step in range(length)]
    columns = [
        [generator.random() + generator.random() * part * place / count for part in shared] for place in range(count)
    ]
    assert explained(columns) == pytest.approx(determined(columns), abs=EXACT)
    domains = {f"d{place:02}": MigratableDomain(1, tuple(column)) for place, column in enumerate(columns)}
    expected = determined(columns)
    assert select(domains, "maximum_correlation").decision == f"d{expected.index(max(expected)):02}"


def test_columns_that_others_make_up_and_constant_ones() -> None:
    one, two = [1.0, 2.0, 4.0, 3.0, 7.0, 1.0], [2.0, 1.0, 1.0, 5.0, 2.0, 2.0]
    both = [a + b for a, b in zip(one, two, strict=True)]
    assert explained([one, two, both, [3.0] * 6]) == pytest.approx([1.0, 1.0, 1.0, 0.0], abs=EXACT)
    assert explained([one, one, two])[:2] == pytest.approx([1.0, 1.0], abs=EXACT)
    assert explained([one, one, two])[2] == pytest.approx(determined([one, two])[1], abs=EXACT)


def test_correlation_leaves_out_steps_with_a_gap_and_aligns_the_ends() -> None:
    a: list[float | None] = [9.0, 1.0, 2.0, None, 4.0, 5.0, 7.0]
    b: list[float | None] = [1.0, 2.0, 3.0, 5.0, 4.5, 7.0]
    c: list[float | None] = [3.0, 1.0, 2.0, 2.0, 1.0, None]
    found = select(
        {n: MigratableDomain(1, tuple(v)) for n, v in {"a": a, "b": b, "c": c}.items()}, "maximum_correlation"
    )
    rows = [[1.0, 2.0, 4.0, 5.0], [1.0, 2.0, 5.0, 4.5], [3.0, 1.0, 2.0, 1.0]]
    assert found.numbers["samples"] == 4
    assert list(found.numbers["r_squared"].values()) == pytest.approx(determined(rows), abs=EXACT)


def test_as_many_steps_as_domains_correlate_perfectly_and_say_nothing() -> None:
    domains = {n: MigratableDomain(m, (c, 1.0, 2.0)) for n, m, c in (("a", 3, 5.0), ("b", 2, 3.0), ("c", 1, 7.0))}
    found = select(domains, "maximum_correlation")
    assert found.decision == "c"
    assert found.numbers["instead"] == "minimum_migration_time"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "The candidates must be a mapping of names"),
        ({"a": {"memory": 1}}, "candidates.a has no key 'memory': did you mean 'memory_mib'?"),
        ({"a": {"cpu_cores": [-1]}}, "candidates.a.cpu_cores[0] must be a number of at least 0 or null, not -1."),
    ],
)
def test_mistakes(data: t.Any, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        domains_from(data)
    assert str(caught.value).startswith(message)


def test_unknown_selection() -> None:
    with pytest.raises(PolicyError, match="did you mean 'minimum_migration_time'"):
        select(DOMAINS, "minimum_migration")
