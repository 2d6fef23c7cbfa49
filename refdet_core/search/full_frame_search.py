"""Search of the whole frame, crop by crop, independent of earlier frames."""

from __future__ import annotations

from itertools import zip_longest
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from refdet_core.boxes import area, as_tuple, clip
from refdet_core.decoding import Candidates
from refdet_core.imaging import Crop
from refdet_core.search.base import SearchFrame, SearchPlan, SearchResult
from refdet_core.search.refinement import View, refined
from refdet_core.search.scales import SizeRange
from refdet_core.search.tile_schedule import TileSchedule
from refdet_core.search.tiling import Tiling, TilingChoice
from refdet_core.types import Detection

_NO_VIEWS: Mapping[str, Sequence[View]] = {}
_NOTHING = Candidates(np.zeros((0, 4), np.float32), np.zeros(0), np.zeros(0))


class FullFrameSearch(SearchPlan):
    """Searches every crop of the tilings that suit the templates, and merges the results.

    Args:
        choose_tilings: returns the tilings that suit an object.
        nms_iou: boxes of one template that overlap more than this are one object.
        score_threshold: minimum probability of a reported detection.
        max_detections: maximum number of detections per template and frame.
        budget: maximum number of crops per frame, the others follow in the next frames; 0: all.
        refine: number of the best candidates that a tracking network looks at again, see
            :mod:`refdet_core.search.refinement`.
    """

    def __init__(
        self,
        choose_tilings: TilingChoice,
        nms_iou: float,
        score_threshold: float,
        max_detections: int,
        budget: int,
        refine: int = 0,
    ) -> None:
        self._choose_tilings = choose_tilings
        self._nms_iou = nms_iou
        self._score_threshold = score_threshold
        self._max_detections = max_detections
        self._schedule = TileSchedule(budget)
        self._refine = refine

    @property
    def round_is_over(self) -> bool:
        """Whether the last frames together were searched wholly, see ``budget``."""
        return self._schedule.round_is_over

    def search(self, frame: SearchFrame, template_ids: Sequence[str]) -> Dict[str, SearchResult]:
        found: Dict[str, SearchResult] = {}
        expected = {name: frame.reference_size(name) for name in template_ids}
        for template_id, seen in self.candidates(frame, expected).items():
            best = [
                Detection(template_id, float(score), as_tuple(box_xyxy))
                for score, box_xyxy in zip(seen.scores[: self._max_detections], seen.boxes_xyxy)
                if score >= self._score_threshold
            ]
            found[template_id] = SearchResult(tuple(best), float(seen.scores.max(initial=0.0)))
        return found

    def candidates(
        self,
        frame: SearchFrame,
        expected: Mapping[str, Optional[SizeRange]],
        views: Mapping[str, Sequence[View]] = _NO_VIEWS,
    ) -> Dict[str, Candidates]:
        """For each template the candidates of all crops that are due in this frame.

        Boxes are clipped to the frame. An object appears once, even if it lies on a seam or several
        scales show it. Best first.

        Args:
            expected: the possible sizes of each template's object; None: any.
            views: how objects looked in earlier frames, as further references.
        """
        parts: Dict[str, List[Candidates]] = {name: [] for name in expected}
        for tiling, crops, due, template_ids in self._due(frame.frame_size, expected):
            seen = frame.infer([crops[i] for i in due], template_ids)
            best_scores = np.zeros(len(due))
            for name in template_ids:
                kept = [
                    _reported(frame, tiling, crops, i, part) for i, part in zip(due, seen[name])
                ]
                best_scores = np.maximum(best_scores, [one.scores.max(initial=0.0) for one in kept])
                parts[name].append(Candidates.joined(kept).suppressed(self._nms_iou))
            self._schedule.record([crops[i] for i in due], best_scores)
        return {
            name: self._refined(frame, self._merged(some), name, views.get(name, ()))
            for name, some in parts.items()
        }

    def _due(
        self, frame_size: Tuple[int, int], expected: Mapping[str, Optional[SizeRange]]
    ) -> List[Tuple[Tiling, List[Crop], List[int], List[str]]]:
        """The passes of this frame: a tiling, its crops, the due ones, and the templates."""
        choices = [self._choose_tilings(frame_size, sizes) for sizes in expected.values()]
        wanted: Dict[Tiling, List[str]] = {}
        for same_rank in zip_longest(*choices):  # every template's most promising tiling first
            for name, tiling in zip(expected, same_rank):
                if tiling is not None:
                    wanted.setdefault(tiling, []).append(name)
        crops = {tiling: tiling.crops(frame_size) for tiling in wanted}
        due = self._schedule.next(list(crops.values()))
        return [
            (tiling, crops[tiling], some, wanted[tiling])
            for tiling, some in zip(wanted, due)
            if some
        ]

    def _refined(
        self, frame: SearchFrame, seen: Candidates, template_id: str, views: Sequence[View]
    ) -> Candidates:
        refiner = frame.refiner
        if refiner is None or not self._refine:
            return seen
        # Candidates on one object may get the same box.
        again = refined(seen, refiner, template_id, self._refine, views)
        return again.suppressed(self._nms_iou)

    def _merged(self, scales: Sequence[Candidates]) -> Candidates:
        """Merge the candidates of several scales, each object once."""
        if not scales:
            return _NOTHING
        if len(scales) == 1:
            return scales[0]
        levels = np.repeat(np.arange(len(scales)), [len(some) for some in scales])
        return Candidates.joined(scales).suppressed(self._nms_iou, levels)


def _reported(
    frame: SearchFrame, tiling: Tiling, crops: Sequence[Crop], index: int, seen: Candidates
) -> Candidates:
    """The candidates that this crop reports, clipped to the frame."""
    boxes_xyxy = clip(seen.boxes_xyxy, *frame.frame_size)
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    owned = tiling.owned(crops, index, centres) & (area(boxes_xyxy) > 0)
    return Candidates(boxes_xyxy, seen.scores, seen.presence).chosen(owned)
