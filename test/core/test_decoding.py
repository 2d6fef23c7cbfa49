from __future__ import annotations

import numpy as np
import pytest

from refdet_core.decoding import PEAKS_PER_MAP, best_view


def maps(views: int = 1, height: int = 9, width: int = 12):
    """Scores of zero and boxes that name their own cell: (column, row, column + 10, row + 10)."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    box = np.stack([columns, rows, columns + 10, rows + 10])
    return np.zeros((views, height, width), np.float32), np.repeat(box[None], views, axis=0)


def test_a_lone_cell_gives_its_own_box() -> None:
    score, box = maps()
    score[0, 4, 6] = 0.9
    found = best_view(score, box, np.array([0.7], np.float32))
    assert found.scores[0] == pytest.approx(0.9)
    assert found.boxes_xyxy[0] == pytest.approx([6, 4, 16, 14])
    assert found.presence[0] == pytest.approx(0.7)


@pytest.mark.parametrize("corner", [(0, 0), (0, 11), (8, 0), (8, 11)])
def test_peaks_in_the_corners_stay_where_they_are(corner) -> None:
    score, box = maps()
    score[0][corner] = 0.5
    found = best_view(score, box, np.ones(1, np.float32))
    row, column = corner
    assert found.boxes_xyxy[0] == pytest.approx([column, row, column + 10, row + 10])


def test_the_view_with_the_highest_score_gives_box_and_presence() -> None:
    score, box = maps(views=2)
    box[1] += 100
    score[0, 4, 6], score[1, 4, 6] = 0.2, 0.8
    best = best_view(score, box, np.array([0.1, 0.6], np.float32))
    assert best.boxes_xyxy[0] == pytest.approx([106, 104, 116, 114])
    assert best.presence[0] == pytest.approx(0.6)


def test_an_all_zero_map_still_has_a_candidate_with_a_finite_box() -> None:
    score, box = maps()
    found = best_view(score, box, np.zeros(1, np.float32))
    assert 1 <= len(found.scores) <= PEAKS_PER_MAP
    assert np.isfinite(found.boxes_xyxy).all() and (found.scores == 0).all()


def test_one_cell_is_a_map_too() -> None:
    score, box = maps(height=1, width=1)
    score[:] = 0.3
    assert best_view(score, box, np.ones(1, np.float32)).boxes_xyxy == pytest.approx(
        np.array([[0, 0, 10, 10]])
    )
