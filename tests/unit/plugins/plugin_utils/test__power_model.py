# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._power_model import Power, power

TABLE = [100.0, 110.0, 120.0, 130.0, 140.0, 150.0, 170.0, 190.0, 210.0, 230.0, 260.0]


@pytest.mark.parametrize(
    ("given", "utilisation", "watts"),
    [
        ({"idle_watts": 60, "max_watts": 160}, 0.0, 60.0),
        ({"idle_watts": 60, "max_watts": 160}, 0.25, 85.0),
        ({"idle_watts": 60, "max_watts": 160}, 1.0, 160.0),
        ({"idle_watts": 60, "max_watts": 160}, 1.5, 160.0),
        ({"idle_watts": 60, "max_watts": 160}, -0.5, 60.0),
        (TABLE, 0.0, 100.0),
        (TABLE, 0.5, 150.0),
        (TABLE, 0.55, 160.0),
        (TABLE, 0.95, 245.0),
        (TABLE, 1.0, 260.0),
    ],
)
def test_watts(given: t.Any, utilisation: float, watts: float) -> None:
    model = power(given, "power")
    assert model is not None
    assert model.watts(utilisation) == pytest.approx(watts)


@pytest.mark.parametrize("points", [(60.0, 160.0), tuple(TABLE)])
def test_segments_agree_with_watts(points: tuple[float, ...]) -> None:
    model, cores = Power(points), 8.0
    segments = model.segments(cores)
    assert [segments[0][0], segments[-1][1]] == pytest.approx([0.0, cores])
    for start, end, watts, per_core in segments:
        assert watts == pytest.approx(model.watts(start / cores))
        assert watts + per_core * (end - start) == pytest.approx(model.watts(end / cores))


def test_unknown() -> None:
    assert power(None, "power") is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"idle_watts": 60}, "power needs the key 'max_watts'."),
        ({"idle_wats": 60, "max_watts": 100}, "power has no key 'idle_wats': did you mean 'idle_watts'?"),
        ({"idle_watts": 100, "max_watts": 60}, "power must not fall as the load rises: 100, 60."),
        ({"idle_watts": -1, "max_watts": 60}, "power.idle_watts must be a number of at least 0, not -1."),
        ([1.0] * 10, "power must list the watts at 0, 10, ... 100 % (11 numbers), not 10."),
        ([1.0] * 10 + ["x"], "power[10] must be a number of at least 0, not 'x'."),
        (120, "power must be a list, not 120."),
    ],
)
def test_mistakes(given: t.Any, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        power(given, "power")
    assert str(caught.value) == message
