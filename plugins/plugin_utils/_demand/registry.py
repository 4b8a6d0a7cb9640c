# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Predictors of demand register here by name: what will be wanted, by what was wanted before.

A predictor is a function ``(samples, now, parameters) -> cores``: the cores that were wanted in equal steps, oldest
first, at least one; those that are wanted at this moment; and its own parameters. It judges a domain by its own series,
and a host by the sum of the series of all that it carries. A new predictor is a new file in predictors/.

With it goes a bound, a function with the same arguments: the sum of two series is predicted at most what the first is
predicted plus the bound of the second. So most hosts that have room for a domain are found without adding series. And
words for people, a function of the parameters: "1.7 cores" and these words are a part of a sentence.
"""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._discovery import load
from ansible_collections.virtops.balance.plugins.plugin_utils._options import number, option

Predict = Callable[[Sequence[float], float, t.Any], float]
Words = Callable[[t.Any], str]


@dataclass(frozen=True, slots=True)
class Window:
    """The parameter that all predictors have. minutes: how far back they look; null = as far as the history goes."""

    minutes: float | None = option(None, number(0, nullable=True, above=True))


@dataclass(frozen=True, slots=True)
class Predictor:
    """A registered predictor, see above. ``parameters``: the dataclass of its parameters."""

    predict: Predict
    bound: Predict
    words: Words
    parameters: type[Window]


_predictors: dict[str, Predictor] = {}


def predictor(
    name: str, parameters: type[Window], *, words: Words, bound: Predict | None = None
) -> Callable[[Predict], Predict]:
    """Register a predictor with its bound, its words and the dataclass of its parameters. Without ``bound`` it is its
    own: what it predicts of a sum is at most the sum of what it predicts."""

    def register(function: Predict) -> Predict:
        _predictors[name] = Predictor(function, bound or function, words, parameters)
        return function

    return register


def predictors() -> dict[str, Predictor]:
    """All predictors, by name."""
    load("_demand.predictors")
    return dict(sorted(_predictors.items()))
