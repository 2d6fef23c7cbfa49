"""A frame seen through the network: crops in, calibrated candidates out."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from refdet_core.backends.base import Backend
from refdet_core.box_bias import corrected
from refdet_core.bundle import Bundle
from refdet_core.decoding import Candidates, best_view
from refdet_core.heatmap import merge_maps
from refdet_core.imaging import Crop
from refdet_core.search.base import Look
from refdet_core.templates import TemplateBank
from refdet_core.types import RawMaps


class NetworkLook(Look):
    """One frame and one bank of templates. What was looked at is kept for timings and heatmaps.

    Args:
        frame_bgr: ``(H, W, 3)`` uint8.
        time_s: see :class:`~refdet_core.search.base.Look`.
    """

    def __init__(
        self,
        backend: Backend[Any],
        bundle: Bundle,
        bank: TemplateBank,
        frame_bgr: np.ndarray,
        time_s: float,
    ) -> None:
        self.frame_bgr = frame_bgr
        self.time_s = time_s
        self.timings_ms = {"preprocess": 0.0, "network": 0.0, "decode": 0.0}
        self._backend = backend
        self._bundle = bundle
        self._bank = bank
        self._seen: Dict[str, List[Tuple[List[Crop], np.ndarray]]] = {}

    def at(self, crops: Sequence[Crop], template_ids: Sequence[str]) -> Dict[str, List[Candidates]]:
        started = time.perf_counter()
        frames = self._backend.preprocess(self.frame_bgr, crops)
        preprocessed = time.perf_counter()
        features, views = self._bank.packed_for(template_ids)
        maps = self._backend.infer(frames, features)
        inferred = time.perf_counter()
        found: Dict[str, List[Candidates]] = {}
        for template_id in template_ids:
            found[template_id] = self._decode(crops, maps, template_id, views[template_id])
            score = maps.score[:, views[template_id]].max(axis=1)
            self._seen.setdefault(template_id, []).append((list(crops), score))
        self.timings_ms["preprocess"] += (preprocessed - started) * 1e3
        self.timings_ms["network"] += (inferred - preprocessed) * 1e3
        self.timings_ms["decode"] += (time.perf_counter() - inferred) * 1e3
        return found

    def heatmaps(self) -> Dict[str, np.ndarray]:
        """For each template the score map over all that was looked at, see ``FrameResult``."""
        pictures: Dict[str, np.ndarray] = {}
        for template_id, looks in self._seen.items():
            crops = [crop for some, _ in looks for crop in some]
            scores = [score for _, maps in looks for score in maps]
            pictures[template_id] = merge_maps(crops, scores, self.frame_size, self._bundle.stride)
        return pictures

    def _decode(
        self, crops: Sequence[Crop], maps: RawMaps, template_id: str, views: slice
    ) -> List[Candidates]:
        raw = [
            best_view(maps.score[i, views], maps.box[i, views], maps.presence[i, views])
            for i in range(len(crops))
        ]
        whole = Candidates.joined(raw)
        scores = self._bundle.calibration(whole.scores, whole.presence)
        ends = np.cumsum([len(part) for part in raw])[:-1]
        bias = self._bank.templates[template_id].bias
        return [
            Candidates(corrected(crop.to_frame(part.boxes_xyxy), bias), score, part.presence)
            for crop, part, score in zip(crops, raw, np.split(scores, ends))
        ]
