from __future__ import annotations

import numpy as np

from refdet_core.calibration import Calibration


def test_defaults_pass_the_score_through() -> None:
    scores = np.array([0.01, 0.5, 0.99])
    assert np.allclose(Calibration()(scores, np.array([0.0, 0.5, 1.0])), scores)


def test_hand_computed_probability() -> None:
    calibration = Calibration(score_weight=2.0, presence_weight=1.0, intercept=-1.0)
    # logit(0.5) = 0, logit(0.8) = ln 4
    expected = 1 / (1 + np.exp(-(np.log(4) - 1)))
    assert np.isclose(calibration(np.array(0.5), np.array(0.8)), expected)


def test_extreme_inputs_stay_probabilities() -> None:
    result = Calibration(3, 3, 0)(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    assert ((result >= 0) & (result <= 1)).all()
    assert result[0] < 0.01 < 0.99 < result[1]
