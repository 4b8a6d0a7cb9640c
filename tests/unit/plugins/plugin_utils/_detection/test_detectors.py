# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Known answers of the detectors. Every expected number comes from numpy, scipy or a simulation, none from the code."""

from __future__ import annotations

import itertools
import random
import typing as t
from collections.abc import Sequence

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._detection.detectors import markov as markov_detector
from ansible_collections.virtops.balance.plugins.plugin_utils._detection.registry import (
    History,
    Verdict,
    detect,
    detectors,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._statistics import solve

np = pytest.importorskip("numpy")
optimize = pytest.importorskip("scipy.optimize")
stats = pytest.importorskip("scipy.stats")

EXACT = 1e-9
Samples = Sequence[float | None]


def ask(samples: Samples, name: str, kind: str = "overload", /, **parameters: t.Any) -> Verdict:
    return detect(History.of(samples), name, parameters, kind=kind)


def noise(length: int, seed: int, level: float = 0.6) -> list[float]:
    generator = random.Random(seed)
    return [min(1.0, max(0.0, generator.gauss(level, 0.15))) for _sample in range(length)]


@pytest.mark.parametrize(
    ("kind", "name", "samples", "parameters", "decision"),
    [
        ("overload", "threshold", [0.1, 0.81], {}, True),
        ("overload", "threshold", [0.9, 0.8], {}, False),
        ("overload", "threshold", [0.9, 0.8], {"threshold": 0.7}, True),
        ("overload", "threshold", [0.9, None], {}, None),
        ("overload", "threshold", [], {}, None),
        ("overload", "average", [0.0, 0.7, 0.8, 0.85, 0.9, 0.9], {}, True),
        ("overload", "average", [1.0, 0.7, 0.8, 0.75, 0.8, 0.9], {}, False),
        ("overload", "average", [1.0, None, 0.9, None, 0.8, 0.9], {}, True),
        ("overload", "average", [0.9, None, None, None, 0.9], {}, None),
        ("underload", "threshold", [0.9, 0.5], {}, True),
        ("underload", "threshold", [0.1, 0.51], {}, False),
        ("underload", "threshold", [0.1, None], {}, None),
        ("underload", "average", [0.9, 0.6, 0.4], {}, True),
        ("underload", "average", [0.1, 0.6, 0.41], {}, False),
        ("underload", "average", [0.1, 0.1, 0.9], {"samples": 3, "threshold": 0.2}, False),
        ("underload", "average", [], {}, None),
    ],
)
def test_thresholds(
    kind: str, name: str, samples: Samples, parameters: dict[str, t.Any], decision: bool | None
) -> None:
    assert ask(samples, name, kind, **parameters).decision is decision


@pytest.mark.parametrize(("length", "seed"), [(12, 1), (13, 2), (30, 3), (101, 4), (500, 5)])
def test_mad_is_that_of_scipy(length: int, seed: int) -> None:
    samples = noise(length, seed)
    found = ask(list(samples), "mad", safety=2.0)
    deviation = float(stats.median_abs_deviation(samples))
    assert found.numbers["mad"] == pytest.approx(deviation, abs=EXACT)
    assert found.numbers["threshold"] == pytest.approx(1 - 2.0 * deviation, abs=EXACT)
    assert found.decision is (samples[-1] >= 1 - 2.0 * deviation)


@pytest.mark.parametrize(("length", "seed"), [(15, 1), (19, 2), (31, 3), (103, 4), (499, 5)])
def test_iqr_is_that_of_numpy(length: int, seed: int) -> None:
    """Where a quarter of n + 1 is whole, all rules that go by the place p (n + 1) (Weibull) agree."""
    samples = noise(length, seed)
    found = ask(list(samples), "iqr", safety=1.5)
    first, third = np.quantile(samples, [0.25, 0.75], method="weibull")
    assert found.numbers["iqr"] == pytest.approx(float(third - first), abs=EXACT)
    assert found.decision is (samples[-1] >= 1 - 1.5 * float(third - first))


@pytest.mark.parametrize(
    ("length", "first", "third"), [(12, 3, 10), (13, 4, 11), (14, 4, 11), (15, 4, 12), (16, 4, 13), (17, 5, 14)]
)
def test_the_places_of_the_quartiles_are_rounded_half_up(length: int, first: int, third: int) -> None:
    """13: the places 3.5 and 10.5 become 4 and 11; 17: 4.5 and 13.5 become 5 and 14 (half to even would be 4)."""
    samples = [place / 100 for place in range(length)]
    assert ask(list(samples), "iqr").numbers["iqr"] == pytest.approx((third - first) / 100, abs=EXACT)


@pytest.mark.parametrize("name", ["mad", "iqr"])
def test_a_spread_over_everything_lowers_the_threshold_to_the_floor_only(name: str) -> None:
    samples = [0.0, 1.0] * 10 + [0.4]
    assert ask(samples, name, safety=3.0, floor=0.5).numbers["threshold"] == 0.5
    assert ask(samples, name, safety=3.0, floor=0.5).decision is False
    assert ask(samples, name, safety=3.0).decision is True


def fitted(samples: Samples, robust: bool) -> tuple[float, float]:
    """The line by scipy's least squares with weights as published, numpy throughout."""
    x = np.array([place for place, sample in enumerate(samples, 1) if sample is not None], dtype=float)
    y = np.array([sample for sample in samples if sample is not None])
    n = len(samples)
    weights = (1 - ((n - x) / (n - 1)) ** 3) ** 3
    weights[x < 3] = (1 - ((n - 3) / (n - 1)) ** 3) ** 3

    def least(w: t.Any) -> t.Any:
        design = np.stack([w, w * x], axis=1)
        return optimize.lsq_linear(design, w * y, tol=1e-15).x

    line = least(weights)
    if robust:
        residuals = y - line[0] - line[1] * x
        u = residuals / (6 * np.median(np.abs(residuals)))
        line = least(weights * np.where(np.abs(u) < 1, (1 - u**2) ** 2, 0.0))
    return float(line[0]), float(line[1])


@pytest.mark.parametrize("robust", [False, True], ids=["LR", "LRR"])
@pytest.mark.parametrize(
    ("length", "seed", "gaps", "outliers"),
    [(30, 1, (), ()), (30, 2, (), (12,)), (10, 3, (4,), ()), (100, 4, (5, 50, 51), (20, 70)), (5, 5, (), ())],
)
def test_regression_is_that_of_scipy(
    robust: bool, length: int, seed: int, gaps: tuple[int, ...], outliers: tuple[int, ...]
) -> None:
    samples: list[float | None] = [
        0.3 + 0.5 * place / length + 0.1 * value for place, value in enumerate(noise(length, seed))
    ]
    for place in outliers:
        samples[place] = 3.0
    for place in gaps:
        samples[place] = None
    name = "local_regression_robust" if robust else "local_regression"
    found = detect(History.of([0.9, *samples]), name, {"samples": length}, step=60.0, migration_time=90.0)
    a, b = fitted(samples, robust)
    assert found.numbers["slope"] == pytest.approx(b, abs=EXACT)
    assert found.numbers["prediction"] == pytest.approx(a + b * (length + 1.5), abs=EXACT)
    assert found.decision is (1.2 * (a + b * (length + 1.5)) >= 1.0)


@pytest.mark.parametrize("name", ["local_regression", "local_regression_robust"])
def test_regression_without_residuals(name: str) -> None:
    constant = ask([0.7] * 30, name)
    assert constant.decision is False
    assert constant.numbers["prediction"] == pytest.approx(0.7, abs=EXACT)
    line = ask([place / 32 for place in range(1, 31)], name, safety=1.0)
    assert line.numbers["prediction"] == pytest.approx(30 / 32, abs=EXACT)
    assert line.decision is False
    assert detect(History.of([p / 32 for p in range(1, 31)]), name, {"safety": 1.0}, migration_time=120.1).decision


def test_an_outlier_moves_the_robust_line_less() -> None:
    samples = noise(30, 6, 0.5)
    samples[25] = 5.0
    plain, robust = (ask([*samples], name) for name in ("local_regression", "local_regression_robust"))
    assert plain.decision is True
    assert robust.decision is False


@pytest.mark.parametrize("name", ["mad", "iqr", "local_regression", "local_regression_robust", "otf", "markov"])
@pytest.mark.parametrize("samples", [[], [0.99], [0.99] * 9, [None] * 40, [0.99] * 40 + [None]])
def test_no_answer_from_too_little(name: str, samples: Samples) -> None:
    found = ask(samples, name)
    assert found.decision is None
    assert {"samples", "needed"} <= set(found.numbers) or "steps" in found.numbers


@pytest.mark.parametrize("name", sorted(detectors("overload")))
@pytest.mark.parametrize(("level", "decision"), [(0.0, False), (0.3, False), (1.0, True)])
def test_constant_histories(name: str, level: float, decision: bool) -> None:
    assert ask([level] * 40, name).decision is decision


@pytest.mark.parametrize("name", sorted(detectors("overload")))
def test_gaps_count_for_nothing(name: str) -> None:
    """A gap is no 0: a busy host with gaps stays overloaded, an idle one does not become it."""
    assert ask([1.0, None, 1.0, 1.0] * 20, name).decision is True
    assert ask([0.1, None, 0.1, 0.1] * 20, name).decision is False


def test_otf_by_hand() -> None:
    samples = [0.5] * 8 + [0.95] * 2
    found = detect(History.of(samples), "otf", {"fraction": 0.25}, step=60.0, migration_time=120.0)
    assert found.numbers["fraction"] == pytest.approx((2 + 2) / (2 + 10), abs=EXACT)
    assert found.decision is True
    assert detect(History.of(samples), "otf", {"fraction": 0.34}, step=60.0, migration_time=120.0).decision is False
    assert detect(History.of([*samples, 0.5]), "otf", {"fraction": 0.1}).decision is False


@pytest.mark.parametrize("name", ["otf", "markov"])
def test_the_state_counts_every_sample_once(name: str) -> None:
    samples = [1.0 if place % 7 == 0 else 0.4 for place in range(200)]
    whole = ask(list(samples), name).state
    state: dict[str, t.Any] = {}
    for end in range(10, 201, 10):
        window = samples[max(0, end - 50) : end]
        state = detect(History.of(window, 10), name, state=state).state
    assert state == whole == {"steps": 200, "overloaded_steps": 29}


@pytest.mark.parametrize("name", ["otf", "markov"])
def test_without_a_state_everything_is_new(name: str) -> None:
    found = detect(History.of([1.0] * 20, 3), name)
    assert found.state == {"steps": 20, "overloaded_steps": 20}
    assert detect(History.of([1.0] * 20, 3), name, state=found.state).state["steps"] == 23


@pytest.mark.parametrize("state", [{"steps": -1}, {"steps": "many"}, {"other": 1}])
def test_a_spoilt_state_counts_as_none(state: dict[str, t.Any]) -> None:
    found = detect(History.of([1.0] * 20, 20), "otf", state=state)
    assert found.state == {"steps": 20, "overloaded_steps": 20}


# --- The Markov chain -------------------------------------------------------------------------------------------------


def walked(matrix: list[list[float]], policy: list[float], start: int) -> t.Any:
    """Expected visits before the migration: the first 2^40 steps of the chain, added up. Nothing is inverted."""
    power = (1 - np.array(policy))[:, None] * np.array(matrix)
    visits = np.eye(len(policy))
    for _doubling in range(40):
        visits = visits + power @ visits
        power = power @ power
    return visits[start]


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_expected_visits_are_those_of_a_walk(size: int) -> None:
    generator = np.random.default_rng(size)
    for _again in range(20):
        matrix = generator.dirichlet(np.ones(size), size).tolist()
        policy = generator.uniform(0.05, 1.0, size).tolist()
        start = int(generator.integers(size))
        found = markov_detector.expected_visits(matrix, policy, start)
        assert found == pytest.approx(walked(matrix, policy, start).tolist(), abs=EXACT)


def test_expected_visits_of_two_states_in_closed_form() -> None:
    """From the overload state: L1 = q21 / D, L2 = (1 - q11) / D with q = (1 - m) p and D = the determinant of I - q."""
    p, m = [[0.8, 0.2], [0.3, 0.7]], [0.25, 0.5]
    q = [[(1 - m[i]) * p[i][j] for j in range(2)] for i in range(2)]
    determinant = (1 - q[0][0]) * (1 - q[1][1]) - q[0][1] * q[1][0]
    assert markov_detector.expected_visits(p, m, 1) == pytest.approx(
        [q[1][0] / determinant, (1 - q[0][0]) / determinant], abs=EXACT
    )


def test_visits_agree_with_dice() -> None:
    """A simulation that knows nothing of the formula, to within its own error."""
    matrix, policy, generator = [[0.9, 0.1], [0.4, 0.6]], [0.1, 0.5], random.Random(1)
    totals, rounds = [0, 0], 40_000
    for _round in range(rounds):
        at = 1
        while True:
            totals[at] += 1
            if generator.random() < policy[at]:
                break
            at = 0 if generator.random() < matrix[at][0] else 1
    found = markov_detector.expected_visits(matrix, policy, 1)
    assert found is not None
    assert [total / rounds for total in totals] == pytest.approx(found, rel=0.03)


def test_a_policy_that_never_migrates_has_no_expectation() -> None:
    assert markov_detector.expected_visits([[0.5, 0.5], [0.5, 0.5]], [0.0, 0.0], 1) is None


def estimated(chain: list[int], states: int, windows: tuple[int, ...]) -> list[list[float]]:
    """The multisize windows once more, by their definition and numpy: every estimate from scratch."""
    matrix = np.zeros((states, states))
    for i in range(states):
        went = [after for before, after in itertools.pairwise(chain) if before == i]
        for j in range(states):
            if not went:
                continue

            def share(end: int, w: int, went: list[int] = went, j: int = j) -> float:
                part = went[max(0, end - w) : end]
                return part.count(j) / len(part)

            chosen = share(len(went), windows[0])
            for w in windows:
                if len(went) < w:
                    break
                series = [share(end, w) for end in range(len(went) - w + 1, len(went) + 1)]
                if np.var(series, ddof=1) > series[-1] * (1 - series[-1]) / w:
                    break
                chosen = series[-1]
            matrix[i, j] = chosen
    return [(row / row.sum() if row.sum() else row).tolist() for row in matrix]


@pytest.mark.parametrize(("length", "states", "seed"), [(20, 2, 1), (200, 2, 2), (500, 2, 3), (500, 3, 4), (900, 4, 5)])
def test_transitions_are_those_of_the_definition(length: int, states: int, seed: int) -> None:
    generator = random.Random(seed)
    chain = [0]
    for _sample in range(length):
        chain.append(chain[-1] if generator.random() < 0.7 else generator.randrange(states))
    windows = (30, 40, 50, 60, 70, 80, 90, 100)
    found = markov_detector.transitions(list(chain), states, windows)
    assert [value for row in found for value in row] == pytest.approx(
        [value for row in estimated(chain, states, windows) for value in row], abs=EXACT
    )


@pytest.mark.parametrize("seed", range(30))
def test_windows_are_selected_by_the_variance_of_the_definition(seed: int) -> None:
    """Short windows over a chain that changes its ways, so that the variance often decides."""
    generator = random.Random(seed)
    chain = [int(generator.random() < 0.1 + 0.8 * place / 120) for place in range(120)]
    windows = (4, 6, 9, 13, 18, 25)
    assert markov_detector.transitions(list(chain), 2, windows) == [
        pytest.approx(row, abs=EXACT) for row in estimated(chain, 2, windows)
    ]


def test_transitions_over_a_gap_are_not_counted() -> None:
    assert markov_detector.transitions([0, 1, None, 0, 1, 1], 2, (30,)) == [[0.0, 1.0], [0.0, 1.0]]
    assert markov_detector.transitions([0, 0, None, 1, 0, 1], 2, (30,)) == [[0.5, 0.5], [1.0, 0.0]]


def decided(samples: list[float], fraction: float, ahead: float, states: list[float], step: float) -> bool:
    """The whole decision by walking: is there no policy on the grid that keeps the fraction?"""
    chain = [sum(sample >= threshold for threshold in states) for sample in samples]
    matrix = estimated(chain, len(states) + 1, (30, 40, 50, 60, 70, 80, 90, 100))
    last, over, steps = len(states), sum(s >= states[-1] for s in samples), len(samples)
    if chain[-1] != last or matrix[last][last] <= 0:
        return False
    grid = np.append(np.arange(0, 1, step), 1.0)
    for policy in itertools.product(grid, repeat=last + 1):
        visits = walked(matrix, list(policy), last)
        if visits.sum() > 1e5:  # it never migrates
            continue
        if (ahead + over + visits[last]) / (ahead + steps + visits.sum()) <= fraction + 1e-9:
            return False
    return True


@pytest.mark.parametrize("states", [[0.9], [0.6, 0.9]], ids=["2 states", "3 states"])
@pytest.mark.parametrize("seed", range(6))
def test_decisions_are_those_of_the_walk(seed: int, states: list[float]) -> None:
    generator = random.Random(seed)
    samples, level = [], 0.5
    for _sample in range(150):
        level = level if generator.random() < 0.8 else generator.choice([0.3, 0.7, 0.95, 0.95])
        samples.append(level)
    samples.append(0.95)
    for fraction in (0.05, 0.2, 0.3, 0.4, 0.6):
        found = detect(
            History.of(list(samples)),
            "markov",
            {"fraction": fraction, "states": states},
            step=60.0,
            migration_time=60.0,
        )
        assert found.decision is decided(samples, fraction, 1.0, states, 0.5), fraction


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"states": [0.9, 0.5]}, "states must ascend: 0.9, 0.5."),
        ({"windows": [40, 40]}, "windows must ascend: 40, 40."),
        ({"policy_step": 0.001}, "policy_step 0.001 with 2 states makes 1002001 policies to try, more than 20000: "),
        ({"states": []}, "parameters.states must not be empty."),
        ({"otf": 1}, "parameters has no key 'otf': "),
    ],
)
def test_mistakes_in_parameters(parameters: dict[str, t.Any], message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        ask([1.0] * 50, "markov", **parameters)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "mda"}, "overload detector cannot be 'mda': did you mean 'mad'?"),
        ({"name": "mad", "kind": "underload"}, "underload detector cannot be 'mad': "),
        ({"kind": "load"}, "kind cannot be 'load': "),
        ({"step": 0.0}, "The step must be above 0 seconds"),
        ({"migration_time": -1.0}, "The step must be above 0 seconds"),
    ],
)
def test_mistakes_in_the_question(options: dict[str, t.Any], message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        detect(History.of([0.5]), **options)
    assert str(caught.value).startswith(message)


def test_solve_refuses_what_is_singular() -> None:
    assert solve([[1.0, 2.0], [2.0, 4.0]], [1.0, 1.0]) is None
    assert solve([[0.0, 2.0], [4.0, 0.0]], [2.0, 4.0]) == [1.0, 1.0]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", sorted(detectors("overload")))
def test_a_host_that_uses_less_more_than_the_room_is_not_overloaded(name: str, seed: int) -> None:
    """Of every detector, so that none can be added without it; those that count time may accept more at first."""
    samples = noise(40, seed, level=0.4)
    room = ask(samples, name).room
    assert room is not None
    assert ask([sample + room - 1e-6 for sample in samples], name).decision is False
    if name not in ("otf", "markov"):
        assert ask([sample + room + 1e-6 for sample in samples], name).decision is True


@pytest.mark.parametrize("name", ["otf", "markov"])
def test_the_room_of_those_that_count_time_is_that_of_a_load_that_stays(name: str) -> None:
    steady = [0.4] * 40
    room = ask(steady, name).room
    assert room is not None
    assert ask([sample + room - 1e-6 for sample in steady], name).decision is False
    assert ask([sample + room + 1e-6 for sample in steady], name).decision is True


@pytest.mark.parametrize("name", sorted(detectors("overload")))
def test_without_an_answer_the_room_is_not_known(name: str) -> None:
    assert ask([0.4, None], name).room is None
