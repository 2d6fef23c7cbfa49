"""Runs the network on crops of a frame: crops in, calibrated candidates out."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from refdet_core.backends.base import Backend
from refdet_core.box_correction import correct_boxes
from refdet_core.boxes import as_tuple
from refdet_core.bundle import Bundle
from refdet_core.decoding import Candidates, best_view
from refdet_core.heatmap import merge_maps
from refdet_core.imaging import Crop, extract, to_blob
from refdet_core.network import Network
from refdet_core.search.base import Refiner, Result, SearchFrame, ViewComparison
from refdet_core.search.scales import SizeRange
from refdet_core.templates import TemplateBank, encode_references
from refdet_core.types import BoxXYXY, RawMaps, Reference

_THREADS = ThreadPoolExecutor(4, "tracker")  # a thread starts when it is first needed


class NetworkSearchFrame(SearchFrame):
    """One frame and one bank of templates. It keeps timings and score maps of all searched crops.

    Args:
        frame_bgr: ``(H, W, 3)`` uint8.
        time_s: see :class:`~refdet_core.search.base.SearchFrame`.
        others: networks that follow targets in their windows, or compare candidates; each takes its
            templates from ``bank.others``.
    """

    def __init__(
        self,
        backend: Backend[Any],
        bundle: Bundle,
        bank: TemplateBank,
        frame_bgr: np.ndarray,
        time_s: float,
        others: Sequence[Network] = (),
    ) -> None:
        self.rule, self.multiple = bundle.tracking, bundle.frame_multiple
        self.frame_bgr = frame_bgr
        self.time_s = time_s
        self.bank_version = bank.version
        self._spent_ms = {"preprocess": 0.0, "network": 0.0, "decode": 0.0}
        self._saved_ms = 0.0
        self._backend = backend
        self._bundle = bundle
        self._bank = bank
        self._seen: Dict[str, List[Tuple[List[Crop], np.ndarray]]] = {}
        self._others = [
            NetworkSearchFrame(network.backend, network.bundle, own_bank, frame_bgr, time_s)
            for network, own_bank in zip(others, bank.others)
        ]
        self._trackers = [frame for frame, network in zip(self._others, others) if network.follows]

    @property
    def timings_ms(self) -> Dict[str, float]:
        """Milliseconds by stage, of all networks. What runs at the same time counts once."""
        spent = {
            stage: sum(each._spent_ms[stage] for each in self._networks) for stage in self._spent_ms
        }
        spent["network"] = max(0.0, spent["network"] - self._saved_ms)
        return spent

    @property
    def _networks(self) -> List[NetworkSearchFrame]:
        """The frame through the search network and through the others."""
        return [self, *self._others]

    def together(self, calls: Sequence[Callable[[], Result]]) -> List[Result]:
        if len(calls) < 2 or not all(each._backend.any_thread for each in self._networks):
            return super().together(calls)
        started, before_ms = time.perf_counter(), sum(self.timings_ms.values())
        results = [future.result() for future in [_THREADS.submit(call) for call in calls]]
        passed_ms = (time.perf_counter() - started) * 1e3
        self._saved_ms += max(0.0, sum(self.timings_ms.values()) - before_ms - passed_ms)
        return results

    @property
    def trackers(self) -> Sequence[SearchFrame]:
        return self._trackers or (self,)

    @property
    def refiner(self) -> Optional[Refiner]:
        rule = self._bundle.refinement
        if rule is None:
            return None
        named = {item._bundle.name: item for item in self._others}
        if not {rule.tracker, *rule.embedders} <= named.keys():
            return None
        embedders = tuple(named[name] for name in rule.embedders)
        return Refiner(named[rule.tracker], rule, embedders, self._bundle.cohort)

    def infer(
        self, crops: Sequence[Crop], template_ids: Sequence[str]
    ) -> Dict[str, List[Candidates]]:
        features, views = self._bank.packed_for(template_ids)
        maps = self._infer(crops, features)
        started = time.perf_counter()
        found: Dict[str, List[Candidates]] = {}
        for template_id in template_ids:
            own = views[template_id]
            raw = [
                self._candidates(maps.score[i, own], maps.box[i, own], maps.presence[i, own])
                for i in range(len(crops))
            ]
            found[template_id] = self._in_frame(crops, raw, template_id)
            self._keep(crops, maps.score[:, own], template_id)
        self._spent_ms["decode"] += (time.perf_counter() - started) * 1e3
        return found

    def reference_size(self, template_id: str) -> Optional[SizeRange]:
        sizes_px = self._bank.templates[template_id].camera_sizes_px
        return SizeRange(min(sizes_px), max(sizes_px)) if sizes_px else None

    def reference_colours(self, template_id: str) -> Sequence[np.ndarray]:
        return self._bank.templates[template_id].camera_colours

    def embed(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        started = time.perf_counter()
        rule = self._bundle.template_crop
        crops_bgr = [extract(self.frame_bgr, rule.around(as_tuple(box))) for box in boxes_xyxy]
        features = self._backend.encode_templates(to_blob(crops_bgr))
        pooled = self._pooled(features)
        self._spent_ms["network"] += (time.perf_counter() - started) * 1e3
        return pooled

    def reference_embeddings(self, template_id: str) -> np.ndarray:
        return self._pooled(self._backend.pack(self._bank.templates[template_id].features))

    def _pooled(self, features: Any) -> np.ndarray:
        """The mean over the middle of each view, which shows the object: ``(V, C)``."""
        kernels = self._backend.as_array(features)
        cells = kernels.shape[-1]
        rule = self._bundle.template_crop
        shown = max(1, round(cells / (rule.factor * (1 + 2 * rule.context))))
        start = (cells - shown) // 2
        middle = slice(start, start + shown)
        return np.asarray(kernels[:, :, middle, middle].mean(axis=(2, 3)))

    def encode(self, box_xyxy: BoxXYXY) -> Any:
        reference = Reference(self.frame_bgr, box_xyxy)
        return encode_references(self._backend, self._bundle, [reference])[0]

    def infer_with_view(self, crops: Sequence[Crop], template_id: str, view: Any) -> ViewComparison:
        features, views = self._bank.packed_for([template_id])
        maps = self._infer(crops, self._backend.pack([features, view]))
        started = time.perf_counter()
        own = views[template_id]
        by_view = self._bundle.calibration(maps.score[:, -1], maps.presence[:, -1, None, None])
        raw: List[Candidates] = []
        view_scores: List[np.ndarray] = []
        for i in range(len(crops)):
            # Appended to the box as a fifth coordinate, so that each candidate carries its cell's
            # value.
            more = np.broadcast_to(by_view[i], (own.stop, 1, *by_view[i].shape))
            box = np.concatenate([maps.box[i, own], more], axis=1)
            part = self._candidates(maps.score[i, own], box, maps.presence[i, own])
            raw.append(replace(part, boxes_xyxy=part.boxes_xyxy[:, :4]))
            view_scores.append(part.boxes_xyxy[:, 4])
        seen = Candidates.joined(self._in_frame(crops, raw, template_id))
        self._keep(crops, maps.score[:, own], template_id)
        self._spent_ms["decode"] += (time.perf_counter() - started) * 1e3
        return ViewComparison(seen, np.concatenate(view_scores))

    def heatmaps(self) -> Dict[str, np.ndarray]:
        """For each template the score map over all searched crops, see ``FrameResult``."""
        pictures: Dict[str, np.ndarray] = {}
        for template_id, looks in self._seen.items():
            crops = [crop for some, _ in looks for crop in some]
            scores = [score for _, maps in looks for score in maps]
            pictures[template_id] = merge_maps(crops, scores, self.frame_size, self._bundle.stride)
        return pictures

    def _infer(self, crops: Sequence[Crop], features: Any) -> RawMaps:
        started = time.perf_counter()
        frames = self._backend.preprocess(self.frame_bgr, crops)
        preprocessed = time.perf_counter()
        maps = self._backend.infer(frames, features)
        self._spent_ms["preprocess"] += (preprocessed - started) * 1e3
        self._spent_ms["network"] += (time.perf_counter() - preprocessed) * 1e3
        return maps

    def _candidates(self, score: np.ndarray, box: np.ndarray, presence: np.ndarray) -> Candidates:
        return best_view(score, box, presence, self._bundle.placement, self._bundle.stride)

    def _keep(self, crops: Sequence[Crop], score: np.ndarray, template_id: str) -> None:
        """For :meth:`heatmaps`: scores ``(B, V, h, w)`` of the template's views."""
        self._seen.setdefault(template_id, []).append((list(crops), score.max(axis=1)))

    def _in_frame(
        self, crops: Sequence[Crop], raw: Sequence[Candidates], template_id: str
    ) -> List[Candidates]:
        """Each crop's candidates with probabilities and boxes in frame pixels."""
        whole = Candidates.joined(raw)
        scores = self._bundle.calibration(whole.scores, whole.presence)
        ends = np.cumsum([len(part) for part in raw])[:-1]
        box_correction = self._bank.templates[template_id].box_correction
        return [
            Candidates(
                correct_boxes(crop.to_frame(part.boxes_xyxy), box_correction), score, part.presence
            )
            for crop, part, score in zip(crops, raw, np.split(scores, ends))
        ]
