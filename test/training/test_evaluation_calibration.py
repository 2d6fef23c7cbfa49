"""Calibration and threshold out of hand-made predictions of held-out video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="evaluation needs scikit-learn")
pytest.importorskip("pandas", reason="prepared data needs pandas")

from refdet_core.calibration import Calibration, sigmoid
from refdet_core.errors import SourceError
from refdet_training.datasets.instance import FrameRef
from refdet_training.evaluation.calibration import absent_pairs, fit_probability
from refdet_training.evaluation.detection_protocol import DetectionProtocol, Prediction
from refdet_training.evaluation.held_out import RawPrediction
from refdet_training.evaluation.threshold import (
    HIGHEST,
    AbsentPair,
    can_promise,
    choose_threshold,
    false_alarm_rates,
)

TRUTH = (0.0, 0.0, 10.0, 10.0)


def raw(
    score: float,
    right: bool = False,
    object_family: str = "a",
    shown_family: str = "a",
    source: str = "made",
) -> RawPrediction:
    """An answer in the object's own video, or (``shown_family``) in one without the object."""
    own = object_family == shown_family
    prediction = Prediction(
        source=source,
        object_video=object_family,
        object_id=object_family,
        video_id=shown_family,
        frame=0,
        picture=FrameRef(Path("no.jpg")),
        score=score,
        box_xyxy=TRUTH if right else (50.0, 50.0, 60.0, 60.0),
        truth_xyxy=TRUTH if own else None,
    )
    return RawPrediction(object_family, shown_family, prediction)


def drawn(count: int, rng: np.random.Generator) -> list[RawPrediction]:
    """Answers that are right with probability sigmoid(2 * logit)."""
    found = []
    for log_odds in rng.normal(0, 1.5, count):
        right = rng.random() < sigmoid(2 * log_odds)
        found.append(raw(float(sigmoid(log_odds)), bool(right)))
    return found


def test_the_regression_finds_the_rule_the_answers_were_drawn_with() -> None:
    predictions = drawn(3000, np.random.default_rng(0))
    fitted = fit_probability(predictions, DetectionProtocol())
    assert fitted.score_weight == pytest.approx(2.0, abs=0.25)
    assert fitted.presence_weight == 0.0
    assert fitted.intercept == pytest.approx(0.0, abs=0.15)


def test_frames_of_other_families_weigh_as_in_the_protocol_however_many_there_are() -> None:
    own = [raw(0.5, right=True)] * 6
    others = [raw(0.5, shown_family="b")] * 40
    # 30 own frames to 20 absent ones: right in six of ten, though in 6 of 46 here
    fitted = fit_probability(own + others, DetectionProtocol(frames=30, absent=20))
    assert fitted(np.array([0.5]), np.array([0.5])) == pytest.approx(0.6, abs=0.01)


def test_sources_weigh_the_same() -> None:
    many = [raw(0.5, right=True, source="many")] * 90
    few = [raw(0.5, right=False, source="few")] * 10
    fitted = fit_probability(many + few, DetectionProtocol())
    assert fitted(np.array([0.5]), np.array([0.5])) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("right", "word"), [(True, "right"), (False, "wrong")])
def test_answers_that_are_all_alike_are_refused(right: bool, word: str) -> None:
    with pytest.raises(SourceError, match=f"All 5 answers .* {word}"):
        fit_probability([raw(0.5, right=right)] * 5, DetectionProtocol())


def test_absent_frames_are_grouped_by_object_and_footage() -> None:
    predictions = [
        raw(0.9, right=True),
        raw(0.2, shown_family="b"),
        raw(0.3, shown_family="b"),
        raw(0.4, shown_family="c"),
        raw(0.5, shown_family="b", source="other"),
    ]
    pairs = absent_pairs(predictions, Calibration())
    assert [(pair.source, pair.scores) for pair in pairs] == [
        ("made", pytest.approx((0.2, 0.3))),
        ("made", pytest.approx((0.4,))),
        ("other", pytest.approx((0.5,))),
    ]


def silent(count: int, source: str = "made") -> list[AbsentPair]:
    return [AbsentPair(source, (0.1,) * 10)] * count


def test_the_lowest_threshold_with_the_corrected_rate_is_taken() -> None:
    # 39 pairs: (sum of rates + 1) / 40 <= 0.05 lets rates sum up to 1
    loud = AbsentPair("made", (0.8,) * 5 + (0.7,) * 5)
    pairs = [*silent(38), loud]
    # above 0.1 only the loud pair passes, wholly: sum 1
    assert choose_threshold(pairs, 0.05) == pytest.approx(0.101)
    # with 38 pairs, (sum + 1) / 39 <= 0.05 allows 0.95: half the loud pair must go
    assert choose_threshold(pairs[1:], 0.05) == pytest.approx(0.701)


def test_a_frame_at_the_threshold_counts_as_false_alarm() -> None:
    pairs = [AbsentPair("made", (0.5,))] * 30
    threshold = choose_threshold(pairs, 0.05)
    assert threshold == pytest.approx(0.501)
    assert false_alarm_rates(pairs, threshold) == {"made": 0.0}
    assert false_alarm_rates(pairs, 0.5) == {"made": 1.0}


def test_a_source_with_enough_pairs_is_not_hidden_by_the_others() -> None:
    loud = [AbsentPair("loud", (0.6,) + (0.1,) * 9)] * 25
    # pooled, the loud source's tenth is diluted below 0.05
    assert choose_threshold([*silent(200), *loud], 0.05) == pytest.approx(0.601)
    # too few pairs to stand alone
    assert choose_threshold([*silent(200), *loud[:10]], 0.05) == pytest.approx(0.101)


def test_with_too_few_pairs_the_threshold_lies_above_all_of_them() -> None:
    pairs = [AbsentPair("made", (0.2, 0.63)), AbsentPair("made", (0.4,))]
    assert not can_promise(pairs, 0.05)
    assert choose_threshold(pairs, 0.05) == pytest.approx(0.631)
    assert can_promise(silent(19), 0.05) and not can_promise(silent(18), 0.05)


def test_the_threshold_never_makes_the_detector_mute() -> None:
    assert choose_threshold([AbsentPair("made", (0.999,))] * 50, 0.05) == HIGHEST


def test_new_pairs_stay_within_the_allowed_rate_on_average() -> None:
    rng = np.random.default_rng(5)

    def draw(count: int) -> list[AbsentPair]:
        """Every pair has its own level of confusion."""
        levels = rng.normal(-2, 1.2, count)
        return [AbsentPair("made", tuple(sigmoid(rng.normal(level, 0.4, 20)))) for level in levels]

    rates = []
    for _ in range(60):
        threshold = choose_threshold(draw(30), 0.05)
        rates.append(false_alarm_rates(draw(100), threshold)["made"])
    assert 0.02 < np.mean(rates) <= 0.05
