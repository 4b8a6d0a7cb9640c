# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What predictors say about series, and that their bounds hold for every sum."""

from __future__ import annotations

import typing as t
from operator import add

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtops.balance.plugins.plugin_utils._demand.registry import predictors
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import read

TWENTY = tuple(float(cores) for cores in range(1, 21))


def predict(name: str, samples: t.Sequence[float], now: float = 7.0, **parameters: t.Any) -> float:
    found = predictors()[name]
    return found.predict(samples, now, read(found.parameters, parameters, "parameters"))


@pytest.mark.parametrize(
    ("name", "parameters", "samples", "expected"),
    [
        pytest.param("observation", {}, TWENTY, 7.0, id="the moment alone"),
        pytest.param("mean", {}, (1.0, 2.0, 6.0), 3.0, id="the mean"),
        pytest.param("quantile", {}, TWENTY, 19.0, id="19 of 20 are not above the 95th percentile"),
        pytest.param("quantile", {"quantile": 1.0}, TWENTY, 20.0, id="the maximum"),
        pytest.param("quantile", {"quantile": 0.5}, (3.0, 1.0, 2.0, 9.0), 2.0, id="the lower median"),
        pytest.param("quantile", {"quantile": 0.01}, TWENTY, 1.0, id="the minimum"),
        pytest.param("quantile", {"quantile": 0.7}, TWENTY[:10], 7.0, id="0.7 x 10 is 7 in spite of rounding"),
        pytest.param("quantile", {}, (4.0,), 4.0, id="one sample"),
        pytest.param("n_sigma", {}, (1.0, 3.0), 4.0, id="the mean and two deviations"),
        pytest.param("n_sigma", {"sigmas": 0.0}, (1.0, 3.0), 2.0, id="none of them"),
        pytest.param("n_sigma", {"sigmas": 3.0}, (2.0, 2.0, 2.0), 2.0, id="a load that never changes"),
        pytest.param("peak", {"quantile": 0.5}, (1.0, 2.0, 3.0), 3.0, id="no more than the maximum"),
        pytest.param("peak", {"quantile": 0.5, "sigmas": 1.0}, (1.0, 2.0, 2.0, 3.0), 2.707107, id="the deviations"),
        pytest.param("peak", {"sigmas": 0.0}, (1.0, 3.0), 3.0, id="the quantile is larger"),
    ],
)
def test_what_they_predict(
    name: str, parameters: dict[str, t.Any], samples: tuple[float, ...], expected: float
) -> None:
    assert predict(name, samples, **parameters) == pytest.approx(expected)


def test_all_have_a_case_and_know_how_far_to_look_back() -> None:
    assert set(predictors()) == {"observation", "mean", "quantile", "n_sigma", "peak"}
    for found in predictors().values():
        assert read(found.parameters, {"minutes": 30}, "parameters").minutes == 30.0


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("quantile", {"quantile": 95}),
        ("n_sigma", {"sigmas": -1}),
        ("n_sigma", {"sigmas": 1e308}),
        ("peak", {"sigmas": 1e308}),
        ("mean", {"minutes": 0}),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, parameters: dict[str, t.Any]) -> None:
    with pytest.raises(PolicyError):
        predict(name, TWENTY, **parameters)


CORES = st.floats(0.0, 100.0)
PAIRS = st.lists(st.tuples(CORES, CORES), min_size=1, max_size=40)


@pytest.mark.parametrize("name", sorted(predictors()))
@given(pairs=PAIRS, now=CORES, more=CORES)
def test_a_sum_is_predicted_at_most_the_first_and_the_bound_of_the_second(
    name: str, pairs: list[tuple[float, float]], now: float, more: float
) -> None:
    found = predictors()[name]
    parameters = read(found.parameters, {}, "parameters")
    first, second = map(list, zip(*pairs, strict=True))
    together = found.predict(list(map(add, first, second)), now + more, parameters)
    bound = found.predict(first, now, parameters) + found.bound(second, more, parameters)
    assert together <= bound + 1e-9 * (1.0 + bound)


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("observation", {}, "now"),
        ("mean", {}, "on average"),
        ("quantile", {}, "at the 95th percentile"),
        ("quantile", {"quantile": 1}, "at most"),
        ("n_sigma", {"sigmas": 1.5}, "at the mean plus 1.5 standard deviations"),
        ("peak", {}, "at peak"),
    ],
)
def test_the_words_of_a_prediction(name: str, parameters: dict[str, t.Any], words: str) -> None:
    found = predictors()[name]
    assert found.words(read(found.parameters, parameters, "parameters")) == words
