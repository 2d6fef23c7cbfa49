"""The detector: the one class a user needs.

with Detector.open() as detector:
    detector.set_template([Reference(photo_bgr)], "red car")
    result = detector.detect(frame_bgr)
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from refdet_core.backends import open_backend
from refdet_core.backends.base import Backend
from refdet_core.boxes import clip, nms
from refdet_core.bundle import Bundle, load_bundle
from refdet_core.closing import Closing
from refdet_core.decoding import Candidates, best_view
from refdet_core.errors import ConfigError, RefdetError
from refdet_core.heatmap import merge_maps
from refdet_core.imaging import Crop
from refdet_core.search import make_search_plan
from refdet_core.search.tiles import AUTOMATIC_SCALE
from refdet_core.templates import (
    POOLINGS,
    Template,
    TemplateBank,
    extend_template,
    make_bank,
    make_template,
)
from refdet_core.types import Detection, FrameResult, RawMaps, Reference

DEFAULT_TEMPLATE_ID = "target"


@dataclass(frozen=True)
class DetectorConfig:
    """How to search and what to report. The one place of these defaults.

    Attributes:
        search: ``tiles`` or ``full_frame``.
        tile_width, tile_height: largest tile in frame pixels (search ``tiles``).
        tile_overlap: least overlap of neighbouring tiles in frame pixels.
        tile_scale: network pixels per frame pixel in a tile, 0.25 to 4; 0 takes
            :func:`refdet_core.search.tiles.automatic_scale`.
        score_threshold: least probability of a reported detection; negative takes the one the
            bundle publishes.
        max_detections: most detections per template and frame.
        nms_iou: boxes of one template overlapping more than this are one object.
        reference_pooling: ``prototype`` (mean of the references) or ``best_view``.
    """

    search: str = "tiles"
    tile_width: int = 1280
    tile_height: int = 736
    tile_overlap: int = 128
    tile_scale: float = AUTOMATIC_SCALE
    score_threshold: float = -1.0
    max_detections: int = 1
    nms_iou: float = 0.3
    reference_pooling: str = "prototype"

    def __post_init__(self) -> None:
        if self.score_threshold > 1:
            raise ConfigError(f"score_threshold must be at most 1, got {self.score_threshold}.")
        if self.max_detections < 1:
            raise ConfigError(f"max_detections must be at least 1, got {self.max_detections}.")
        if not 0 <= self.nms_iou <= 1:
            raise ConfigError(f"nms_iou must be within 0 and 1, got {self.nms_iou}.")
        if min(self.tile_width, self.tile_height) < 64:
            raise ConfigError(
                f"A tile must be at least 64x64 px, got {self.tile_width}x{self.tile_height}."
            )
        if not 0 <= self.tile_overlap < min(self.tile_width, self.tile_height):
            raise ConfigError(
                "tile_overlap must be at least 0 and less than the tile's shorter side, got "
                f"{self.tile_overlap}."
            )
        if self.tile_scale != AUTOMATIC_SCALE and not 0.25 <= self.tile_scale <= 4:
            raise ConfigError(
                f"tile_scale must be 0 (automatic) or within 0.25 and 4, got {self.tile_scale}."
            )
        if self.reference_pooling not in POOLINGS:
            raise ConfigError(
                "Unknown reference_pooling '{}'; valid are {}.".format(
                    self.reference_pooling, ", ".join(POOLINGS)
                )
            )


class Detector(Closing):
    """Finds the objects in the reference photos in frames.

    ``detect`` and the template calls may come from different threads if the backend allows it
    (ONNX Runtime does); otherwise let one thread make all calls.
    """

    def __init__(self, bundle: Bundle, backend: Backend[Any], config: DetectorConfig) -> None:
        self.bundle = bundle
        self.backend = backend
        self._bank = TemplateBank()
        self._bank_change = threading.Lock()
        self.configure(config)

    @classmethod
    def open(
        cls,
        bundle: Optional[Path] = None,
        backend: str = "auto",
        config: Optional[DetectorConfig] = None,
    ) -> Detector:
        """Load a bundle and open a backend.

        Raises:
            RefdetError: with one sentence that says what is wrong and what to do.
        """
        loaded = load_bundle(bundle)
        return cls(loaded, open_backend(backend, loaded), config or DetectorConfig())

    @property
    def config(self) -> DetectorConfig:
        """The settings in force."""
        return self._config

    @property
    def bank(self) -> TemplateBank:
        """What is being looked for right now."""
        return self._bank

    @property
    def score_threshold(self) -> float:
        """The threshold in force: the configured one, else the bundle's."""
        configured = self._config.score_threshold
        return configured if configured >= 0 else self.bundle.score_threshold

    def configure(self, config: DetectorConfig) -> None:
        """Change the settings; the templates stay. Nothing changes if this raises."""
        plan = make_search_plan(self.bundle, config)
        with self._bank_change:
            bank = make_bank(
                self.backend, self._bank.templates, self._bank.version + 1, config.reference_pooling
            )
            self._config, self._plan, self._bank = config, plan, bank

    def set_template(
        self,
        references: Sequence[Reference],
        template_id: str = DEFAULT_TEMPLATE_ID,
        append: bool = False,
    ) -> Template:
        """Look for the object in these references from now on.

        Args:
            references: 1-5 photos of one object.
            template_id: replaces the template of that id; other ids stay.
            append: add the references to that template instead of replacing it.

        Raises:
            BadReferenceError: a reference cannot be used. The old templates stay.
        """
        template = make_template(self.backend, self.bundle, template_id, references)
        with self._bank_change:
            templates = dict(self._bank.templates)
            if append and template_id in templates:
                template = extend_template(templates[template_id], template)
            templates[template_id] = template
            self._exchange(templates)
        return template

    def clear_template(self, template_id: Optional[str] = None) -> Tuple[str, ...]:
        """Stop looking for one template, or for all (None). Returns the ids that are gone.

        Raises:
            ConfigError: there is no template of that id.
        """
        with self._bank_change:
            templates = dict(self._bank.templates)
            if template_id is None:
                gone = tuple(templates)
                templates.clear()
            elif template_id in templates:
                gone = (template_id,)
                del templates[template_id]
            else:
                known = ", ".join(templates) or "none"
                raise ConfigError(f"There is no template '{template_id}'; known: {known}.")
            self._exchange(templates)
        return gone

    def detect(self, frame_bgr: np.ndarray, heatmaps: bool = False) -> FrameResult:
        """Search one frame for all templates.

        Args:
            frame_bgr: ``(H, W, 3)`` uint8.
            heatmaps: also return the score map of each template.

        Returns:
            Detections in frame pixels, best first; none while there is no template.
        """
        if (
            frame_bgr.ndim != 3
            or frame_bgr.shape[2] != 3
            or frame_bgr.dtype != np.uint8
            or not frame_bgr.size
        ):
            raise RefdetError(
                "A frame must be a non-empty (H, W, 3) uint8 BGR image, got "
                f"{frame_bgr.shape} {frame_bgr.dtype}."
            )
        bank, config, plan = self._bank, self._config, self._plan
        if not bank.templates:
            return FrameResult((), {}, bank.version)
        height, width = frame_bgr.shape[:2]
        started = time.perf_counter()
        crops = plan.crops((width, height))
        frames = self.backend.preprocess(frame_bgr, crops)
        preprocessed = time.perf_counter()
        maps = self.backend.infer(frames, bank.features)
        inferred = time.perf_counter()

        found: List[Detection] = []
        presence: Dict[str, float] = {}
        pictures: Dict[str, np.ndarray] = {}
        for template_id, views in bank.views.items():
            candidates = self._candidates(crops, maps, views, (width, height))
            presence[template_id] = float(candidates.scores.max(initial=0.0))
            for index in range(min(config.max_detections, len(candidates.scores))):
                score = float(candidates.scores[index])
                if score >= self.score_threshold:
                    x1, y1, x2, y2 = (float(value) for value in candidates.boxes_xyxy[index])
                    found.append(Detection(template_id, score, (x1, y1, x2, y2)))
            if heatmaps:
                pictures[template_id] = merge_maps(
                    crops, maps.score[:, views].max(axis=1), (width, height), self.bundle.stride
                )
        found.sort(key=lambda detection: -detection.score)
        timings = {
            "preprocess": (preprocessed - started) * 1e3,
            "network": (inferred - preprocessed) * 1e3,
            "decode": (time.perf_counter() - inferred) * 1e3,
        }
        return FrameResult(tuple(found), presence, bank.version, timings, pictures)

    def close(self) -> None:
        """Release the backend. Closing twice is harmless."""
        self.backend.close()

    def _candidates(
        self, crops: List[Crop], maps: RawMaps, views: slice, frame_size: Tuple[int, int]
    ) -> Candidates:
        """One template's candidates over all crops: frame pixels, calibrated, NMS, best first."""
        parts: List[Candidates] = []
        for index, crop in enumerate(crops):
            raw = best_view(
                maps.score[index, views], maps.box[index, views], maps.presence[index, views]
            )
            boxes_xyxy = crop.to_frame(raw.boxes_xyxy)
            centres = np.clip((boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2, 0, frame_size)
            owned = self._plan.owned(crops, index, centres)
            parts.append(Candidates(boxes_xyxy[owned], raw.scores[owned], raw.presence[owned]))
        boxes_xyxy = clip(np.concatenate([part.boxes_xyxy for part in parts]), *frame_size)
        presence = np.concatenate([part.presence for part in parts])
        scores = self.bundle.calibration(np.concatenate([part.scores for part in parts]), presence)
        kept = nms(boxes_xyxy, scores, self._config.nms_iou)
        return Candidates(boxes_xyxy[kept], scores[kept], presence[kept])

    def _exchange(self, templates: Dict[str, Template]) -> None:
        self._bank = make_bank(
            self.backend, templates, self._bank.version + 1, self._config.reference_pooling
        )
