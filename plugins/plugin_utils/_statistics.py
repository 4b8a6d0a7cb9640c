# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Statistics that predictors, detectors and selections share. Samples may be missing (None) where the type says so."""

from __future__ import annotations

import math
import statistics
import typing as t
from collections.abc import Sequence
from itertools import accumulate
from operator import mul

_ZERO = 1e-12
_ROUNDING = 1e-9
_MADE_UP = 1e-10  # of a column: what is left of one that others make up is rounding


def recent_mean(samples: Sequence[float | None], last: int) -> tuple[float | None, dict[str, t.Any]]:
    """The mean of the last samples, None where less than half of them are there; and how many are."""
    found = [sample for sample in samples[-last:] if sample is not None]
    numbers: dict[str, t.Any] = {"samples": len(found)}
    if 2 * len(found) < last:
        return None, {**numbers, "needed": (last + 1) // 2}
    return sum(found) / len(found), numbers


def quantile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least this share (above 0, at most 1) of the samples are not above: nearest rank."""
    return sorted(samples)[max(0, math.ceil(share * len(samples) - _ROUNDING) - 1)]


def mean_and_deviations(samples: Sequence[float], number: float) -> float:
    """The mean of the samples plus so many of their standard deviations (of all samples, not an estimate)."""
    middle = sum(samples) / len(samples)
    return middle + number * math.sqrt(sum([(sample - middle) ** 2 for sample in samples]) / len(samples))


def tricube(length: int) -> list[float]:
    """Weights of ``length`` (at least 3) samples by their distance from the last one, see local_regression."""
    reach = length - 1
    weights = [(1.0 - ((reach - place) / reach) ** 3) ** 3 for place in range(length)]
    return [weights[2], weights[2], *weights[2:]]


def line(samples: Sequence[float | None], weights: Sequence[float]) -> tuple[float, float]:
    """(a, b) of the line a + b x that minimises the sum of (w_i (y_i - a - b x_i))^2 over x = 1, 2, ... where there is
    a sample; b = 0 where all the weight is on one of them. At least one sample must have weight."""
    points = [(x, y, w * w) for x, (y, w) in enumerate(zip(samples, weights, strict=True), 1) if y is not None]
    total = sum(w for _x, _y, w in points)
    # Around the means, because the difference of large sums would lose digits.
    middle = sum(w * x for x, _y, w in points) / total
    level = sum(w * y for _x, y, w in points) / total
    extent = sum(w * (x - middle) ** 2 for x, _y, w in points)
    slope = sum(w * (x - middle) * (y - level) for x, y, w in points) / extent if extent > _ZERO else 0.0
    return level - slope * middle, slope


def bisquare(samples: Sequence[float | None], weights: Sequence[float], a: float, b: float) -> list[float] | None:
    """``weights`` lowered where a sample is far from the line a + b x: times (1 - (r / s)^2)^2, s six times the median
    of all |r|, and 0 beyond s. None where s is 0: then the line already goes through most samples."""
    residuals = [0.0 if y is None else y - a - b * x for x, y in enumerate(samples, 1)]
    scale = 6.0 * statistics.median(abs(r) for r, y in zip(residuals, samples, strict=True) if y is not None)
    if scale <= _ZERO:
        return None
    return [w * max(0.0, 1.0 - (r / scale) ** 2) ** 2 for w, r in zip(weights, residuals, strict=True)]


def solve(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float] | None:
    """x of matrix x = right, by elimination with pivoting; None where the matrix is singular."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda row, column=column: abs(rows[row][column]))  # type: ignore[misc]
        if abs(rows[pivot][column]) <= _ZERO:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(column + 1, size):
            factor = rows[row][column] / rows[column][column]
            if factor:
                rows[row] = [value - factor * above for value, above in zip(rows[row], rows[column], strict=True)]
    found = [0.0] * size
    for row in range(size - 1, -1, -1):
        known = sum(rows[row][column] * found[column] for column in range(row + 1, size))
        found[row] = (rows[row][size] - known) / rows[row][row]
    return found


def explained(columns: Sequence[Sequence[float]]) -> list[float]:
    """For each column the coefficient of determination R^2 of its regression (with a constant) on all the others.

    A column that never changes has 0. Columns must be of one length. Columns that the others already make up are left
    out of a regression. O(columns^2 x length + columns^3).
    """
    size = len(columns)
    means = [sum(column) / len(column) for column in columns]
    centred = [[value - mean for value in column] for column, mean in zip(columns, means, strict=True)]
    products = [[0.0] * size for _column in columns]
    for row in range(size):
        for column in range(row + 1):
            products[row][column] = products[column][row] = sum(map(mul, centred[row], centred[column]))
    unexplained = _from_inverse(products) or [
        _unexplained(products, column, [other for other in range(size) if other != column]) for column in range(size)
    ]
    return [
        min(1.0, max(0.0, 1.0 - rest / products[column][column])) if products[column][column] > _ZERO else 0.0
        for column, rest in enumerate(unexplained)
    ]


def _from_inverse(products: Sequence[Sequence[float]]) -> list[float] | None:
    """What _unexplained says of every column, at once: one over the diagonal of the inverse. None where columns are
    made up by others, so that there is no inverse."""
    size = len(products)
    rows = [[*row, *(float(place == column) for column in range(size))] for place, row in enumerate(products)]
    for pivot in range(size):
        if rows[pivot][pivot] <= _ZERO + _MADE_UP * products[pivot][pivot]:
            return None
        scale = 1.0 / rows[pivot][pivot]
        rows[pivot] = own = [value * scale for value in rows[pivot]]
        for row in range(size):
            factor = rows[row][pivot]
            if row != pivot and factor:
                rows[row] = [value - factor * other for value, other in zip(rows[row], own, strict=True)]
    return [1.0 / rows[place][size + place] for place in range(size)]


def _unexplained(products: Sequence[Sequence[float]], column: int, others: Sequence[int]) -> float:
    """The sum of squares of a column that is left when all that others explain is taken off (Gauss elimination)."""
    order = [*others, column]
    rest = [[products[i][j] for j in order] for i in order]
    for pivot in range(len(others)):
        size = rest[pivot][pivot]
        if size <= _ZERO + _MADE_UP * products[order[pivot]][order[pivot]]:
            continue
        for row in range(pivot + 1, len(order)):
            factor = rest[row][pivot] / size
            if factor:
                rest[row] = [value - factor * above for value, above in zip(rest[row], rest[pivot], strict=True)]
    return rest[-1][-1]


def counts(values: Sequence[int], wanted: int) -> list[int]:
    """counts[k]: how often ``wanted`` is among the first k values."""
    return [0, *accumulate(int(value == wanted) for value in values)]
