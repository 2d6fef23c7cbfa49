"""Searching the whole frame crop by crop, each frame on its own."""

from __future__ import annotations

from typing import Dict, List, Sequence

import numpy as np

from refdet_core.boxes import area, as_tuple, clip
from refdet_core.decoding import Candidates
from refdet_core.imaging import Crop
from refdet_core.search.base import SearchFrame, SearchPlan, SearchResult
from refdet_core.search.tile_schedule import TileSchedule
from refdet_core.search.tiling import Tiling
from refdet_core.types import Detection


class FullFrameSearch(SearchPlan):
    """Looks at every crop of a coverage and merges what they show.

    Args:
        tiling: the crops.
        nms_iou: boxes of one template that overlap more than this are one object.
        score_threshold: least probability of a reported detection.
        max_detections: most detections per template and frame.
        budget: most crops a frame, the others follow in the next frames; 0: all of them.
    """

    def __init__(
        self,
        tiling: Tiling,
        nms_iou: float,
        score_threshold: float,
        max_detections: int,
        budget: int,
    ) -> None:
        self._tiling = tiling
        self._nms_iou = nms_iou
        self._score_threshold = score_threshold
        self._max_detections = max_detections
        self._schedule = TileSchedule(budget)

    def search(self, frame: SearchFrame, template_ids: Sequence[str]) -> Dict[str, SearchResult]:
        found: Dict[str, SearchResult] = {}
        for template_id, seen in self.candidates(frame, template_ids).items():
            best = [
                Detection(template_id, float(score), as_tuple(box_xyxy))
                for score, box_xyxy in zip(seen.scores[: self._max_detections], seen.boxes_xyxy)
                if score >= self._score_threshold
            ]
            found[template_id] = SearchResult(tuple(best), float(seen.scores.max(initial=0.0)))
        return found

    def candidates(self, frame: SearchFrame, template_ids: Sequence[str]) -> Dict[str, Candidates]:
        """For each template the candidates of all crops that are due in this frame.

        Boxes are cut at the frame's border; one object is there once, whatever seams cross it;
        best first.
        """
        crops = self._tiling.crops(frame.frame_size)
        due = self._schedule.next(crops)
        best_scores = np.zeros(len(due))
        merged: Dict[str, Candidates] = {}
        for template_id, parts in frame.infer([crops[i] for i in due], template_ids).items():
            kept = [self._own(frame, crops, i, part) for i, part in zip(due, parts)]
            best_scores = np.maximum(best_scores, [part.scores.max(initial=0.0) for part in kept])
            merged[template_id] = Candidates.joined(kept).suppressed(self._nms_iou)
        self._schedule.record(due, best_scores)
        return merged

    def _own(
        self, frame: SearchFrame, crops: List[Crop], index: int, seen: Candidates
    ) -> Candidates:
        """What this crop may report, cut at the frame's border."""
        boxes_xyxy = clip(seen.boxes_xyxy, *frame.frame_size)
        centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
        owned = self._tiling.owned(crops, index, centres) & (area(boxes_xyxy) > 0)
        return Candidates(boxes_xyxy, seen.scores, seen.presence).chosen(owned)
